"""A multi-branch convolution in training mode as one convolution: one autograd node, its gradients written by hand."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from ghostlab.reparam.online.folding import Folded, fold_moments, fold_moments_backward
from ghostlab.reparam.online.pooling import pool, pool_backward

__all__ = ["Form", "Normalised", "online_conv"]


class Form(Protocol):
    """How one kind of convolution takes the moments of its input patches, convolves, and goes back.

    G groups, O outputs of a group, K values of a kernel; moments and gradients of kernels are float32 at least.
    """

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (G, K) and biased covariance (G, K, K) of the patches of x over all outputs."""

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """x convolved with kernel (G, O, K), plus bias (G, O)."""

    def kernel_gradient(self, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of kernel (G, O, K) and bias (G, O)."""

    def input_gradient(self, x: Tensor, grad: Tensor, kernel: Tensor, quadratic: Tensor, constant: Tensor) -> Tensor:
        """grad back through the kernel, plus ``quadratic p + constant`` of each patch p, added where p was read."""


class Normalised(NamedTuple):
    """The output, and the mean and unbiased variance of every branch over the batch (G, N, O)."""

    y: Tensor
    mean: Tensor
    var: Tensor


class _OnlineConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        kernels: Tensor,
        gamma: Tensor,
        beta: Tensor,
        constant: Tensor | None,
        eps: Tensor | float,
        form: Form,
        count: int,
        group: dist.ProcessGroup | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        moments = pool(*form.moments(x), count, group)
        folded = fold_moments(kernels, gamma, beta, eps, moments.mean, moments.cov)
        if constant is not None:
            folded = folded._replace(kernel=folded.kernel + constant)
        unbiased = folded.var * (moments.count / (moments.count - 1))
        ctx.form, ctx.group, ctx.count = form, group, moments.count
        ctx.save_for_backward(x, kernels, moments.mean, *folded)
        ctx.mark_non_differentiable(folded.mean, unbiased)
        return form.convolve(x, folded.kernel, folded.bias), folded.mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, kernels, mean, *rest = ctx.saved_tensors
        folded = Folded(*rest)
        d_kernel, d_bias = ctx.form.kernel_gradient(x, grad)
        back = fold_moments_backward(kernels, mean, folded, d_kernel, d_bias)
        dx = None
        if ctx.needs_input_grad[0]:
            d_mean, d_cov = pool_backward(back.m, back.cov, ctx.group)
            quadratic = d_cov * (2 / ctx.count)
            constant = d_mean / ctx.count - (quadratic @ mean.unsqueeze(-1)).squeeze(-1)
            dx = ctx.form.input_gradient(x, grad, folded.kernel, quadratic, constant)
        d_constant = d_kernel if ctx.needs_input_grad[4] else None
        return dx, back.kernels, back.gamma, back.beta, d_constant, None, None, None, None


def online_conv(
    x: Tensor,
    kernels: Tensor,
    gamma: Tensor,
    beta: Tensor,
    eps: Tensor | float,
    form: Form,
    count: int,
    group: dist.ProcessGroup | None = None,
    constant: Tensor | None = None,
) -> Normalised:
    """``sum_i BN_i(W_i * x)`` with batch statistics, from kernels (G, N, O, K), gamma and beta (G, N, O).

    A ``constant`` kernel (G, O, K), that no norm follows, is added to theirs.
    ``count`` is the number of values of a channel of the output. With a ``group`` of processes the statistics are those
    of all of them, as in ``nn.SyncBatchNorm``. Raises ``ValueError`` for one value a channel, as ``nn.BatchNorm2d``.
    """
    if count <= 1 and group is None:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
    with torch.autocast(x.device.type, enabled=False):
        return Normalised(*_OnlineConv.apply(x, kernels, gamma, beta, constant, eps, form, count, group))
