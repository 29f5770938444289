"""Errors of Hydra and OmegaConf as one line that names the key, its value and the nearest allowed one."""

from __future__ import annotations

import re

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from ghostlab.errors import GhostlabError, nearest, unknown
from ghostlab.shell import command

__all__ = ["exit_code", "one_line"]

SWEEP = re.compile(r"(?:Ambiguous value for argument|Sweep parameters) '(.*?)'(?:\n| requires --multirun)")

EXTRAS = {
    "hydra/launcher=joblib": "joblib",
    "hydra/launcher=submitit_local": "slurm",
    "hydra/launcher=submitit_slurm": "slurm",
    "hydra/sweeper=optuna": "optuna",
}
"""Choices that a package of an extra offers."""


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks, in the words of the command line where it is known there."""
    if isinstance(error, MissingConfigException) and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if extra := EXTRAS.get(f"{group}={name}"):
            return f"{group}={name}: needs `pip install 'ghostlab[{extra}]'`"
        return f"{group}={name}: {unknown(group, name, error.options)}"
    if isinstance(error, HydraException) and (sweep := SWEEP.match(str(error))):
        return (
            f"{sweep[1]}: several values are a sweep, {command('train.py', '-m')} ...;"
            " a list is written key=[a,b], a text with commas \"key='a,b'\""
        )
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not of the form key=value: {_reason(error)}"
    cause = error if isinstance(error, (OmegaConfBaseException, GhostlabError)) else error.__cause__
    if isinstance(cause, OmegaConfBaseException) and cause.full_key:
        return _about_key(cause)
    return " ".join(str(error).split()) or type(error).__name__


def exit_code(error: BaseException) -> int | None:
    """2 for bad usage, 1 for another known cause, None for what should keep its traceback."""
    if isinstance(error, GhostlabError):
        return error.exit_code
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return 2
    return 1 if isinstance(error, OSError) and error.filename else None


def _about_key(error: OmegaConfBaseException) -> str:
    parent, _, key = str(error.full_key).rpartition(".")
    reason = next(iter((error.msg or str(error)).strip().splitlines()), "")
    if "is not in struct" not in reason:
        return f"{error.full_key}: {reason}"
    known = [str(name) for name in error.parent_node or ()]
    place = f"'{parent}' has no key '{key}'" if parent else f"no key '{key}'"
    if not known:
        return f"{error.full_key}: {place}; '+' adds one"
    hint = nearest(key, known)
    return f"{error.full_key}: {place}{hint}{'' if hint else ';'} available: {', '.join(sorted(known))}"


def _reason(error: OverrideParseException) -> str:
    key, equals, value = error.override.partition("=")
    if error.message.startswith("LexerNoViableAlt") and equals:
        return f"a text with other characters than those of ASCII is quoted, \"{key}='{value}'\""
    lines = [line for line in error.message.splitlines() if line.strip(" ^") and not line.startswith("See ")]
    return lines[min(1, len(lines) - 1)]
