"""From what a user names, and the runtimes that were asked for, to contestants."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ghostlab.benchmarks.deployables import EAGER, Deployable, deployable, find_folded
from ghostlab.benchmarks.exported import export, file_deployable
from ghostlab.deploy.export.formats import FORMATS, is_exported
from ghostlab.errors import UsageError, unknown
from ghostlab.terminal import tracked

__all__ = ["contestants", "core_count"]


def contestants(
    names: Sequence[str], runtimes: Sequence[str], image_size: int | None, folder: Path
) -> list[Deployable]:
    """Each file once, in its own runtime; each model and run in each of ``runtimes``, exported into ``folder``.

    Raises ``UsageError`` for names, runtimes and sizes that do not fit, or that are not installed, before anything is
    exported.
    """
    for runtime in runtimes:
        _require(runtime)
    files = {name: file_deployable(name, image_size) for name in names if is_exported(Path(name))}
    pairs = [(name, runtime) for name in names if name not in files for runtime in runtimes]
    exports = [pair for pair in pairs if pair[1] != EAGER]
    found = {pair[0]: find_folded(pair[0], image_size) for pair in exports}
    made: dict[tuple[str, str], Deployable] = {}
    for k, pair in enumerate(tracked(exports, "exporting")):
        made[pair] = export(found[pair[0]], pair[1], folder / str(k))
    made |= {(name, EAGER): deployable(name, image_size) for name, runtime in pairs if runtime == EAGER}
    return [one for name in names for one in ([files[name]] if name in files else [made[name, r] for r in runtimes])]


def core_count() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require(runtime: str) -> None:
    if runtime == EAGER:
        return
    if runtime not in FORMATS:
        raise UsageError(f"--runtime {runtime}: {unknown('runtime', runtime, [EAGER, *FORMATS])}")
    FORMATS[runtime].require()
    if not FORMATS[runtime].runs_here:
        raise UsageError(f"--runtime {runtime}: its files do not run on this machine")
