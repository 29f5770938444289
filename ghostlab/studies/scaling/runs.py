"""What a search is asked for, checked, and the ordinary runs that it is made of, which are not repeated."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ghostlab.errors import UsageError, unknown
from ghostlab.files import folder_name
from ghostlab.reparam import MultiBranchConv
from ghostlab.runs import CONF, compose
from ghostlab.runs.messages import exit_code, one_line
from ghostlab.runs.settings import Settings, parse
from ghostlab.shell import command
from ghostlab.strategies.checks import at_least_one, one_of, require, within
from ghostlab.studies.scaling.budget import Base, Candidate, Rules, SearchPlan
from ghostlab.studies.scaling.networks import Networks
from ghostlab.training.build import build_data, build_model, build_task
from ghostlab.training.run import train

__all__ = [
    "SOLVABLE",
    "Outcome",
    "Search",
    "SearchConfig",
    "SearchJob",
    "check_settings",
    "families",
    "finished_jobs",
    "open_search",
    "search_jobs",
    "seconds_left",
    "train_jobs",
]

SOLVABLE = ("resolution", "width")
OWNED = {
    "model": "--family",
    "seed": "--seeds",
    "objective.metric": "--exponent",
    "objective.macs": "--budget",
    "objective.exponent": "--exponent",
}
"""Overrides of ``train.py`` that are options here."""
SCALED = ("model.depth", "model.width", "data.image_size")


@dataclass(frozen=True)
class SearchConfig:
    """The options of a search; raises ``UsageError`` naming the one that is not allowed."""

    family: str
    rules: Rules
    seeds: int
    exponent: float
    overrides: tuple[str, ...]

    def __post_init__(self) -> None:
        one_of("--solve", self.rules.solve, SOLVABLE)
        within("--step", self.rules.step, "[0.01, inf)")
        within("--tolerance", self.rules.tolerance, "(0, 0.5]")
        within("--exponent", self.exponent, "[-1, 0]")
        at_least_one("--multiple", self.rules.multiple)
        at_least_one("--seeds", self.seeds)
        _check_family(self.family)
        for override in self.overrides:
            if option := OWNED.get(key := override.partition("=")[0].lstrip("+")):
                raise UsageError(f"{override}: the search sets {key} itself; use {option}")


@dataclass(frozen=True)
class Search:
    """A search that can be started: what is wanted, the base network and what builds others of its family."""

    wanted: SearchConfig
    base: Base
    networks: Networks
    name: str
    """Of the model, such as ghostnetv2."""
    data: str
    epochs: int
    """Of every proxy run."""
    folder: Path

    def overrides(self, depth: float, width: float, px: int) -> list[str]:
        """The arguments with which ``train.py`` trains a network of the family as the search does."""
        given = [text for text in self.wanted.overrides if text.partition("=")[0].lstrip("+") not in SCALED]
        values = zip(SCALED, (depth, width, px), strict=True)
        return [f"model={self.wanted.family}", *given, *(f"{key}={value:g}" for key, value in values)]

    def configured(self, candidate: Candidate, seed: int) -> DictConfig:
        """The configuration of a candidate's run."""
        return compose([*self.overrides(candidate.depth, candidate.width, candidate.px), f"seed={seed}"])

    def command(self, depth: float, width: float, px: int) -> str:
        """The same as a command line."""
        return command("train.py", *self.overrides(depth, width, px))


@cache
def families() -> tuple[str, ...]:
    """The names of ``conf/model`` that have a depth and a width."""
    files = {file.stem: OmegaConf.load(file) for file in sorted((CONF / "model").glob("*.yaml"))}
    return tuple(name for name, node in files.items() if {"depth", "width"} <= {*node})


def open_search(wanted: SearchConfig) -> Search:
    """Compose the base and build it once; raises ``UsageError`` for what cannot be trained or scaled."""
    settings = parse(compose([f"model={wanted.family}", *wanted.overrides]))
    check_settings(settings)
    task = build_task(settings, build_data(settings))

    def plain(depth: float, width: float, **options: Any) -> nn.Module:
        model = {**settings.model, "depth": depth, "width": width, **options}
        return build_model(replace(settings, model=model), task)

    def build(depth: float, width: float) -> nn.Module:
        model = plain(depth, width)
        if not any(isinstance(module, MultiBranchConv) for module in model.modules()):
            return model
        # What counts is the deployed network, and branches are folded by their values.
        with torch.device("cpu"):
            return plain(depth, width, layout="deployed")

    base = Base(settings.model["depth"] or 1.0, settings.model["width"] or 1.0, settings.data.image_size)
    _check_scalable(plain, base, settings.model["name"])
    folder = settings.outputs / "scaling" / folder_name(settings.data.name) / folder_name(settings.model["name"])
    name = f"{wanted.rules.budget:g}x-{_digest(settings, wanted.rules)}"
    names = (settings.model["name"], settings.data.name)
    return Search(wanted, base, Networks(build), *names, settings.trainer.max_epochs, folder / name)


