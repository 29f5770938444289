"""Learning a teacher's features: what both networks see in an image, at one or more of their stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.errors import UsageError

__all__ = ["Projections", "Taps", "feature", "feature_parts"]


def feature(student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor | None = None) -> Tensor:
    """The sum of ``feature_parts``; a float32 scalar. ``target`` is not looked at."""
    return torch.stack(feature_parts(student, teacher)).sum()


def feature_parts(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[Tensor]:
    """For each stage the squared distance of the directions of both features, from 0 to 4; float32 scalars.

    Both are lists of maps (B, C, H, W), a pair a stage, of equal C: the student's are projected before. The larger
    map is averaged down to the size of the smaller one. At each place the C values of either side are scaled to length
    1, and ``|s - t|^2 = 2 - 2 cos(s, t)`` is the loss, mean over places and images.
    Romero et al., "FitNets", https://arxiv.org/abs/1412.6550, with the normalisation of Zagoruyko and Komodakis,
    https://arxiv.org/abs/1612.03928, which makes the loss independent of the scale of a teacher's features.

        >>> import torch
        >>> from ghostlab.distill.features import feature_parts
        >>> maps = torch.rand(2, 8, 4, 4)
        >>> [part.item() for part in feature_parts([maps], [-maps])]
        [4.0]
    """
    return [_distance(s.float(), t.float()) for s, t in zip(student, teacher, strict=True)]


class Projections(nn.ModuleList):
    """One 1x1 convolution a stage, from the student's channels to the teacher's; trained with the student."""

    def __init__(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
        """The channels are read off example features (B, C, H, W), a pair a stage."""
        pairs = zip(student, teacher, strict=True)
        super().__init__(nn.Conv2d(s.shape[1], t.shape[1], 1, bias=False) for s, t in pairs)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The features (B, C, H, W) with the teacher's number of channels."""
        return [project(values) for project, values in zip(self, features, strict=True)]


class Taps:
    """Keeps what chosen stages of a model gave in its last forward pass.

    ``stages`` are positions in the model's list of feature levels (timm's ``feature_info``), -1 the last. Raises
    ``UsageError`` naming ``stages`` for a model without such a list and for a position outside of it.
    """

    def __init__(self, model: nn.Module, stages: Sequence[int], owner: str) -> None:
        self.owner = owner
        self.names = [_stage_name(model, stage, owner) for stage in stages]
        self._seen: dict[str, Tensor] = {}
        for name in self.names:
            module = model.get_submodule(name)
            module.register_forward_hook(self._keeper(name, module))

    def features(self) -> list[Tensor]:
        """The maps (B, C, H, W) of the stages, in their order; they are given away, not kept."""
        seen, self._seen = self._seen, {}
        for name in self.names:
            if name not in seen or seen[name].ndim != 4:
                what = "gives no map (B, C, H, W)" if name in seen else "is not run as a whole"
                hint = "" if name in seen else " (with gradient checkpointing none is)"
                raise UsageError(f"kind=feature: '{name}' of the {self.owner} {what}{hint}")
        return [seen[name] for name in self.names]

    def _keeper(self, name: str, tapped: nn.Module) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(module: nn.Module, inputs: Any, output: Tensor) -> None:
            if module is tapped:  # a copy of the model, such as an average of its weights, has this hook as well
                self._seen[name] = output

        return keep


def _distance(student: Tensor, teacher: Tensor) -> Tensor:
    size = min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])
    s, t = (F.adaptive_avg_pool2d(values, size) for values in (student, teacher))
    return (2 - 2 * F.cosine_similarity(s, t, dim=1)).mean()


def _stage_name(model: nn.Module, stage: int, owner: str) -> str:
    levels = getattr(model, "feature_info", None)
    if not levels:
        raise UsageError(f"kind=feature: the {owner} {type(model).__name__} lists no stages")
    if not -len(levels) <= stage < len(levels):
        allowed = f"from {-len(levels)} to {len(levels) - 1}"
        raise UsageError(f"stages={stage}: the {owner} has stages {allowed}")
    return str(levels[stage]["module"])
