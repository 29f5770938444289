"""Depthwise moments and gradients as Triton kernels: each value is read once from memory, products stay in registers.

The functions are those of ``eager``, for float32, bfloat16 and float16 on a CUDA device (or on a CPU, slowly, where
``TRITON_INTERPRET=1`` was set before triton was imported). All sums are taken in float32 within a program and in
float64 over programs, in one order: results repeat bit by bit.

Moments and kernel gradients are products of one value with some others at fixed distances: 13 lags for a 3 x 3 kernel
instead of 45 pairs of entries, so that the sums of 4 channels fit in the registers of a thread. The input gradient
folds the quadratic term to one coefficient a lag, the same for all pixels of a zone: see ``zone_table``.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from itertools import groupby, product
from math import gcd
from typing import Any

import torch
from torch import Tensor

from ghostlab.errors import UsageError
from ghostlab.reparam.online.arguments import check_arguments, check_form

__all__ = ["available", "input_gradient", "kernel_gradient", "moments"]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SUMS = 512
"""Positions times channels of a program that sums: 16 sums of each in the registers of 4 warps."""
PIXELS = 4096
"""Positions times channels of a program of the input gradient, which keeps one sum of each."""
PROGRAMS = 512
"""Programs to aim for, about four for each multiprocessor of a large GPU; not its exact number, so that the order of
sums, and with it the last digit, is the same on every GPU."""


def available() -> bool:
    """Whether triton is installed; the functions below need it."""
    return importlib.util.find_spec("triton") is not None


def checked(size: int, stride: int, padding: int, x: Tensor, *others: Tensor) -> tuple[int, int]:
    """Height and width of the output of what the kernels may be given."""
    output = check_arguments(x, size, stride, padding, *others)
    check_form("Triton", DTYPES, size, stride, x, *others[:1])
    outer = len(x) * (x.shape[2] + 2 * padding) * (x.shape[3] + 2 * padding)
    if max(outer, *(reach(image) for image in (x, *others[:1]))) >= 2**31:
        raise UsageError(f"images {tuple(x.shape)} with padding {padding}: the Triton form counts pixels in 32 bits")
    return output


def reach(images: Tensor) -> int:
    """How far, in values, the last value of an image lies from its first."""
    return sum((length - 1) * step for length, step in zip(images.shape[1:], images.stride()[1:], strict=True))


def block_of(channels: int, widest: int, *images: Tensor) -> int:
    """Channels a program takes: as many as leave few idle, at most ``widest``; one where pixels lie side by side."""
    if any(image.stride(1) != 1 for image in images):
        return 1
    widths = [width for width in (64, 32) if width <= widest and -(-channels // width) * width <= 1.25 * channels]
    return widths[0] if widths else min(16, 1 << (channels - 1).bit_length())


def vector_of(channels: int, widest: int, *images: Tensor) -> int:
    """Channels that a thread reads at once: a divisor of ``widest``, the channels, and the strides of all else."""
    steps = [step for image in images for step in (image.stride(0), image.stride(2), image.stride(3))]
    return gcd(channels, widest, *steps)


def strides(image: Tensor, vec: int) -> tuple[int, int, int, int]:
    """Steps from image to image, channel to channel, row to row and pixel to pixel, as the kernels take them."""
    batch, channel, row, pixel = image.stride()
    return batch // vec, channel, row // vec, pixel // vec


def chunks_of(batch: int, programs: int) -> tuple[int, int]:
    """Chunks of the batch and images a chunk, for about ``PROGRAMS`` programs where a chunk has ``programs``."""
    images = -(-batch // max(1, min(batch, PROGRAMS // programs)))
    return -(-batch // images), images


@lru_cache(maxsize=16)
def pairs(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where ``moments_kernel`` puts the sum of each entry (K,) and of the products of each pair of entries (K, K)."""
    count = size * size
    first = [entry * (count + 1) - entry * (entry - 1) // 2 for entry in range(count)]
    both = [[first[min(a, b)] + 1 + abs(a - b) for b in range(count)] for a in range(count)]
    return torch.tensor(first, device=device), torch.tensor(both, device=device)


def moments(x: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Mean (C, K) and biased covariance (C, K, K) of the patches of ``x``, float32: see ``eager.moments``.

    Raises ``UsageError`` for arguments that do not fit together or have no Triton form, before anything is read.
    """
    from ghostlab.reparam.online.triton_kernels import LANES, moments_kernel

    (height, width), (batch, channels) = checked(size, stride, padding, x), x.shape[:2]
    block, vec = block_of(channels, 32, x), vector_of(channels, 4, x)
    positions = SUMS // block
    padded = (x.shape[2] + 2 * padding) * (x.shape[3] + 2 * padding)
    groups = -(-(((2 * size - 1) ** 2 + 1) // 2 + 1) // LANES.value)
    tiles, blocks = -(-padded // positions), -(-channels // block)
    chunks, images = chunks_of(batch, tiles * blocks * groups)
    shift = x[:: -(-batch // 4)].mean((0, 2, 3), dtype=torch.float32)  # of some images: near the mean is near enough
    part = x.new_empty(chunks * tiles, size * size * (size * size + 3) // 2, channels, dtype=torch.float32)
    launch(
        moments_kernel,
        (tiles * groups, blocks, chunks),
        *(x, shift, part, batch, channels // vec, *x.shape[2:], height, width, *strides(x, vec), images),
        padding=padding,
        size=size,
        stride=stride,
        rows=max(16, 1 << (size * size - 1).bit_length()),
        vec=vec,
        positions=positions,
        block=block,
    )
    first, both = pairs(size, x.device)
    sums = part.sum(0, dtype=torch.float64).div_(batch * height * width)
    mean = sums[first]
    cov = sums[both] - mean * mean.unsqueeze(1)
    return (mean + shift).float().T.contiguous(), cov.float().permute(2, 0, 1).contiguous()


def kernel_gradient(x: Tensor, grad: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Gradients of kernel (C, K) and bias (C), float32: see ``eager.kernel_gradient``. Raises as ``moments`` does."""
    from ghostlab.reparam.online.triton_kernels import LANES, kernel_gradient_kernel

    (height, width), (batch, channels) = checked(size, stride, padding, x, grad), x.shape[:2]
    block, vec = block_of(channels, 32, x, grad), vector_of(channels, 4, x, grad)
    positions, count = SUMS // block, size * size + 1
    groups = -(-count // LANES.value)
    tiles, blocks = -(-height * width // positions), -(-channels // block)
    chunks, images = chunks_of(batch, tiles * blocks * groups)
    part = x.new_empty(chunks * tiles, count, channels, dtype=torch.float32)
    launch(
        kernel_gradient_kernel,
        (tiles * groups, blocks, chunks),
        *(x, grad, part, batch, channels // vec, *x.shape[2:], height, width),
        *(*strides(x, vec), *strides(grad, vec), images),
        padding=padding,
        size=size,
        stride=stride,
        vec=vec,
        positions=positions,
        block=block,
    )
    sums = part.sum(0, dtype=torch.float64).float()
    return sums[:-1].T.contiguous(), sums[-1].clone()


Run = tuple[int, int, tuple[bool, ...]]


def runs(length: int, outputs: int, size: int, stride: int, padding: int) -> list[Run]:
    """Rows (or columns) of an image, ``stride`` apart, that the same entries read: first, count, which entries."""

    def entries(v: int) -> tuple[bool, ...]:
        return tuple((v + padding - a) % stride == 0 and 0 <= v + padding - a < outputs * stride for a in range(size))

    found = []
    for start in range(min(stride, length)):
        for read, group in groupby(range(start, length, stride), entries):
            positions = list(group)
            found.append((positions[0], len(positions), read))
    return found


@lru_cache(maxsize=256)
def zones_of(
    shape: torch.Size,
    output: tuple[int, int],
    size: int,
    stride: int,
    padding: int,
    positions: int,
    device: torch.device,
) -> tuple[Tensor, Tensor, int]:
    """Zones of an image: a run of rows with a run of columns, cut into tiles of ``positions`` pixels of any images.

    Table of first row, rows, first column, columns and first tile of each zone, filled up to a power of two; which
    entries of the kernel read a zone (zones, K), float64; the number of tiles.
    """
    rows, columns = (runs(shape[2 + i], output[i], size, stride, padding) for i in (0, 1))
    table, reads, tiles = [], [], 0
    for (row, row_count, by_row), (column, column_count, by_column) in product(rows, columns):
        table.append([row, row_count, column, column_count, tiles])
        reads.append([down and along for down, along in product(by_row, by_column)])
        tiles += -(-shape[0] * row_count * column_count // positions)
    table += [[0, 1, 0, 1, 2**31 - 1]] * ((1 << (len(table) - 1).bit_length()) - len(table))
    as_table = torch.tensor(table, dtype=torch.int32, device=device)
    return as_table, torch.tensor(reads, dtype=torch.float64, device=device), tiles


@lru_cache(maxsize=16)
def lags(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each entry a and lag, the entry b = a + lag, or 0 where there is none; and whether there is: (K, lags)."""
    steps = list(product(range(1 - size, size), repeat=2))
    places = [[(a // size + down, a % size + along) for down, along in steps] for a in range(size * size)]
    exists = [[0 <= row < size and 0 <= column < size for row, column in line] for line in places]
    entries = [
        [(row * size + column) * there for (row, column), there in zip(line, flags, strict=True)]
        for line, flags in zip(places, exists, strict=True)
    ]
    return torch.tensor(entries, device=device), torch.tensor(exists, device=device)


def zone_table(quadratic: Tensor, constant: Tensor, reads: Tensor, size: int) -> Tensor:
    """What a pixel of each zone takes of its neighbours: (zones, lags + 1, C), float32, the constant last.

    The sum over the entries a that read the pixel of quadratic[a, a + lag], and of constant[a]; in float64, because a
    product of float32 matrices may be rounded to fewer digits on a GPU.
    """
    entries, exist = lags(size, quadratic.device)
    by_lag = quadratic.double().gather(2, entries.expand(len(quadratic), -1, -1)).mul_(exist)
    both = torch.cat([by_lag, constant.double().unsqueeze(-1)], -1)
    return (reads @ both.permute(1, 2, 0).flatten(1)).view(len(reads), -1, len(quadratic)).float()


def input_gradient(
    x: Tensor,
    grad: Tensor,
    kernel: Tensor,
    quadratic: Tensor,
    constant: Tensor,
    size: int,
    stride: int,
    padding: int,
) -> Tensor:
    """Gradient of ``x``, as x in shape, dtype and memory format: see ``eager.input_gradient``.

    Raises as ``moments`` does.
    """
    from ghostlab.reparam.online.triton_kernels import input_gradient_kernel

    output, channels = checked(size, stride, padding, x, grad, kernel, quadratic, constant), x.shape[1]
    out = torch.empty_like(x)
    block = block_of(channels, 64, x, grad, out)
    vec = vector_of(channels, 16 // x.element_size(), x, grad, out)
    positions = PIXELS // max(block, 4)
    zones, reads, tiles = zones_of(x.shape, output, size, stride, padding, positions, x.device)
    table = zone_table(quadratic, constant, reads, size)
    launch(
        input_gradient_kernel,
        (tiles, -(-channels // block)),
        *(x, grad, kernel.float().T.contiguous(), table, zones, out, len(x), channels // vec, *x.shape[2:], *output),
        *(*strides(x, vec), *strides(grad, vec), *strides(out, vec)),
        padding=padding,
        size=size,
        stride=stride,
        vec=vec,
        zone_count=len(zones),
        positions=positions,
        block=block,
    )
    return out


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **meta: Any) -> None:
    with torch.cuda.device_of(args[0]):  # triton launches on the current device, which need not be that of x
        kernel[grid](*args, **meta)
