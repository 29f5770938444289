"""Any convolution with zero padding, by its patches written out: the plain form of the identity, and a slow one."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

from ghostlab.kernels.geometry import Geometry

__all__ = ["Unfolded"]


class Unfolded(NamedTuple):
    """A convolution of any geometry: G groups, K = C_in / G * k * k values a kernel."""

    geometry: Geometry

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (G, K) and covariance (G, K, K) of the patches of ``x``."""
        patches = self._patches(x)
        mean = patches.mean(-1)
        apart = patches - mean.unsqueeze(-1)
        return mean, apart @ apart.mT / patches.shape[-1]

    def convolve(self, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """``x`` convolved with kernel (G, O, K), plus bias (G, O)."""
        return F.conv2d(x, self._weight(kernel).to(x.dtype), bias.flatten().to(x.dtype), **self._options())

    def kernel_gradient(self, x: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of kernel (G, O, K) and bias (G, O)."""
        x, grad = _precise(x), _precise(grad)
        shape = (grad.shape[1], x.shape[1] // self.geometry.groups, *self.geometry.size)
        d_weight = conv2d_weight(x, shape, grad, **self._options())
        by_group = (self.geometry.groups, grad.shape[1] // self.geometry.groups)
        return d_weight.reshape(*by_group, -1), grad.sum((0, 2, 3)).view(by_group)

    def input_gradient(self, x: Tensor, grad: Tensor, kernel: Tensor, quadratic: Tensor, constant: Tensor) -> Tensor:
        """``grad`` back through the kernel, plus ``quadratic p + constant`` of each patch p, added where p was read."""
        back = quadratic @ self._patches(x) + constant.unsqueeze(-1)
        outputs = back.shape[-1] // len(x)
        columns = back.unflatten(-1, (len(x), outputs)).permute(2, 0, 1, 3).flatten(1, 2)
        size, stride, padding, dilation, _ = self.geometry
        moved = F.fold(columns, x.shape[-2:], size, dilation, padding, stride)
        dx = conv2d_input(x.shape, self._weight(kernel).to(grad.dtype), grad, **self._options())
        return (dx + moved).to(x.dtype)

    def _patches(self, x: Tensor) -> Tensor:
        """(G, K, B * H' * W'), float32 at least."""
        size, stride, padding, dilation, _ = self.geometry
        columns = F.unfold(_precise(x), size, dilation, padding, stride)
        return columns.unflatten(1, (self.geometry.groups, -1)).permute(1, 2, 0, 3).flatten(2)

    def _weight(self, kernel: Tensor) -> Tensor:
        return kernel.flatten(0, 1).unflatten(-1, (-1, *self.geometry.size))

    def _options(self) -> dict[str, Any]:
        _, stride, padding, dilation, groups = self.geometry
        return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _precise(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