def _check_family(name: str) -> None:
    known = [file.stem for file in (CONF / "model").glob("*.yaml")]
    if name not in known:
        raise UsageError(f"--family={name}: {unknown('model', name, known)}")
    if name not in families():
        raise UsageError(f"--family={name}: it cannot be scaled; those that can: {', '.join(families())}")


def check_settings(settings: Settings) -> None:
    """Raise ``UsageError`` for a run that would not fit into a search."""
    if settings.model.get("pretrained"):
        raise UsageError(
            "model.pretrained=true: there are no weights for scaled networks; all are trained from scratch"
        )
    test_size, devices = settings.data.test_size, settings.trainer.devices
    own_size = "candidates are validated at their own size; must be null"
    require(test_size is None, "data.test_size", test_size, own_size)
    single = devices in (1, "1") and settings.trainer.num_nodes == 1
    require(single, "trainer.devices", devices, "a search trains on one device; must be 1")
    again = "would train every run again whenever the search goes on; delete its runs instead"
    require(not settings.force, "force", "true", again)


def _check_scalable(build: Callable[[float, float], nn.Module], base: Base, name: str) -> None:
    with torch.device("meta"):
        build(base.depth, base.width)
        try:
            build(base.deeper(2), base.wider(2))
        except UsageError as error:
            raise UsageError(f"model.name={name}: {str(error).partition(': ')[2] or error}") from error


def _digest(base: Settings, rules: Rules) -> str:
    """Of all that decides about the candidates and their training; more seeds belong to the same search."""
    values: dict[str, Any] = {"base": base.config_hash, **vars(rules)}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


Result = dict[str, Any]


@dataclass(frozen=True)
class SearchJob:
    """One candidate with one seed."""

    candidate: Candidate
    seed: int
    settings: Settings

    @property
    def folder(self) -> Path:
        """Of its run."""
        return self.settings.folder


class Outcome(NamedTuple):
    """A job with its ``result.json``, or with why there is none."""

    job: SearchJob
    result: Result | None
    error: str | None = None


def search_jobs(search: Search, plan: SearchPlan) -> list[SearchJob]:
    """Every run of the plan: all candidates with one seed before the next, so that a part of the search says something.

    Raises ``UsageError`` for a configuration that cannot be trained.
    """
    found = []
    for seed in range(search.wanted.seeds):
        for candidate in (plan.base, *plan.candidates):
            settings = parse(search.configured(candidate, seed))
            check_settings(settings)  # a size that is the model's native one may come with another to validate at
            found.append(SearchJob(candidate, seed, settings))
    return found


def finished_jobs(every: Sequence[SearchJob]) -> list[Outcome]:
    """The jobs that are finished already."""
    found = [(job, job.settings.run.result()) for job in every]
    return [
        Outcome(job, result)
        for job, result in found
        if result and result.get("config_hash") == job.settings.config_hash
    ]


def train_jobs(todo: Sequence[SearchJob], log: Path, train: Callable[[Settings], Result] = train) -> Iterator[Outcome]:
    """Train one job after the other; what a run prints goes to ``log``, and one that fails does not stop the others."""
    log.parent.mkdir(parents=True, exist_ok=True)
    for job in todo:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as text, redirect_stdout(text):
            print(f"\n{job.folder}", flush=True)
            outcome = _trained(job, train)
        yield outcome


def seconds_left(done: Sequence[Result], todo: int) -> float | None:
    """Estimated from the runs that are finished, which cost about the same; None before there is one."""
    return sum(result["seconds"] for result in done) / len(done) * todo if done else None


def _trained(job: SearchJob, train: Callable[[Settings], Result]) -> Outcome:
    try:
        return Outcome(job, train(job.settings))
    except Exception as error:
        if exit_code(error) is None:
            traceback.print_exc()
        return Outcome(job, None, one_line(error))
