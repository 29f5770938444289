"""The outputs of a network's stages, asked for as timm asks: what ``features_only=True`` and feature pyramids use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from timm.models import checkpoint_seq
from torch import Tensor, nn

from ghostlab.errors import UsageError

__all__ = ["Intermediates"]

Wanted = int | list[int] | tuple[int, ...] | None
"""Levels of ``feature_info``: the last so many, those listed (negative ones count from the end), or None for all."""


class Intermediates(nn.Module):
    """A network of ``blocks`` behind a stem whose levels of ``feature_info`` are named ``blocks.<index>``."""

    if TYPE_CHECKING:  # TorchScript reads annotations of classes, and understands few
        blocks: nn.Sequential
        feature_info: list[dict[str, Any]]
        grad_checkpointing: bool

    def forward_stem(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Wanted = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps (B, num_chs, H / reduction, W / reduction) of the levels ``indices``, after the last output.

        The last output is that of ``forward_features``, or with ``stop_early`` of the last stage that is wanted;
        ``intermediates_only`` leaves it away. ``norm`` is for networks with a norm behind the last stage, which has
        no meaning here. Raises ``UsageError`` for an ``output_fmt`` other than NCHW and a level that there is not.
        """
        if output_fmt != "NCHW":
            raise UsageError(f"output_fmt={output_fmt}: must be NCHW")
        ends = self._stage_ends(indices)
        x, found = self.forward_stem(x), []
        for index, stage in enumerate(self.blocks[: ends[-1] + 1] if stop_early else self.blocks):
            x = checkpoint_seq(stage, x) if self.grad_checkpointing else stage(x)
            if index in ends:
                found.append(x)
        return found if intermediates_only else (x, found)

    def prune_intermediate_layers(
        self, indices: Wanted = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the stages behind the last level wanted, and the classifier; returns the levels, counted from 0."""
        self.blocks = self.blocks[: self._stage_ends(indices)[-1] + 1]
        if prune_head:
            self.reset_classifier(0, "")
        return self._levels(indices)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        raise NotImplementedError

    def _stage_ends(self, indices: Wanted) -> list[int]:
        """The stages, from 0, whose outputs are the levels ``indices``, in the order of computation."""
        modules = [self.feature_info[level]["module"] for level in sorted(self._levels(indices))]
        return [int(module.rpartition(".")[2]) for module in modules]

    def _levels(self, indices: Wanted) -> list[int]:
        levels = range(len(self.feature_info))
        try:
            if indices is None or isinstance(indices, int):
                return [levels[i] for i in range(-(len(levels) if indices is None else indices), 0)]
            return [levels[i] for i in indices]
        except IndexError as error:
            raise UsageError(f"indices={indices}: there are {len(levels)} levels") from error
