"""Running means of the loss terms, and the first step at which one was not finite, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor

from ghostlab.errors import RunError
from ghostlab.training.reductions import Mean, gathered

__all__ = ["LossLog"]

NEVER = 2**62


class LossLog:
    """Accumulates named scalar terms on their device.

    On a GPU ``check`` and ``means`` wait for it, and with several processes ``check`` waits for these, so they are
    called now and then, not at every step.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self._sums: Tensor | None = None
        self._first_bad: Tensor | None = None
        self._count = 0

    def update(self, terms: dict[str, Tensor], step: int) -> None:
        """Add the scalar terms of one step; ``step`` is what an error would name."""
        values = torch.stack([value.detach().float() for value in terms.values()])
        bad_at = torch.where(values.isfinite(), NEVER, step)
        if self._sums is None or self._first_bad is None:
            self.names, self._sums, self._first_bad = list(terms), values, bad_at
        else:
            self._sums += values
            self._first_bad = torch.minimum(self._first_bad, bad_at)
        self._count += 1

    def check(self) -> None:
        """Raise ``RunError`` naming the first step and term that was NaN or infinite, in any process and so in all."""
        if found := [bad for bad in gathered(self._bad()) if bad]:
            step, terms = min(found)
            raise RunError(
                f"loss term '{terms}' is not finite at step {step}; checkpoints of earlier epochs are kept"
                " (a smaller optimizer.lr or a trainer.clip often helps)"
            )

    def means(self) -> dict[str, float]:
        """The mean of every term since the last reset, in this process."""
        return {name: mean.total / mean.number for name, mean in self.parts().items()}

    def parts(self) -> dict[str, Mean]:
        """What ``means`` is made of, to be reduced over processes."""
        if self._sums is None:
            return {}
        return {name: Mean(total, self._count) for name, total in zip(self.names, self._sums.tolist(), strict=True)}

    def reset(self) -> None:
        """Forget everything; the next update starts a new mean."""
        self._sums = self._first_bad = None
        self._count = 0

    def _bad(self) -> tuple[int, str] | None:
        """The first step with terms that were not finite, and their names."""
        steps = [] if self._first_bad is None else self._first_bad.tolist()
        first = min(steps, default=NEVER)
        names = [name for name, step in zip(self.names, steps, strict=False) if step == first]
        return (first, ", ".join(names)) if first < NEVER else None
