"""One convolution trained as a sum of parallel Conv-BN branches, and its collapse into one kernel and one bias."""

from __future__ import annotations

import copy
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.kernels.geometry import geometry_of
from ghostlab.reparam.norms import BatchNorm, affine, batch_norm_like
from ghostlab.reparam.online import run_site

__all__ = ["IdentityBranch", "MultiBranchConv", "ScaleBranch", "allows_identity", "allows_scale", "resized"]

torch.fx.wrap("run_site")  # which path it takes depends on the images, so a symbolic trace keeps it as one step


def _is_centred(conv: nn.Conv2d) -> bool:
    if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros":  # a subclass may pad by rules of its own
        return False
    reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    odd = all(k % 2 == 1 for k in conv.kernel_size)
    if isinstance(conv.padding, str):
        return odd and (conv.padding == "same" or not any(reach))
    return odd and [2 * p for p in conv.padding] == reach


def allows_scale(conv: nn.Conv2d) -> bool:
    """Whether a 1x1 convolution is one tap of ``conv``: an odd kernel above 1x1, zero padding on all sides alike."""
    return _is_centred(conv) and max(conv.kernel_size) > 1


def allows_identity(conv: nn.Conv2d) -> bool:
    """Whether the identity is a kernel of ``conv``: as many outputs as inputs, stride 1, odd kernel, centred."""
    return _is_centred(conv) and conv.in_channels == conv.out_channels and set(conv.stride) == {1}


def resized(conv: nn.Conv2d, channels: int, groups: int, bias: bool = False) -> nn.Conv2d:
    """A ``conv`` (same class, kernel, device, dtype) with other output channels and groups, its values not yet set.

    The inputs of a group, hence fan-in and the default initialisation, stay what they were.
    """
    new, per_group, like = copy.deepcopy(conv), conv.weight.shape[1], conv.weight
    new.in_channels, new.out_channels, new.groups = per_group * groups, channels, groups
    new.weight = nn.Parameter(torch.empty(channels, *like.shape[1:], device=like.device, dtype=like.dtype))
    new.bias = nn.Parameter(torch.empty(channels, device=like.device, dtype=like.dtype)) if bias else None
    return new


