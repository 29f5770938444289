"""The top level of a configuration: every key is there, and there is none that nothing reads."""

from __future__ import annotations

from omegaconf import DictConfig

from ghostlab.errors import UsageError, unknown

__all__ = ["check_keys"]

GROUPS = ("model", "data", "strategy", "optimizer", "trainer", "logger")
KEYS = (*GROUPS, "objective", "plugins", "seed", "outputs", "resume", "force")


def check_keys(cfg: DictConfig) -> None:
    """Raise ``UsageError`` for a key that nothing reads or that is missing, and for ``outputs`` that is no folder."""
    for key in map(str, cfg):
        if key not in (*KEYS, "ablation"):
            raise UsageError(f"{key}: {unknown('key', key, KEYS)}")
    for key in KEYS:
        if key not in cfg:
            raise UsageError(f"{key} must be given, as in {key}=<value>")
    for key in GROUPS:
        if not isinstance(cfg[key], DictConfig):
            raise UsageError(f"{key}={_shown(cfg[key])}: must be chosen; see --help for the options")
    if not isinstance(cfg.objective, DictConfig):
        raise UsageError(f"objective={_shown(cfg.objective)}: it has keys, as in objective.metric=top1")
    _check_outputs(cfg.outputs)


def _check_outputs(outputs: object) -> None:
    if isinstance(outputs, int | float) and not isinstance(outputs, bool):
        raise UsageError(f"outputs={outputs}: is a number; for a folder of that name, outputs=./<name>")
    if not isinstance(outputs, str) or not outputs.strip():
        raise UsageError(f"outputs={_shown(outputs)}: must be a folder, as in outputs=outputs")


def _shown(value: object) -> object:
    return "null" if value is None else value
