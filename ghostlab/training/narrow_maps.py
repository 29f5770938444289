"""Maps that are narrower than a convolution's stride, which PyTorch does not train in bfloat16 on every CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ghostlab.errors import UsageError
from ghostlab.models.meta_device import forward_on_meta
from ghostlab.runs.settings import Settings
from ghostlab.strategies.base import Task
from ghostlab.training.stages import Stages

__all__ = ["check_narrow_maps"]

WHOLE = ("32-true", "64-true")


def check_narrow_maps(model: nn.Module, settings: Settings, task: Task, device: torch.device) -> None:
    """Raise ``UsageError`` for a run in 16 bits on a CPU with such a convolution.

    On CPUs with AVX-512, oneDNN leaves what was in memory in the gradients of the weights that only ever meet padding.
    """
    precision, size = settings.trainer.precision, Stages(settings.strategies, task).smallest
    if device.type != "cpu" or precision in WHOLE:
        return
    if names := _narrow(model, size, len(task.mean)):
        raise UsageError(
            f"trainer.precision={precision}: of images of {size} px '{names[0]}' gets maps narrower than its stride; on"
            " a CPU its gradients may be wrong; use trainer.precision=32-true, or larger images"
        )


def _narrow(model: nn.Module, size: int, channels: int) -> list[str]:
    found: list[str] = []
    with _watched(model, found):
        forward_on_meta(model, size, channels)
    return found


@contextmanager
def _watched(model: nn.Module, found: list[str]) -> Iterator[None]:
    convs = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    handles = [conv.register_forward_pre_hook(_watch(name, found)) for name, conv in convs.items() if _pads(conv)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _pads(conv: nn.Conv2d) -> bool:
    return not isinstance(conv.padding, str) and conv.padding[1] > 0 and conv.stride[1] > 1


def _watch(name: str, found: list[str]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def watch(conv: nn.Module, given: tuple[Tensor, ...]) -> None:
        if given[0].shape[-1] < conv.stride[1]:  # type: ignore[index]
            found.append(name)

    return watch
