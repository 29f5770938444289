"""Every way to distill, in the small settings of ``ghostlab.testing``."""

from __future__ import annotations

from typing import Any

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
