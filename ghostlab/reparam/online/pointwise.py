"""Moments and gradients of dense 1x1 convolutions: products of matrices with one row a pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Pointwise"]


def pixels(x: Tensor) -> Tensor:
    """(B, C, H, W) as (B * H * W, C), a view where ``x`` is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def images(rows: Tensor, like: Tensor) -> Tensor:
    """(B * H * W, C) as (B, C, H, W), channels-last, with the batch and size of ``like``."""
    batch, _, height, width = like.shape
    return rows.view(batch, height, width, -1).permute(0, 3, 1, 2)


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a' b`` for (M, I) and (M, J), summed in float32 at least."""
    if a.dtype in (torch.bfloat16, torch.float16):
        return torch.mm(a.T, b, out_dtype=torch.float32) if a.is_cuda else a.float().T @ b.float()
    return a.T @ b


def column_sum(rows: Tensor) -> Tensor:
    """(M, C) to (C,); as a product this is several times as fast as a sum over rows of few channels."""
    return product(rows, rows.new_ones(len(rows), 1)).squeeze(1)


class Pointwise:
    """A 1x1 convolution with stride 1 and one group. The kernel has K = C_in values."""

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (1, K) and covariance (1, K, K) of the pixels of ``x``, float32 at least."""
        rows = pixels(x)
        mean = column_sum(rows).double() / len(rows)
        cov = _covariance(rows, mean)
        precise = torch.promote_types(x.dtype, torch.float32)
        return mean.to(precise).unsqueeze(0), cov.to(precise).unsqueeze(0)

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """``x`` convolved with kernel (1, O, K), plus bias (1, O)."""
        return F.conv2d(x, kernel[0, :, :, None, None].to(x.dtype), bias[0].to(x.dtype))

    def kernel_gradient(self, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of kernel (1, O, K) and bias (1, O)."""
        rows = pixels(grad)
        return product(rows, pixels(x)).unsqueeze(0), column_sum(rows).unsqueeze(0)

    def input_gradient(self, x: Tensor, grad: Tensor, kernel: Tensor, quadratic: Tensor, constant: Tensor) -> Tensor:
        """``grad`` back through the kernel, plus ``quadratic x + constant`` of each patch (here: pixel)."""
        quadratic, kernel, constant = (value[0].to(x.dtype) for value in (quadratic, kernel, constant))
        rows = torch.addmm(constant, pixels(x), quadratic)
        return images(rows.addmm_(pixels(grad), kernel), x)


def _covariance(rows: Tensor, mean: Tensor) -> Tensor:
    """(C, C) in float64, of rows (M, C) with this mean.

    ``E[x x'] - m m'`` reads the rows once, but loses digits where a mean is large against its spread; then they are
    centred first. Whether they are is asked only where the host need not wait for the answer.
    """
    if not (rows.is_cuda or torch.compiler.is_compiling()):
        cov = product(rows, rows).double() / len(rows) - torch.outer(mean, mean)
        if not (mean.square() > 100 * cov.diagonal()).any():
            return cov
    centre = mean.to(rows.dtype)
    apart, rest = rows - centre, mean - centre
    return product(apart, apart).double() / len(rows) - torch.outer(rest, rest)
