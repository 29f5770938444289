"""The command line before Hydra sees it: what Hydra would take without a word or answer with a traceback is refused."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, QuotedString

from ghostlab.errors import UsageError
from ghostlab.runs.compose import CONF, register_plugins
from ghostlab.runs.config_checks import refuse_hydra_key
from ghostlab.studies.jobs import defer_knob

__all__ = ["check_arguments"]

MODES: tuple[tuple[str, ...], ...] = (("--run", "-r"), ("--multirun", "-m"), ("--shell-completion", "-sc"))
SWITCHES: tuple[tuple[str, ...], ...] = (("--help", "-h"), ("--hydra-help",), ("--version",), ("--resolve",))
VALUES: tuple[tuple[str, ...], ...] = (
    *(("--package", "-p"), ("--config-path", "-cp"), ("--config-name", "-cn"), ("--config-dir", "-cd")),
    ("--experimental-rerun",),
)
COMPLETION = ("install", "uninstall", "query")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; --hydra-help lists all flags")


def check_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments for Hydra, overrides first; raises ``UsageError`` for contradictions and what changes nothing."""
    given = _parser().parse_intermixed_args(arguments)
    flags = list(arguments)
    for override in given.overrides:
        flags.remove(override)
    _check_flags(given)
    if given.shell_completion:
        return [*given.overrides, *flags]
    register_plugins(given.overrides, [given.config_dir] if given.config_dir else [])
    overrides = OverridesParser.create().parse_overrides(given.overrides)
    for one in overrides:
        _check(one)
    _refuse_twice(overrides)
    sweeps = _is_sweep(given, overrides)
    return [*(defer_knob(argument) if sweeps else argument for argument in given.overrides), *flags]


def _parser() -> argparse.ArgumentParser:
    """Hydra's own flags, of which it accepts several that have no effect together."""
    parser = _Parser(prog="train.py", add_help=False)
    parser.add_argument("overrides", nargs="*")
    mode = parser.add_mutually_exclusive_group()
    for names in MODES:
        mode.add_argument(*names, action="store_true")
    mode.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    shown = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
    mode.add_argument("--info", "-i", nargs="?", const="all", choices=shown)
    for names in SWITCHES:
        parser.add_argument(*names, action="store_true")
    for names in VALUES:
        parser.add_argument(*names)
    return parser


def _check_flags(given: argparse.Namespace) -> None:
    if given.config_path is not None:
        raise UsageError(
            f"--config-path={given.config_path}: would hide this project's own conf/; --config-dir adds a folder"
        )
    if given.experimental_rerun is not None:
        raise UsageError(
            f"--experimental-rerun={given.experimental_rerun}: would unpickle it; the command of a run repeats that run"
        )
    if given.resolve and not (given.cfg or given.help):
        raise UsageError("--resolve: needs --cfg or --help")
    if given.package is not None and not given.cfg:
        raise UsageError(f"--package={given.package}: needs --cfg")
    named = [override.partition("=")[0] for override in given.overrides]
    if given.shell_completion and sum(named.count(what) for what in COMPLETION) != 1:
        raise UsageError("--shell-completion: needs one of install=<shell>, uninstall=<shell>, query=<shell>")


def _check(one: Override) -> None:
    """Raise ``UsageError`` for what no configuration can make of one override."""
    line, key = one.input_line, one.key_or_group
    if not key:
        raise UsageError(f"'{line}' is not of the form key=value")
    if one.is_delete():
        raise UsageError(f"{line}: every key is needed; where it may be empty, {key}=null")
    if one.is_hydra_override() and "/" not in key:
        refuse_hydra_key(key, one.value(), str(line))
    values = list(_values(one))
    if {} in values:
        raise UsageError(f"{line}: changes nothing, as it is merged into what is there")
    if _is_group(key) and not (isinstance(values[0], dict) and len(values) == 1):
        _check_group(one, values)


def _check_group(one: Override, values: Sequence[Any]) -> None:
    line, key = one.input_line, one.key_or_group
    if key == "strategy" and (one.is_add() or one.is_force_add() or any(isinstance(value, list) for value in values)):
        raise UsageError(f"{line}: strategies are joined by '+' in one value, as in strategy=kd+reparam")
    if (one.is_add() or one.is_force_add()) and one.package is None:
        raise UsageError(f"{line}: has its place already; leave out the '+'")
    if None in values and key in ("ablation", "experiment"):
        raise UsageError(f"{line}: leave it out; there is no {key} unless one is chosen")
    for value in values:
        if not isinstance(value, str | Glob) or not value:
            shown = "null" if value is None else value
            options = [file.stem for file in (CONF / key).glob("*.yaml")]
            raise UsageError(f"{key}={shown}: {key} must be one of {', '.join(sorted(options)) or 'its files'}")


def _refuse_twice(overrides: Sequence[Override]) -> None:
    seen: dict[str, Override] = {}
    for one in overrides:
        key = one.key_or_group
        if _is_group(key) and not isinstance(one.value(), dict):
            if key in seen and seen[key].package == one.package:
                hint = {"strategy": "; strategies are joined by '+'"}.get(key, "; -m compares several")
                raise UsageError(f"{seen[key].input_line} {one.input_line}: {key} is given twice{hint}")
            seen[key] = one


def _is_sweep(given: argparse.Namespace, overrides: Sequence[Override]) -> bool:
    mode = next((str(one.value()).upper() for one in overrides if one.key_or_group == "hydra.mode"), None)
    for flag, contrary in ((given.multirun and "--multirun", "RUN"), (given.run and "--run", "MULTIRUN")):
        if flag and mode == contrary:
            raise UsageError(f"hydra.mode={mode}: contradicts {flag}")
    return given.multirun or mode == "MULTIRUN"


def _values(one: Override) -> Iterator[Any]:
    """All values of a choice, or the one that is given; a range or an interval is itself."""
    value: Any = one.value()
    for each in value.list if isinstance(value, ChoiceSweep) else [value]:
        yield each.text if isinstance(each, QuotedString) else each


def _is_group(key: str) -> bool:
    return "/" in key or (CONF / key).is_dir()
