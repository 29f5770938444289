"""The identity behind the online form: what N normalised branches of one convolution compute, as one convolution.

    mean_i = w_i . m      var_i = w_i' S w_i      t_i = gamma_i / sqrt(var_i + eps)
    W = sum_i t_i w_i     b = sum_i (beta_i - t_i mean_i)

with m the mean and S the biased covariance of the input patches over the batch. Shapes: G groups, N branches, O
outputs of a group, K values of a kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Folded", "Gradients", "fold_moments", "fold_moments_backward", "fold_statistics"]


class Folded(NamedTuple):
    """One kernel (G, O, K) and bias (G, O), and what the branches had: their factors, means, variances (G, N, O).

    The gradients of ``fold_moments`` do not depend on the kernel.
    """

    kernel: Tensor
    bias: Tensor
    factor: Tensor
    mean: Tensor
    var: Tensor
    inverse_std: Tensor
    spread: Tensor
    """``w_i' S`` (G, N, O, K)."""


def fold_moments(kernels: Tensor, gamma: Tensor, beta: Tensor, eps: Tensor | float, m: Tensor, cov: Tensor) -> Folded:
    """Fold kernels (G, N, O, K) by the moments m (G, K) and cov (G, K, K) of a batch."""
    rows = kernels.flatten(1, 2)
    spread = rows @ cov
    var = torch.linalg.vecdot(spread, rows).clamp(min=0).view_as(gamma)
    mean = (rows @ m.unsqueeze(-1)).view_as(gamma)
    inverse_std = (var + eps).rsqrt()
    kernel, bias, factor = fold_statistics(kernels, gamma, beta, mean, inverse_std)
    return Folded(kernel, bias, factor, mean, var, inverse_std, spread.view_as(kernels))


def fold_statistics(
    kernels: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, inverse_std: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel (G, O, K), bias (G, O) and factors (G, N, O) from the means and inverse deviations of the branches."""
    factor = gamma * inverse_std
    kernel = (factor.unsqueeze(-1) * kernels).sum(1)
    return kernel, (beta - factor * mean).sum(1), factor


class Gradients(NamedTuple):
    """Gradients of the kernels (G, N, O, K), gamma and beta (G, N, O), m (G, K) and cov (G, K, K)."""

    kernels: Tensor
    gamma: Tensor
    beta: Tensor
    m: Tensor
    cov: Tensor


def fold_moments_backward(kernels: Tensor, m: Tensor, folded: Folded, d_kernel: Tensor, d_bias: Tensor) -> Gradients:
    """Gradients of ``fold_moments`` from those of its kernel (G, O, K) and bias (G, O), written out by hand."""
    d_bias = d_bias.unsqueeze(1)
    d_factor = torch.linalg.vecdot(kernels, d_kernel.unsqueeze(1)) - d_bias * folded.mean
    d_mean = -folded.factor * d_bias
    d_var = -0.5 * d_factor * folded.factor * folded.inverse_std.square()
    d_kernels = folded.factor.unsqueeze(-1) * d_kernel.unsqueeze(1)
    d_kernels.addcmul_(d_mean.unsqueeze(-1), m[:, None, None])
    d_kernels.addcmul_((2 * d_var).unsqueeze(-1), folded.spread)
    rows = kernels.flatten(1, 2)
    return Gradients(
        d_kernels,
        d_factor * folded.inverse_std,
        d_bias.expand_as(d_factor).contiguous(),  # each branch its own: optimizers change gradients in place
        (d_mean.flatten(1).unsqueeze(1) @ rows).squeeze(1),
        rows.mT @ (d_var.flatten(1).unsqueeze(-1) * rows),
    )
