"""The canonical table of strategy settings for tests: one entry a strategy, small enough for a model of two blocks."""

from __future__ import annotations

from typing import Any

from ghostlab.strategies.base import Task

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

KD_TERMS: dict[str, set[str]] = {
    "soft": {"kd"},
    "hard": {"kd"},
    "dkd": {"kd_target", "kd_others"},
    "dist": {"kd_inter", "kd_intra"},
    "feature": {"kd_stage0", "kd_stage-1"},
}
"""The loss terms of every kind of distillation."""

KD_SETTINGS: dict[str, dict[str, Any]] = {
    **{kind: {"kind": kind, "alpha": 0.3, "teacher": "a teacher"} for kind in KD_TERMS},
    "feature": {"kind": "feature", "teacher": "a teacher", "stages": [0, -1]},
    "several": {"teacher": ["a teacher", "another teacher"], "teacher_weights": [2.0, 1.0]},
    "cached": {"teacher": "a teacher", "cache": True, "cache_k": 3},
}
"""Every way to distill, each to be joined with every other strategy."""
