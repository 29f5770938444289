"""(placeholder until merged)"""

from __future__ import annotations

from ghostlab.training.settings import TrainerConfig


def refuse_several_processes(trainer: TrainerConfig) -> None:
    """Merged later."""
