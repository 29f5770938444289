"""Evidence that a folded model computes what the model computed: on its own values and on random ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ghostlab.private_apis import tree_leaves
from ghostlab.reparam.copying import copy_of

__all__ = ["OutputDifference", "compare", "randomize"]


@dataclass(frozen=True)
class OutputDifference:
    """Largest differences of outputs, each relative to the largest absolute value of its output; inf if not finite."""

    float64: float
    """Between the model and its folded copy in float64."""
    float32: float
    """The same in float32."""
    rounding: float
    """Between the model in float32 and in float64: what the number format alone does to it."""


def compare(model: nn.Module, fold: Callable[[nn.Module], object], shape: tuple[int, ...]) -> list[OutputDifference]:
    """``model`` against a copy of it changed by ``fold``: with its own values, and with those of ``randomize``.

    Both run on the CPU in evaluation mode on random images of ``shape`` (B, C, H, W).
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(shape, dtype=torch.float64, generator=generator)
    own = copy_of(model).cpu().double().eval()
    return [_compare(values, fold, images) for values in (randomize(copy_of(own), images, generator), own)]


def _compare(model: nn.Module, fold: Callable[[nn.Module], object], images: Tensor) -> OutputDifference:
    folded = copy_of(model)
    fold(folded)
    exact, exact_folded = _outputs(model, images), _outputs(folded, images)
    single, single_folded = _outputs(model.float(), images.float()), _outputs(folded.float(), images.float())
    return OutputDifference(
        _difference(exact, exact_folded), _difference(single, single_folded), _difference(exact, single)
    )


@torch.no_grad()
def _outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    return [leaf.double() for leaf in tree_leaves(model(images)) if isinstance(leaf, Tensor)]


def _difference(first: list[Tensor], second: list[Tensor]) -> float:
    pairs = zip(first, second, strict=True)
    ratios = [(a - b).abs().max() / a.abs().max().clamp(min=1e-30) for a, b in pairs]
    return torch.stack(ratios).nan_to_num(nan=torch.inf, posinf=torch.inf).max().item()


@torch.no_grad()
def randomize(model: nn.Module, images: Tensor, generator: torch.Generator) -> nn.Module:
    """Give every batch norm random weights, and the statistics that ``images`` then have in it; in place.

    Statistics drawn from nowhere would let the signal die or explode within a few layers, and a wrong kernel in an
    early layer would not show in the output. Layer scales, which begin at 1e-5 and would hide their branch, are drawn
    too. Frozen norms, and synchronised ones, which would wait for other processes, keep their own values.
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    norms = [module for module in model.modules() if isinstance(module, kinds) and module.track_running_stats]
    for module in model.modules():
        if type(module).__name__.startswith("LayerScale"):
            for scale in module.parameters():
                scale.uniform_(0.5, 1.5, generator=generator)
    for norm in norms:
        norm.training, norm.momentum = True, 1.0
        if norm.affine:
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(std=0.1, generator=generator)
    model(images)
    for norm in norms:
        norm.training = False
        assert norm.running_var is not None
        norm.running_var.add_(0.1 * norm.running_var.mean())  # keeps a channel without variance from blowing up
    return model
