"""Which module produced and which consumed the outputs of convolutions, linear layers and norms, seen in one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ghostlab.errors import UsageError
from ghostlab.private_apis import TorchDispatchMode, tree_leaves

__all__ = ["Trace", "default_input", "evaluating", "image_channels", "trace"]


def default_input(model: nn.Module) -> Tensor:
    """Blank images (1, C, H, W): C from ``image_channels``, H and W from timm's configuration or 224."""
    channels = image_channels(model)
    weight = next(parameter for parameter in model.parameters() if parameter.is_floating_point())
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None) or {}
    size = config.get("input_size") if isinstance(config, Mapping) else getattr(config, "input_size", None)
    height, width = size[-2:] if size else (224, 224)
    return torch.zeros(1, channels, height, width, device=weight.device, dtype=weight.dtype)


def image_channels(model: nn.Module) -> int:
    """Channels of the images that ``model`` takes: as models of timm say, or those of its first convolution.

    Not every network begins with a convolution on the image. Raises ``UsageError`` for one that tells neither way.
    """
    if isinstance(said := getattr(model, "in_chans", None), int):
        return said
    conv = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if conv is None:
        raise UsageError(f"{type(model).__name__} has no convolution")
    return conv.in_channels


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module's own mode comes back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


class Trace(TorchDispatchMode):
    """Counts, while active, the uses of every watched tensor by operators; views and in-place changes count too."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        """How often each watched module ran."""
        self.inputs: dict[str, list[str | None]] = {}
        """For each run of a watched module, the one whose output it read, or None."""
        self._uses: Counter[int] = Counter()
        self._outputs: dict[int, tuple[str, Tensor]] = {}  # holding the tensors keeps their ids from being reused

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.count((args, kwargs))
        return func(*args, **kwargs)

    def count(self, tree: Any) -> None:
        """Count one use for every time a watched tensor stands in ``tree``."""
        for leaf in tree_leaves(tree):
            if id(leaf) in self._outputs:
                self._uses[id(leaf)] += 1

    def uses(self, module: str) -> int:
        """How often the outputs of ``module`` were used, the model's own outputs included."""
        return sum(self._uses[key] for key, (name, _) in self._outputs.items() if name == module)

    def dimensions(self, module: str) -> set[int]:
        """The numbers of dimensions that the outputs of ``module`` had."""
        return {output.dim() for name, output in self._outputs.values() if name == module}

    def watch(self, name: str, module: nn.Module) -> list[RemovableHandle]:
        """Note whose output ``module`` reads, and what it produces."""
        return [
            module.register_forward_pre_hook(lambda _, args, kw: self._read(name, args, kw), with_kwargs=True),
            module.register_forward_hook(lambda _, args, output: self._produced(name, output)),
        ]

    def _produced(self, name: str, output: Tensor) -> None:
        self.calls[name] += 1
        self._outputs[id(output)] = (name, output)

    def _read(self, name: str, args: Any, kwargs: Any) -> None:
        producer, _ = self._outputs.get(id(tree_leaves((args, kwargs))[0]), (None, None))
        self.inputs.setdefault(name, []).append(producer)


def trace(model: nn.Module, modules: Mapping[str, nn.Module], example_input: Tensor | None = None) -> Trace:
    """Run ``model`` once in evaluation mode and without gradients, watching ``modules`` (layers and norms).

    Batch-norm statistics and training flags are left as they are. Raises ``UsageError`` when the input does not fit.
    """
    images = default_input(model) if example_input is None else example_input
    seen = Trace()
    handles = [handle for name, module in modules.items() for handle in seen.watch(name, module)]
    try:
        with evaluating(model), seen:
            output = model(images)
    except (AssertionError, RuntimeError, ValueError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"example_input of shape {tuple(images.shape)} does not run through the model: {cause}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    seen.count(output)
    return seen
