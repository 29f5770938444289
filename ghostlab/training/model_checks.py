"""Whether a network fits the images, classes and batches of a run: said before training, with what to do otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ghostlab.data.samples import preserve_random_state
from ghostlab.errors import UsageError
from ghostlab.models import create_model
from ghostlab.models.meta_device import accepted_near, forward_on_meta, refusal
from ghostlab.models.options import model_arguments
from ghostlab.reparam.copying import copy_of
from ghostlab.runs.settings import Settings
from ghostlab.strategies.base import Task
from ghostlab.training.stages import Stages

__all__ = ["check_fit", "check_narrow_maps", "trains_on"]

COLOURS = 3


def check_fit(model: nn.Module, settings: Settings, task: Task) -> None:
    """Raise ``UsageError`` unless ``model`` makes one logit a class of every image of the run, in all of its stages."""
    sizes = _sizes(settings, task)
    for key, size in sizes.items():
        if cause := refusal(model, size, COLOURS):
            ways = "; ".join(_ways(model, size, set(sizes.values()), settings))
            raise UsageError(f"{key}: model '{settings.model['name']}' takes no such images ({cause}); {ways}")
    output = forward_on_meta(model, settings.data.image_size, COLOURS)
    if not isinstance(output, Tensor) or output.shape != (1, task.num_classes):
        found = f"of shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise UsageError(
            f"model.name={settings.model['name']}: what it makes of an image, {found}, is not {task.num_classes} logits"
        )


def _sizes(settings: Settings, task: Task) -> dict[str, int]:
    """The sides of a run's images in pixels, by what sets them: training, validation, the stages before the last."""
    data = settings.data
    sizes = {f"data.image_size={data.image_size}": data.image_size}
    if data.resolved_test_size != data.image_size:
        sizes[f"data.test_size={data.resolved_test_size}"] = data.resolved_test_size
    views = Stages(settings.strategies, task).views
    stages = {view.image_size or data.image_size for view in views} - {data.image_size}
    return sizes | {f"a stage of {size} px in strategy={settings.strategy}": size for size in sorted(stages)}


def _ways(model: nn.Module, size: int, sizes: set[int], settings: Settings) -> list[str]:
    """What to do instead, each of it tried: other sizes, and options with which the network takes those of the run."""
    near = accepted_near(model, size)
    ways = [f"it takes {' and '.join(map(str, near))} px"] if near else []
    adapted: list[dict[str, Any]] = [{"img_size": size}] if len(sizes) == 1 else []
    adapted += [{"dynamic_img_size": True}, {"dynamic_img_size": True, "dynamic_img_pad": True}]
    for options in adapted:
        if _takes(sizes, {**model_arguments(settings.model), **options}):
            added = " ".join(f"+model.{key}={str(value).lower()}" for key, value in options.items())
            return [*ways, f"with {added} it takes {'these' if len(sizes) == 1 else 'all sizes of this run'}"]
    return ways or ["it takes none near that"]


def _takes(sizes: Iterable[int], options: Mapping[str, Any]) -> bool:
    try:
        with torch.device("meta"):
            model = create_model(**{**options, "pretrained": False})
    except Exception:  # most networks have no such option
        return False
    return not any(refusal(model, size, COLOURS) for size in sizes)


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

    def watch(name: str, conv: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].shape[-1] < conv.stride[1]:
            found.append(name)

    convs = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    handles = [
        conv.register_forward_pre_hook(partial(watch, name))
        for name, conv in convs.items()
        if not isinstance(conv.padding, str) and conv.padding[1] > 0 and conv.stride[1] > 1
    ]
    try:
        forward_on_meta(model, size, channels)
    finally:
        for handle in handles:
            handle.remove()
    return found


REFUSAL = "more than 1 value per channel"
"""Of PyTorch's batch norms, in training, where they would divide by zero."""


@torch.no_grad()
def trains_on(model: nn.Module, images: Tensor) -> bool:
    """Whether ``model`` finds statistics in images (B, 3, H, W) on its device; a single image is tried on a copy.

    Norms that are synchronised have the images of the other processes as well.
    """
    if len(images) != 1:
        return len(images) > 1
    if dist.is_initialized() and any(isinstance(module, nn.SyncBatchNorm) for module in model.modules()):
        return True
    try:
        with preserve_random_state():
            copy_of(model).train()(images)
    except ValueError as error:
        if REFUSAL not in str(error):
            raise
        return False
    return True
