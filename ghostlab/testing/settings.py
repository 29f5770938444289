"""The canonical table of strategy settings: one entry a strategy, small enough for a model of two blocks."""

from __future__ import annotations

from typing import Any

from ghostlab.strategies.base import Task

__all__ = ["SETTINGS", "TASK"]

TASK = Task(num_classes=4, image_size=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), epochs=2, steps_per_epoch=5)

SETTINGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "progressive": {"stages": 2, "size": 8},
    "droppath": {"rate": 0.2},
    "reparam": {"branches": 2},
    "randaugment": {"magnitude": 5.0},
    "autoaugment": {"policy": "v0"},
    "erasing": {"probability": 1.0},
    "smoothing": {"amount": 0.2},
    "mixup": {"alpha": 0.4},
    "cutmix": {"alpha": 0.8},
    "kd": {"alpha": 0.3, "tau": 2.0, "teacher": "a teacher"},
    "cosine": {"warmup_epochs": 0.4},
    "step": {"epochs": 0.5, "gamma": 0.5},
    "exponential": {"epochs": 0.5, "gamma": 0.5},
    "ema": {"decay": 0.9},
}
