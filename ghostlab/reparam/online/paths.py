"""Which way a multi-branch convolution computes its output: branch by branch, or online as one convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.kernels.geometry import Geometry
from ghostlab.reparam.norms import BatchNorm
from ghostlab.reparam.online import native
from ghostlab.reparam.online.depthwise import Depthwise
from ghostlab.reparam.online.embed import Branches, branches_of
from ghostlab.reparam.online.folding import fold_statistics
from ghostlab.reparam.online.function import Form, Normalised, online_conv
from ghostlab.reparam.online.pointwise import Pointwise
from ghostlab.reparam.online.unfolded import Unfolded
from ghostlab.reparam.trace import evaluating

if TYPE_CHECKING:
    from ghostlab.reparam.branches import MultiBranchConv

__all__ = ["MODES", "model_paths", "path_of", "run_site"]

MODES = ("auto", "always", "never")
"""``auto``: online where it is faster; ``always``: wherever it is possible; ``never``: the branches themselves."""

NORM_COST = 180
"""What normalising one value of one channel costs in training, forward and backward, in multiply-adds (measured)."""


def run_site(site: MultiBranchConv, x: Tensor) -> Tensor:
    """The output of ``site`` for ``x`` (B, C_in, H, W), by the path that its mode and the shapes choose."""
    batch_statistics = {norm.training or norm.running_mean is None for norm in site.norms()}
    if site.online == "never" or site.geometry is None or len(batch_statistics) > 1:
        return site.branch_sum(x)
    if batch_statistics == {False}:
        return _frozen(site, x, site.geometry)
    images = _autocast(x)
    form = _form(site, images, site.geometry)
    # The branches get x as it was: autocast is theirs to apply, and an identity branch keeps the digits of its input.
    return site.branch_sum(x) if form is None else _online(site, images, form, site.geometry)


def path_of(site: MultiBranchConv, x: Tensor) -> str:
    """``"online"`` or ``"branches"``: how ``site`` computes its output for ``x`` in training."""
    if site.online == "never" or site.geometry is None:
        return "branches"
    return "branches" if _form(site, _autocast(x), site.geometry) is None else "online"


def model_paths(model: nn.Module, images: Tensor) -> dict[str, str]:
    """``path_of`` every multi-branch convolution of ``model``, by name, for ``images`` (B, C, H, W).

    The model runs once in evaluation mode; what matters is the device, data type and memory format of the images.
    """
    found: dict[str, str] = {}
    handles = [
        module.register_forward_pre_hook(lambda site, args, name=name: found.update({name: path_of(site, args[0])}))
        for name, module in model.named_modules()
        if hasattr(module, "branch_sum")
    ]
    try:
        with evaluating(model):
            model.forward(images)  # not by a call: that may be compiled
    finally:
        for handle in handles:
            handle.remove()
    return found


def _form(site: MultiBranchConv, x: Tensor, geometry: Geometry) -> Form | None:
    """The online form for ``site``, or None where the branches are faster (``auto``)."""
    always, size, stride = site.online == "always", geometry.size[0], geometry.stride[0]
    # Measured on CPUs for channels-last images; what has not been measured is not chosen.
    may_pay = x.device.type == "cpu" and (x.stride(1) == 1 or x.shape[1] == 1)
    if geometry.is_pointwise and (always or (may_pay and _pointwise_pays(site))):
        return Pointwise()
    depthwise = geometry.groups == site.in_channels == site.out_channels and geometry.is_square
    if depthwise and (always or (may_pay and native.supports(x, size, stride))):
        return Depthwise(size, stride, geometry.padding[0])
    return Unfolded(geometry) if always else None


def _pointwise_pays(site: MultiBranchConv) -> bool:
    """Whether two products of C_in x C_in a pixel cost less than N - 1 more convolutions and N batch norms."""
    c_in, c_out = site.in_channels, site.out_channels
    branches = site.branches + isinstance(site.identity, BatchNorm)
    return 2 * c_in**2 + 3 * c_in * c_out < branches * (3 * c_in * c_out + NORM_COST * c_out)


def _online(site: MultiBranchConv, x: Tensor, form: Form, geometry: Geometry) -> Tensor:
    branches = branches_of(site)
    precise = torch.promote_types(x.dtype, torch.float32)
    kernels, gamma, beta = (value.to(precise) for value in branches[:3])
    constant = None if branches.constant is None else branches.constant.to(precise)
    group = _process_group(site.bn)
    done = online_conv(x, kernels, gamma, beta, branches.eps, form, geometry.outputs(x), group, constant)
    _update_running(branches, done)
    return done.y


def _frozen(site: MultiBranchConv, x: Tensor, geometry: Geometry) -> Tensor:
    """With running statistics the branches are one convolution: fold them, and let gradients through."""
    kernels, gamma, beta, eps, _, constant = branches = branches_of(site)
    inverse_std = (branches.running("running_var") + eps).rsqrt()
    kernel, bias, _ = fold_statistics(kernels, gamma, beta, branches.running("running_mean"), inverse_std)
    kernel = kernel if constant is None else kernel + constant
    weight = kernel.reshape(site.out_channels, -1, *geometry.size)
    return F.conv2d(x, weight.to(x.dtype), bias.flatten().to(x.dtype), *geometry[1:])


@torch.no_grad()
def _update_running(branches: Branches, done: Normalised) -> None:
    mean, var = (batch.transpose(0, 1).flatten(1) for batch in (done.mean, done.var))  # (N, G * O)
    for norm, first, rows in branches.parts:
        if norm.running_mean is None or norm.running_var is None:
            continue
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        weight = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
        for running, batch in ((norm.running_mean, mean), (norm.running_var, var)):
            running.lerp_(batch[first : first + rows].flatten().to(running.dtype), weight)


def _autocast(x: Tensor) -> Tensor:
    device = x.device.type
    on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)  # not on the meta device
    return x.to(torch.get_autocast_dtype(device)) if on else x


def _process_group(norm: BatchNorm) -> dist.ProcessGroup | None:
    """The processes over which ``norm`` is synchronised, or None for this one alone."""
    if not isinstance(norm, nn.SyncBatchNorm) or not (dist.is_available() and dist.is_initialized()):
        return None
    group = norm.process_group or dist.group.WORLD
    return group if dist.get_world_size(group) > 1 else None
