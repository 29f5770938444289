"""Depthwise moments and gradients in plain PyTorch, on any device and in any precision; what the fast forms must equal.

An entry a = (row, column) of a kernel reads, over all outputs, a strided window of the padded image. So nothing here
needs the patches themselves: a sum over patches of p_a p_b is a sum over window a of the image times itself shifted by
b - a, and the shifted product is the same for all pairs of entries with one shift.
Shapes: x (B, C, H, W), grad (B, C, H', W'), K = size * size entries, row by row.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ghostlab.reparam.online.arguments import check_arguments

__all__ = ["input_gradient", "kernel_gradient", "moments"]


def window(padded: Tensor, entry: int, size: int, stride: int, output: tuple[int, int]) -> Tensor:
    """What one entry of the kernel reads, for every output: a view (..., H', W') of the padded image."""
    (row, column), (height, width) = divmod(entry, size), output
    return padded[..., row::stride, column::stride][..., :height, :width]


def pad(x: Tensor, padding: int) -> Tensor:
    """``x`` in float32 at least, with zeros around."""
    return F.pad(x.to(torch.promote_types(x.dtype, torch.float32)), (padding,) * 4)


def moments(x: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Mean (C, K) and biased covariance (C, K, K) of the patches of ``x`` over the batch, zero padding included.

    Both are taken of x minus its mean, so that no digits are lost where the mean is large against the spread.
    """
    output, padded = check_arguments(x, size, stride, padding), pad(x, padding)
    shift = x.mean((0, 2, 3), dtype=padded.dtype)
    centred = padded - shift[:, None, None]
    entries = range(size * size)
    count = len(x) * output[0] * output[1]
    total = centred.sum(0)
    mean = torch.stack([window(total, a, size, stride, output).sum((-2, -1)) for a in entries], -1) / count
    cov = mean.new_empty(*mean.shape, len(entries))
    products: dict[int, Tensor] = {}
    for a in entries:
        for b in range(a, len(entries)):
            row, column = b // size - a // size, b % size - a % size
            lag = row * padded.shape[-1] + column
            if lag not in products:
                products[lag] = lagged_product(centred, lag)
            cov[:, a, b] = cov[:, b, a] = window(products[lag], a, size, stride, output).sum((-2, -1))
    cov = cov.div_(count).sub_(mean.unsqueeze(-1) * mean.unsqueeze(-2))
    return mean + shift.unsqueeze(-1), cov


def lagged_product(images: Tensor, lag: int) -> Tensor:
    """Each pixel times the one ``lag`` pixels on in reading order, summed over the batch: (C, H, W)."""
    flat = images.flatten(2)
    length = flat.shape[-1] - lag
    return F.pad((flat[..., :length] * flat[..., lag:]).sum(0), (0, lag)).view(images.shape[1:])


def kernel_gradient(x: Tensor, grad: Tensor, size: int, stride: int, padding: int) -> tuple[Tensor, Tensor]:
    """Gradients of kernel (C, K) and bias (C), in float32 at least."""
    output, padded = check_arguments(x, size, stride, padding, grad), pad(x, padding)
    grad = grad.to(padded.dtype)
    read = (window(padded, a, size, stride, output) for a in range(size * size))
    return torch.stack([(grad * values).sum((0, 2, 3)) for values in read], -1), grad.sum((0, 2, 3))


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
    """``grad`` back through kernel (C, K), plus ``quadratic p + constant`` of each patch p, added where p was read.

    quadratic is (C, K, K), constant (C, K); the result is as ``x`` in shape, dtype and memory format. A row of
    ``quadratic p`` is a depthwise convolution of x, done in float32 at least whatever autocast says.
    """
    output = check_arguments(x, size, stride, padding, grad, kernel, quadratic, constant)
    precise = torch.promote_types(x.dtype, torch.float32)
    value, grad, kernel, quadratic, constant = (t.to(precise) for t in (x, grad, kernel, quadratic, constant))
    back, channels = pad(torch.zeros_like(value), padding), x.shape[1]
    with torch.autocast(x.device.type, enabled=False):
        for a in range(size * size):
            weight = quadratic[:, a].reshape(channels, 1, size, size)
            row = F.conv2d(value, weight, constant[:, a], stride, padding, 1, channels)
            row.addcmul_(grad, kernel[:, a, None, None])
            window(back, a, size, stride, output).add_(row)
    height, width = x.shape[2:]
    return torch.empty_like(x).copy_(back[..., padding : padding + height, padding : padding + width])