class ScaleBranch(nn.Module):
    """The 1x1 branch beside a larger kernel, with a batch norm like ``norm`` or without one."""

    def __init__(self, conv: nn.Conv2d, norm: BatchNorm | None) -> None:
        super().__init__()
        weight = conv.weight
        self.conv = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            kernel_size=1,
            stride=(conv.stride[0], conv.stride[1]),
            groups=conv.groups,
            bias=False,
            device=weight.device,
            dtype=weight.dtype,
        )
        self.bn = None if norm is None else batch_norm_like(norm, conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        # Not by the stride of the convolution: on CPUs its backward pass crashes in PyTorch (2.11 and 2.14) for large
        # channels-last images of 3 channels.
        down, across = self.conv.stride
        y = F.conv2d(x[:, :, ::down, ::across], self.conv.weight, groups=self.conv.groups)
        return y if self.bn is None else self.bn(y)


class IdentityBranch(nn.Module):
    """The input as it is: an identity branch without a batch norm."""

    present: Tensor

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("present", torch.ones((), dtype=torch.long, device=like.device))  # for state dicts

    def forward(self, x: Tensor) -> Tensor:
        return x


class MultiBranchConv(nn.Module):
    """``sum_i BN_i(W_i * x)`` over N branches of one convolution, plus a 1x1 branch and a bare BN where they are legal.

    As in RepVGG (arXiv 2101.03697), MobileOne (arXiv 2206.04040) and GhostNetV3 (arXiv 2404.11202). Maps
    (B, C_in, H, W) to (B, C_out, H', W'). The N kernels are stacked, branch after branch, in ``conv.weight``
    (N * C_out, C_in / groups, k, k), their norms in ``bn`` (N * C_out); ``scale`` and ``identity`` may be None. Where a
    batch norm follows the sum they have none of their own (not ``own_norms``), as in QARepVGG (arXiv 2212.01593).
    ``online`` (``auto``, ``always`` or ``never``) says whether they are computed as one convolution, and does not
    change what is computed or stored.
    """

    online = "auto"

    def __init__(
        self,
        conv: nn.Conv2d,
        bn: BatchNorm,
        branches: int,
        scale: ScaleBranch | None,
        identity: BatchNorm | IdentityBranch | None,
        own_norms: bool = True,
    ) -> None:
        super().__init__()
        self.conv, self.bn, self.branches, self.own_norms = conv, bn, branches, own_norms
        self.scale, self.identity = scale, identity
        self.out_channels = conv.out_channels // branches
        self.groups = conv.groups // branches if conv.groups > 1 else 1
        self.in_channels = conv.weight.shape[1] * self.groups
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.padding, self.dilation = conv.padding, conv.dilation
        self.geometry = geometry_of(conv, self.groups)

    @classmethod
    def from_conv(
        cls, conv: nn.Conv2d, norm: BatchNorm, branches: int, scale: bool, identity: bool, own_norms: bool = True
    ) -> Self:
        """Fresh branches with the geometry of ``conv`` and the settings of ``norm``.

        Each kernel is initialised as ``conv`` itself is when new. ``scale`` and ``identity`` ask for those branches
        where they are legal; ``own_norms`` gives them batch norms of their own. A bias of ``conv`` is dropped: the
        norms of the branches cancel it.
        """
        bare: BatchNorm | IdentityBranch | None = None
        if identity and allows_identity(conv):
            bare = batch_norm_like(norm, conv.in_channels) if own_norms else IdentityBranch(conv.weight)
        groups = conv.groups * branches if conv.groups > 1 else 1
        stacked = resized(conv, conv.out_channels * branches, groups)
        stacked.reset_parameters()
        site = cls(
            stacked,
            batch_norm_like(norm, conv.out_channels * branches),
            branches,
            ScaleBranch(conv, norm if own_norms else None) if scale and allows_scale(conv) else None,
            bare,
            own_norms,
        )
        return site.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        return run_site(self, x)

    def norms(self) -> list[BatchNorm]:
        """The norms of all branches: those of the N kernels as one, then that of the 1x1 branch and the bare one."""
        scale = None if self.scale is None else self.scale.bn
        return [norm for norm in (self.bn, scale, self.identity) if isinstance(norm, BatchNorm)]

    def branch_sum(self, x: Tensor) -> Tensor:
        """The output computed branch by branch: the textbook form, and the reference of every other."""
        terms = self.branch_outputs(x)
        return sum(terms[1:], start=terms[0])  # a view and one sum would lose channels_last, and be slower

    def branch_outputs(self, x: Tensor) -> list[Tensor]:
        """What each branch adds to the output, (B, C_out, H', W') each."""
        stacked = self.bn(self._stacked(x))
        # A chunk is a view, which an activation may not change in place; a sum of chunks it may.
        terms = [stacked] if self.branches == 1 else [*stacked.chunk(self.branches, dim=1)]
        return terms + [branch(x) for branch in (self.scale, self.identity) if branch is not None]

    def _stacked(self, x: Tensor) -> Tensor:
        """All branches' convolutions of ``x``: (B, N * C_out, H', W')."""
        conv = self.conv
        if self.groups == 1:
            return conv(x)
        if type(conv) is not nn.Conv2d:
            return conv(x.repeat(1, self.branches, 1, 1))
        # One call a branch: up to twice as fast on a CPU as repeating the input, and the repeated input is not stored.
        y = [
            F.conv2d(x, weight, None, conv.stride, conv.padding, conv.dilation, self.groups)
            for weight in conv.weight.chunk(self.branches)
        ]
        return torch.cat(y, 1)

    def single(self, bias: bool = False) -> nn.Conv2d:
        """One convolution of this geometry, its values not yet set."""
        return resized(self.conv, self.out_channels, self.groups, bias)

    def fold(self) -> tuple[Tensor, Tensor]:
        """Kernel (C_out, C_in / groups, k, k) and bias (C_out,) that compute this module in evaluation, in float64.

        ``W = sum_i t_i W_i`` and ``b = sum_i (beta_i - t_i mean_i)`` with ``t_i = gamma_i / sqrt(var_i + eps_i)``;
        a 1x1 kernel and the identity are the centre tap. The tensors are on the CPU.
        """
        factor, shift = affine(self.bn)
        stacked = factor.view(-1, 1, 1, 1) * self.conv.weight.detach().cpu().double()
        weight = stacked.unflatten(0, (self.branches, self.out_channels)).sum(0)
        bias = shift.unflatten(0, (self.branches, self.out_channels)).sum(0)
        centre = weight[:, :, self.kernel_size[0] // 2, self.kernel_size[1] // 2]
        if self.scale is not None:
            factor, shift = _affine(self.scale.bn, self.out_channels)
            centre += factor.view(-1, 1) * self.scale.conv.weight.detach().cpu().double()[:, :, 0, 0]
            bias += shift
        if self.identity is not None:
            norm = None if isinstance(self.identity, IdentityBranch) else self.identity
            factor, shift = _affine(norm, self.out_channels)
            channel = torch.arange(self.out_channels)
            centre[channel, channel % weight.shape[1]] += factor
            bias += shift
        return weight, bias


def _affine(norm: BatchNorm | None, channels: int) -> tuple[Tensor, Tensor]:
    """As ``affine``; without a norm a branch is what it is."""
    unchanged = torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    return unchanged if norm is None else affine(norm)
