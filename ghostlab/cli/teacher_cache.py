"""Caches of teachers' answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostlab.cli.guard import guarded
from ghostlab.distill import AnswerCache
from ghostlab.distill.cache import HEADER, as_tensors
from ghostlab.errors import RunError, UsageError
from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.strategies.answers import CACHE_SEED, ask_teacher, live_answers
from ghostlab.strategies.base import Drawn, Task
from ghostlab.strategies.checks import at_least_one, within
from ghostlab.strategies.kd import KnowledgeDistillation
from ghostlab.terminal import say
from ghostlab.training.run import open_services
from ghostlab.training.services import RunServices

CACHES = Path("outputs/teachers/caches")


def build(overrides: list[str]) -> None:
    """Build the cache that ``train.py`` with these arguments would build before its first epoch."""
    kd, task, services = prepare(overrides)
    found = kd.run_cache(task, services).complete()
    say(f"{found.introduction}; {found.cache.epochs} epochs of {found.cache.header.images:,} images")


def check(overrides: list[str], samples: int, tolerance: float) -> None:
    """Ask the teacher again about random images of the cache of a run; ``RunError`` when it answers otherwise."""
    at_least_one("--samples", samples)
    within("--tolerance", tolerance, "[0, 1]")
    kd, task, services = prepare(overrides)
    place = kd.run_cache(task, services)
    cache = place.find()
    if cache is None or not cache.epochs:
        raise UsageError(f"{place.folder}: holds no cache of this run; build it first")
    teacher = live_answers(kd.choice(services), task, services, compiled=False).teacher
    checked, largest, draws = 0, 0.0, np.random.default_rng()
    while checked < samples:
        start = int(draws.integers(cache.epochs * cache.header.images))
        epoch_end = (start // cache.header.images + 1) * cache.header.images
        drawn = next(services.images.draw(CACHE_SEED, start, epoch_end))
        largest = max(largest, largest_difference(cache, drawn, ask_teacher(cache.header, teacher, drawn, services)))
        checked += len(drawn.index)
    line = f"{checked:,} answers asked again, {cache.done:,} kept: largest difference of a probability {largest:.1e}"
    if largest > tolerance:
        raise RunError(f"{cache.folder}: {line}, more than {tolerance:g}; delete the folder")
    say(line)


def largest_difference(cache: AnswerCache, drawn: Drawn, entries: NDArray[Any]) -> float:
    """How much new entries (B,) of drawn images differ in a probability from those kept, at most."""
    kept = cache.read(drawn.epoch, drawn.index)
    if not np.array_equal(entries["seed"], kept["seed"]):
        raise RunError(f"{cache.folder}: the seeds of epoch {drawn.epoch + 1} are not those of its images; delete it")
    first, second = (cache.logits(as_tensors(e)).softmax(1) for e in (entries, kept))
    return (first - second).abs().max().item()


def print_caches(folders: list[Path]) -> None:
    """Print a line for each cache below the folders; ``UsageError`` where there is none."""
    files = sorted(file for folder in folders for file in folder.rglob(HEADER))
    if not files:
        raise UsageError(f"{' '.join(map(str, folders))}: no caches here")
    for file in files:
        cache = AnswerCache.open(file.parent)
        assert cache is not None
        header = cache.header
        drawn_by = "+".join(header.fingerprint["strategies"]) or "crop and flip alone"
        amount = f"{cache.done / header.images:.4g} epochs of {header.images:,} images"
        say(f"{file.parent}   top-{header.k}, {amount}, {cache.size / 1e6:.1f} MB; {drawn_by}; {header.teacher}")


def prepare(overrides: list[str]) -> tuple[KnowledgeDistillation, Task, RunServices]:
    """The distillation of a run, and what it may ask for."""
    settings = parse(compose([*overrides, "strategy.kd.cache=true"]))
    kd = next(strategy for strategy in settings.strategies if isinstance(strategy, KnowledgeDistillation))
    return kd, *open_services(settings)


def main(arguments: list[str], prog: str = "distill_cache.py") -> int:
    """Parse, and run it; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("what", choices=["build", "check", "list"])
    parser.add_argument("arguments", nargs="*", help="those of train.py, such as strategy=kd data=cifar10; or folders")
    parser.add_argument("--samples", type=int, default=1024, help="images to check (default: 1024)")
    parser.add_argument("--tolerance", type=float, default=0.02, help="allowed difference (default: 0.02)")
    given = parser.parse_intermixed_args(arguments)
    commands = {
        "build": lambda: build(given.arguments),
        "check": lambda: check(given.arguments, given.samples, given.tolerance),
        "list": lambda: print_caches([Path(folder) for folder in given.arguments] or [CACHES]),
    }
    return guarded(commands[given.what])
