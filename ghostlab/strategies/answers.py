"""Where distillation has a teacher's answers from: the teacher itself, or the cache of what it answered before."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from ghostlab.distill import AnswerCache, Preprocessing, TeacherChoice, answers
from ghostlab.distill.cache import HEADER, MAX_CLASSES, Header, compress_logits, describe_mismatch, refuse_mismatch
from ghostlab.errors import RunError, UsageError, keyed
from ghostlab.files import folder_name
from ghostlab.strategies.base import Drawn, Services, Step, Task

__all__ = ["CACHE_SEED", "Answers", "RunCache", "ask_teacher", "live_answers"]


@dataclass
class Answers:
    """A teacher's answers to the images of a step."""

    introduction: str
    """The teacher's name and top-1."""
    top1: float

    def figures(self) -> dict[str, Any]:
        """What they add to ``result.json``."""
        return {}

    def logits(self, step: Step) -> Tensor:
        """The answers (B, classes)."""
        raise NotImplementedError

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        """As ``Strategy.lookup``."""
        return {}


@dataclass
class LiveAnswers(Answers):
    """Asks the teacher at every step."""

    teacher: nn.Module

    def logits(self, step: Step) -> Tensor:
        return answers(self.teacher, step.images)


@dataclass
class CachedAnswers(Answers):
    """Reads what the teacher answered when the cache was built; the teacher itself is not needed any more."""

    cache: AnswerCache
    seconds: float | None
    """What asking for the answers that the run uses took, whichever run did it; None: not known."""

    def figures(self) -> dict[str, Any]:
        return {"cache_seconds": self.seconds, "cache_folder": str(self.cache.folder)}

    def logits(self, step: Step) -> Tensor:
        return self.cache.logits(step.known)

    def lookup(self, epoch: int, index: Tensor) -> dict[str, Tensor]:
        return self.cache.lookup(epoch, index)


def live_answers(choice: TeacherChoice, task: Task, services: Services, compiled: bool) -> LiveAnswers:
    """Opens the teachers and measures them."""
    teachers = choice.open(task.num_classes, student_preprocessing(task))
    introduction, top1 = choice.introduce(teachers, services.evaluate)
    together = choice.together(teachers)
    if compiled:
        together.compile()
    return LiveAnswers(introduction, top1, together)


def student_preprocessing(task: Task) -> Preprocessing:
    """How the student's images are prepared, which its teachers are given."""
    return Preprocessing(task.mean, task.std, (task.image_size,))


CACHE_SEED = 0
"""Of the images that caches are made for: runs of any seed share a cache."""
PIECE = 8192
"""Images between two times that a build counts what it has written."""


@dataclass(frozen=True)
class RunCache:
    """The cache of the teachers of ``choice`` for the images of one run, of the ``cache_k`` most probable classes.

    Without a ``cache_folder`` it lies below ``services.outputs`` under the hash of all that it depends on. Raises
    ``UsageError`` for more classes than a cache can hold.
    """

    choice: TeacherChoice
    task: Task
    services: Services
    cache_k: int
    cache_folder: Path | None
    compiled: bool

    def __post_init__(self) -> None:
        if self.task.num_classes > MAX_CLASSES:
            raise UsageError(f"strategy.kd.cache=true: {self.task.num_classes} classes, a cache holds {MAX_CLASSES}")

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """All that the answers depend on."""
        k = min(self.cache_k, self.task.num_classes)
        teacher = self.choice.identity(student_preprocessing(self.task))
        return {"teacher": teacher, "k": k, "seed": CACHE_SEED, **self.services.images.identity()}

    @cached_property
    def folder(self) -> Path:
        """Where it lies or is to be."""
        name = hashlib.sha256(json.dumps(self.fingerprint, sort_keys=True).encode()).hexdigest()[:8]
        below = self.services.outputs / "teachers" / "caches" / folder_name(self.fingerprint["data"]["name"])
        return self.cache_folder or below / name

    def find(self) -> AnswerCache | None:
        """What there is of it, None for nothing; ``UsageError`` for a folder with other answers."""
        cache = AnswerCache.open(self.folder)
        if cache:
            with keyed("strategy.kd"):
                refuse_mismatch(cache, self.fingerprint)
        return cache

    def complete(self) -> CachedAnswers:
        """It, after building what is missing for the epochs of the run, whose images are drawn from it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):
            cache = self.find()
            if cache is None or cache.epochs < self.task.epochs:
                cache = self._build(cache)
        self.services.images.replay(CACHE_SEED, cache.seeds)
        kept = f"top-{cache.header.k} in {self.folder}, {cache.size / 1e6:.1f} MB"
        told = f"{cache.header.teacher}; {kept}"
        return CachedAnswers(told, cache.header.top1, cache, cache.seconds_of(self.task.epochs))

    def _build(self, cache: AnswerCache | None) -> AnswerCache:
        live = live_answers(self.choice, self.task, self.services, self.compiled)
        if cache is None:
            self._say_why()
            sizes = (self.services.images.size, self.task.num_classes, self.fingerprint["k"])
            cache = AnswerCache.create(self.folder, Header(self.fingerprint, *sizes, live.introduction, live.top1))
        stop = self.task.epochs * cache.header.images
        amount = f"{stop - cache.done:,} images, {cache.header.entry.itemsize} bytes each"
        self.services.say(f"cache     answers to {amount}, in {self.folder}")
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task("asking the teacher", total=stop, completed=cache.done)
            began = time.perf_counter()
            for done in fill_cache(cache, live.teacher, self.services, stop):
                cache.add_seconds(time.perf_counter() - began)
                began = time.perf_counter()
                progress.update(bar, completed=done)
        return cache

    def _say_why(self) -> None:
        """In what the newest cache beside this one differs, for a user who expected it to be used again."""
        beside = (
            []
            if self.cache_folder
            else sorted(self.folder.parent.glob(f"*/{HEADER}"), key=lambda file: file.stat().st_mtime)
        )
        with suppress(RunError):  # a damaged one is no reason not to build another
            if beside and (newest := AnswerCache.open(beside[-1].parent)):
                self.services.say(
                    f"cache     not that in {newest.folder}: {describe_mismatch(newest, self.fingerprint)}"
                )


def fill_cache(cache: AnswerCache, teacher: nn.Module, services: Services, stop: int) -> Iterator[int]:
    """Write the missing entries up to the number ``stop``; after each piece yields the number that there are."""
    index: list[NDArray[np.int64]] = []
    entries: list[NDArray[Any]] = []
    for drawn in services.images.draw(CACHE_SEED, cache.done, stop):
        index.append(drawn.index)
        entries.append(ask_teacher(cache.header, teacher, drawn, services))
        if sum(map(len, index)) >= PIECE or drawn.done == cache.header.images:
            done = drawn.epoch * cache.header.images + drawn.done
            cache.write(drawn.epoch, np.concatenate(index), np.concatenate(entries), done)
            index, entries = [], []
            yield done


def ask_teacher(header: Header, teacher: nn.Module, drawn: Drawn, services: Services) -> NDArray[Any]:
    """The entries (B,) of drawn images."""
    entries = np.empty(len(drawn.index), header.entry)
    if not len(entries):
        return entries
    with services.precision():
        classes, probabilities = compress_logits(answers(teacher, drawn.images), header.k)
    entries["seed"], entries["classes"], entries["probabilities"] = drawn.seeds, classes, probabilities
    return entries
