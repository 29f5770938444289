"""One training step of each layer shape of a model: plain, branch by branch, and online."""

from __future__ import annotations

import copy
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ghostlab.benchmarks.contest import Setting
from ghostlab.reparam import MultiBranchConv
from ghostlab.reparam.norms import batch_norm_like
from ghostlab.reparam.online import path_of
from ghostlab.terminal import tracked

__all__ = ["LayerCost", "layer_costs"]


class LayerCost(NamedTuple):
    """One shape of layer; times are of a plain Conv-BN in ms, and ratios to it."""

    layer: str
    sites: int
    plain_ms: float
    branches: float
    online: float
    path: str
    """What ``auto`` takes."""


def layer_costs(grown: nn.Module, setting: Setting, rounds: int) -> list[LayerCost]:
    """The cost of every shape of multi-branch convolution of ``grown``, slowest plain layer first."""
    torch.set_num_threads(setting.threads)
    grown = grown.to(setting.device).to(memory_format=torch.channels_last)
    inputs = _inputs(grown, setting)
    shapes = Counter(_name(site, x) for site, x in inputs)
    distinct = {_name(site, x): (site, x) for site, x in inputs}
    measured = [
        _cost(name, shapes[name], site, x, setting, rounds)
        for name, (site, x) in tracked(distinct.items(), "layer shapes")
    ]
    return sorted(measured, key=lambda cost: -cost.plain_ms * cost.sites)


def _inputs(grown: nn.Module, setting: Setting) -> list[tuple[MultiBranchConv, Tensor]]:
    """Every site with its input for a batch of random images."""
    seen: list[tuple[MultiBranchConv, Tensor]] = []
    sites = [module for module in grown.modules() if isinstance(module, MultiBranchConv)]
    hooks = [site.register_forward_pre_hook(lambda module, args: seen.append((module, args[0]))) for site in sites]
    shape = (setting.batch, 3, setting.image_size, setting.image_size)
    images = torch.randn(shape, device=setting.device).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        grown.eval()(images)
    for hook in hooks:
        hook.remove()
    return seen


def _name(site: MultiBranchConv, x: Tensor) -> str:
    kind = "depthwise" if site.groups == site.in_channels > 1 else "dense" if site.groups == 1 else "grouped"
    size = "x".join(str(side) for side in site.kernel_size)
    stride = f" / {site.stride[0]}" if site.stride[0] > 1 else ""
    return f"{kind} {size}{stride}, {site.in_channels} to {site.out_channels} at {x.shape[-1]} px"


def _cost(name: str, sites: int, site: MultiBranchConv, x: Tensor, setting: Setting, rounds: int) -> LayerCost:
    site = copy.deepcopy(site).train()
    conv = site.single()
    conv.reset_parameters()
    plain = (
        nn.Sequential(conv, batch_norm_like(site.bn, site.out_channels)).to(memory_format=torch.channels_last).train()
    )
    modes = {mode: copy.deepcopy(site) for mode in ("never", "always")}
    for mode, module in modes.items():
        module.online = mode
    steps = [_step(module, x, setting) for module in (plain, *modes.values())]
    turns = [[_seconds(step, setting) for step in steps] for _ in range(rounds + 1)][1:]
    branches, online = (statistics.median(turn[i] / turn[0] for turn in turns) for i in (1, 2))
    plain_ms = 1e3 * statistics.median(turn[0] for turn in turns)
    site.online = "auto"
    return LayerCost(name, sites, plain_ms, branches, online, path_of(site, x))


def _step(module: nn.Module, x: Tensor, setting: Setting) -> Callable[[], None]:
    x = x.detach().requires_grad_()
    module.compile() if setting.compile else None
    grad = torch.randn_like(module(x))

    def step() -> None:
        with torch.autocast(setting.device, torch.bfloat16, enabled=setting.device == "cuda"):
            y = module(x)
        y.backward(grad.to(y.dtype))

    return step


def _seconds(step: Callable[[], None], setting: Setting) -> float:
    step()  # the first after another one finds other things in the caches
    began = time.perf_counter()
    step()
    if setting.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began
