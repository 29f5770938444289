"""The Triton kernels behind ``triton_depthwise``. Importing this file needs triton; that file does not.

A program works on some positions of an image and a block of channels. ``vec`` divides the number of channels and every
stride but that of channels: passed divided by it and multiplied again here, they tell the compiler that groups of
``vec`` channels are aligned and masked alike, so that it reads them in one instruction. Sums go over images in a loop,
each position in a lane of its own; a program writes its sums to a place of its own, so that results do not depend on
timing.
"""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["input_gradient_kernel", "kernel_gradient_kernel", "moments_kernel"]

LANES = tl.constexpr(16)
"""Products of one value that a program keeps at once: the 13 lags of a 3 x 3 kernel and a plain sum fit."""


@triton.jit
def moments_kernel(
    x: tl.tensor,
    shift: tl.tensor,
    part: tl.tensor,
    batch: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    step_image: tl.tensor,
    step_channel: tl.tensor,
    step_row: tl.tensor,
    step_pixel: tl.tensor,
    images: tl.tensor,
    padding: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    rows: tl.constexpr,
    vec: tl.constexpr,
    positions: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Sums of z(v) and z(v) z(v + lag), z = padded x - shift, over the window of each entry of the kernel.

    Program (tile of positions of the padded image with a group of lags, block of channels, chunk of the batch). The
    windows differ by position only, so they are applied once at the end, as a product with a matrix of 0 and 1;
    ``rows`` is the number of entries, filled up to a power of two. part (programs, slots, C).
    """
    side: tl.constexpr = 2 * size - 1
    lags: tl.constexpr = (side * side + 1) // 2
    groups: tl.constexpr = (lags + LANES) // LANES
    tile = tl.program_id(0) // groups
    lane = tl.program_id(0) % groups * LANES + tl.arange(0, LANES)[:, None]
    down = (lags - 1 + lane) // side - (size - 1)
    along = (lags - 1 + lane) % side - (size - 1)
    place = tile * positions + tl.arange(0, positions)[None, :]
    row = place // (width + 2 * padding)
    column = place % (width + 2 * padding)
    channels = channels * vec
    channel = tl.program_id(1) * block + tl.arange(0, block)
    exists = (channel < channels)[None, None, :]
    mean = tl.load(shift + channel, mask=channel < channels, other=0.0)[None, None, :]

    h, w = row - padding, column - padding
    inside = ((h >= 0) & (h < height) & (w >= 0) & (w < width))[:, :, None] & exists
    far_h, far_w = h + down, w + along
    far_inside = ((far_h >= 0) & (far_h < height) & (far_w >= 0) & (far_w < width) & (lane < lags))[:, :, None] & exists
    pixel = (h * (step_row * vec) + w * (step_pixel * vec))[:, :, None] + (channel * step_channel)[None, None, :]
    far = (far_h * (step_row * vec) + far_w * (step_pixel * vec))[:, :, None] + (channel * step_channel)[None, None, :]
    is_sum = (lane == lags)[:, :, None]

    total = tl.zeros((LANES, positions, block), tl.float32)
    first = tl.program_id(2) * images
    x += first.to(tl.int64) * (step_image * vec)
    for _ in range(tl.minimum(images, batch - first)):
        value = tl.load(x + pixel, mask=inside, other=0.0).to(tl.float32) - mean
        other = tl.load(x + far, mask=far_inside, other=0.0).to(tl.float32) - mean
        total += value * tl.where(is_sum, 1.0, other)
        x += step_image * vec

    entries: tl.constexpr = size * size
    entry = tl.arange(0, rows)[:, None]
    up, left = row - entry // size, column - entry % size
    reads = (up >= 0) & (up % stride == 0) & (up < out_height * stride) & (entry < entries)
    reads = reads & (left >= 0) & (left % stride == 0) & (left < out_width * stride)
    flat = tl.reshape(tl.permute(total, (1, 0, 2)), (positions, LANES * block))
    sums = tl.dot(reads.to(tl.float32), flat, input_precision="ieee")

    entry, lane = entry[:, :, None], lane[None, :, :]
    down, along = down[None, :, :], along[None, :, :]
    meets = (entry // size + down < size) & (entry % size + along >= 0) & (entry % size + along < size)
    slot = tl.where(lane == lags, 0, 1 + down * size + along) + entry * (entries + 1) - entry * (entry - 1) // 2
    kept = ((meets & (lane < lags)) | (lane == lags)) & (entry < entries) & exists
    program = tl.program_id(2) * (tl.num_programs(0) // groups) + tile
    part += program.to(tl.int64) * (entries * (entries + 3) // 2) * channels
    sums = tl.reshape(sums, (rows, LANES, block))
    tl.store(part + slot * channels + channel[None, None, :], sums, mask=kept)


@triton.jit
def kernel_gradient_kernel(
    x: tl.tensor,
    grad: tl.tensor,
    part: tl.tensor,
    batch: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    step_image: tl.tensor,
    step_channel: tl.tensor,
    step_row: tl.tensor,
    step_pixel: tl.tensor,
    grad_image: tl.tensor,
    grad_channel: tl.tensor,
    grad_row: tl.tensor,
    grad_pixel: tl.tensor,
    images: tl.tensor,
    padding: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    vec: tl.constexpr,
    positions: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Sums over outputs of grad times what each entry of the kernel read, and after the entries of grad itself.

    Program (tile of positions of the output with a group of entries, block of channels, chunk of the batch). part
    (programs, K + 1, C).
    """
    entries: tl.constexpr = size * size
    groups: tl.constexpr = (entries + LANES) // LANES
    tile = tl.program_id(0) // groups
    entry = tl.program_id(0) % groups * LANES + tl.arange(0, LANES)[:, None]
    place = tile * positions + tl.arange(0, positions)[None, :]
    row = place // out_width
    column = place % out_width
    channels = channels * vec
    channel = tl.program_id(1) * block + tl.arange(0, block)
    exists = (channel < channels)[None, None, :]

    h = row * stride + entry // size - padding
    w = column * stride + entry % size - padding
    inside = ((h >= 0) & (h < height) & (w >= 0) & (w < width) & (entry < entries))[:, :, None] & exists
    pixel = (h * (step_row * vec) + w * (step_pixel * vec))[:, :, None] + (channel * step_channel)[None, None, :]
    output = (row * (grad_row * vec) + column * (grad_pixel * vec))[:, :, None] + (channel * grad_channel)[
        None, None, :
    ]
    is_output = (row < out_height)[:, :, None] & exists
    is_sum = (entry == entries)[:, :, None]

    total = tl.zeros((LANES, positions, block), tl.float32)
    first = tl.program_id(2) * images
    x += first.to(tl.int64) * (step_image * vec)
    grad += first.to(tl.int64) * (grad_image * vec)
    for _ in range(tl.minimum(images, batch - first)):
        back = tl.load(grad + output, mask=is_output, other=0.0).to(tl.float32)
        value = tl.load(x + pixel, mask=inside, other=0.0).to(tl.float32)
        total += back * tl.where(is_sum, 1.0, value)
        x += step_image * vec
        grad += grad_image * vec

    program = tl.program_id(2) * (tl.num_programs(0) // groups) + tile
    to = part + (program.to(tl.int64) * (entries + 1) * channels + channel)[None, :]
    tl.store(to + entry * channels, tl.sum(total, axis=1), mask=(entry <= entries) & (channel < channels)[None, :])


@triton.jit
def input_gradient_kernel(
    x: tl.tensor,
    grad: tl.tensor,
    kernel: tl.tensor,
    table: tl.tensor,
    zones: tl.tensor,
    out: tl.tensor,
    batch: tl.tensor,
    channels: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    out_height: tl.tensor,
    out_width: tl.tensor,
    step_image: tl.tensor,
    step_channel: tl.tensor,
    step_row: tl.tensor,
    step_pixel: tl.tensor,
    grad_image: tl.tensor,
    grad_channel: tl.tensor,
    grad_row: tl.tensor,
    grad_pixel: tl.tensor,
    to_image: tl.tensor,
    to_channel: tl.tensor,
    to_row: tl.tensor,
    to_pixel: tl.tensor,
    padding: tl.constexpr,
    size: tl.constexpr,
    stride: tl.constexpr,
    vec: tl.constexpr,
    zone_count: tl.constexpr,
    positions: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Gradient of some pixels of one zone: constant + sum over lags of table(lag) x(v + lag) + grad through the kernel.

    Program (tile, block of channels). kernel (K, C); table (zones, lags + 1, C), the constant last; zones, padded to a
    power of two: first row, rows, first column, columns, first tile. Rows and columns of a zone are ``stride`` apart.
    """
    side: tl.constexpr = 2 * size - 1
    tile = tl.program_id(0)
    starts = tl.load(zones + tl.arange(0, zone_count) * 5 + 4)
    zone = tl.sum((starts <= tile).to(tl.int32), axis=0) - 1
    first_row, rows = tl.load(zones + zone * 5), tl.load(zones + zone * 5 + 1)
    first_column, columns = tl.load(zones + zone * 5 + 2), tl.load(zones + zone * 5 + 3)
    item = (tile - tl.load(zones + zone * 5 + 4)) * positions + tl.arange(0, positions)
    image = item // (rows * columns)
    h = first_row + item // columns % rows * stride
    w = first_column + item % columns * stride
    far = image.to(tl.int64)
    channels = channels * vec
    channel = tl.program_id(1) * block + tl.arange(0, block)
    exists = channel < channels
    valid = image < batch

    table += zone * (side * side + 1) * channels + channel
    total = (
        tl.zeros((positions, block), tl.float32)
        + tl.load(table + side * side * channels, mask=exists, other=0.0)[None, :]
    )
    base = far * (step_image * vec) + h * (step_row * vec) + w * (step_pixel * vec)
    for down in range(1 - size, size):
        row_inside = valid & (h + down >= 0) & (h + down < height)
        for along in tl.static_range(1 - size, size):
            inside = row_inside & (w + along >= 0) & (w + along < width)
            place = (base + down * (step_row * vec) + along * (step_pixel * vec))[:, None]
            value = tl.load(x + place + (channel * step_channel)[None, :], inside[:, None] & exists[None, :], 0.0)
            lag = (down + size - 1) * side + along + size - 1
            weight = tl.load(table + lag * channels, mask=exists, other=0.0)
            total += value.to(tl.float32) * weight[None, :]

    base = far * (grad_image * vec)
    for down in range((first_row + padding) % stride, size, stride):
        up = (h + padding - down) // stride
        row_inside = valid & (h + padding >= down) & (up < out_height)
        for along in range((first_column + padding) % stride, size, stride):
            left = (w + padding - along) // stride
            inside = row_inside & (w + padding >= along) & (left < out_width)
            place = (base + up * (grad_row * vec) + left * (grad_pixel * vec))[:, None]
            value = tl.load(grad + place + (channel * grad_channel)[None, :], inside[:, None] & exists[None, :], 0.0)
            weight = tl.load(kernel + (down * size + along) * channels + channel, mask=exists, other=0.0)
            total += value.to(tl.float32) * weight[None, :]

    place = (far * (to_image * vec) + h * (to_row * vec) + w * (to_pixel * vec))[:, None]
    tl.store(out + place + (channel * to_channel)[None, :], total, mask=valid[:, None] & exists[None, :])
