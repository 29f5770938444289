"""Whole runs of joined strategies, of seconds each: killed and resumed, and in two processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ghostlab.data import DataModule
from ghostlab.errors import UsageError
from ghostlab.models import create_model, load_weights
from ghostlab.runs import compose
from ghostlab.runs.run import Run, run_folders
from ghostlab.runs.settings import parse
from ghostlab.strategies import join
from ghostlab.testing.processes import killed_at, side_by_side
from ghostlab.testing.settings import SETTINGS
from ghostlab.training.build import build_data
from ghostlab.training.metrics import evaluate
from ghostlab.training.run import run

__all__ = ["GROUPS", "SmallRuns", "check_killed", "check_two_processes", "groups", "joins"]

CLASSES = 4
MODEL = "test_efficientnet"
SMALL = (
    *("data=imagefolder", "data.image_size=24", "data.batch_size=16", "data.workers=0", "data.decoded=null"),
    *("model=timm", f"model.name={MODEL}", "trainer.max_epochs=2", "trainer.accelerator=cpu"),
)
Settings = Mapping[str, Mapping[str, Any]]

GROUPS: tuple[tuple[str, Settings], ...] = (
    ("reparam+droppath+erasing+mixup+ema+cosine+randaugment", {}),
    ("progressive+droppath+autoaugment+cutmix+smoothing+ema+step+kd", {}),
    ("exponential+ema+mixup+cutmix+kd", {"kd": {"kind": "feature", "stages": [0, -1]}}),
    ("reparam+erasing+cosine+kd", {"kd": {"cache": True, "cache_k": 3}}),
)
"""All strategies, in few runs: joined from as many as fit, for what one of them loses shows in all that is compared."""


def groups(name: str) -> Iterator[tuple[str, Settings]]:
    """``GROUPS`` with the strategy ``name`` in each, and without those that it excludes."""
    for text, settings in GROUPS:
        joined = [name]
        for other in text.split("+"):
            if other != name and joins("+".join([*joined, other])):
                joined.append(other)
        yield "+".join(joined), settings


@dataclass(frozen=True)
class SmallRuns:
    """Runs below ``folder`` on images of noise around a shade of grey for each class; ``plugins`` are named in each."""

    folder: Path
    plugins: Sequence[str] = ()

    @property
    def images(self) -> Path:
        """80 images of 16 pixels to train on, which are 5 batches, and 16 to validate on."""
        images, noise = self.folder / "images", np.random.default_rng(0)
        if images.exists():
            return images
        for split, count in (("train", 20), ("val", 4)):
            for label, number in product(range(CLASSES), range(count)):
                file = images / split / str(label) / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                pixels = noise.normal(50 + 50 * label, 40, (16, 16, 3)).clip(0, 255)
                Image.fromarray(pixels.astype(np.uint8)).save(file)
        return images

    @property
    def teacher(self) -> Path:
        """The folder of a run to learn from."""
        outputs = self.folder / "teacher"
        if not outputs.exists():
            run(compose([*SMALL, f"data.root={self.images}", f"outputs={outputs}", "trainer.max_epochs=1"]))
        return _only_run(outputs).folder

    def overrides(self, text: str, settings: Settings, outputs: Path) -> list[str]:
        """What ``train.py`` would be called with for the strategies of ``text``."""
        names = text.split("+")
        chosen = {name: dict(settings.get(name, SETTINGS.get(name, {}))) for name in names}
        if "ema" in names:
            chosen["ema"] = {"decay": 0.9, "warmup": False}
        if "progressive" in names:
            chosen["progressive"] = {"stages": 2, "size": 20}
        if "kd" in names:
            chosen["kd"]["teacher"] = str(self.teacher)
        knobs = [f"strategy.{name}.{knob}={value}" for name in names for knob, value in chosen[name].items()]
        plugins = [f"plugins=[{','.join(self.plugins)}]"] if self.plugins else []
        return [*SMALL, f"data.root={self.images}", f"outputs={outputs}", *plugins, f"strategy={text}", *knobs]


def check_killed(text: str, settings: Settings, runs: SmallRuns) -> None:
    """Killed within an epoch and started again, a run ends with the weights and the history of one that was not.

    In bfloat16, and with windows of several batches, the last of them shorter.
    """
    place = runs.folder / "killed" / text
    whole, killed = (
        [*runs.overrides(text, settings, place / name), "trainer.accumulate=2", "trainer.precision=bf16-mixed"]
        for name in ("whole", "killed")
    )
    run(compose(whole))
    killed_at((1, 3), killed, place / "killed.txt")
    assert _only_run(place / "killed").unfinished(), f"{text}: a run that was killed has a result"
    run(compose(killed))
    expected, resumed = _last(place / "whole"), _last(place / "killed")
    assert expected["global_step"] == 2 * 3, f"{text}: {expected['global_step']} steps, not 2 * 3"
    for key in (key for key in expected if key.startswith("state_dict")):
        narrow = [name for name, tensor in expected[key].items() if tensor.dtype == torch.bfloat16]
        assert not narrow, f"{text}: weights in bfloat16: {', '.join(narrow)}"
        other = [name for name, tensor in expected[key].items() if not torch.equal(resumed[key][name], tensor)]
        assert not other, f"{text}: after a kill other weights: {', '.join(other)}"
    one, two = _history(place / "whole"), _history(place / "killed")
    assert one == two, f"{text}: after a kill another history: {two}, not {one}"


def check_two_processes(text: str, settings: Settings, runs: SmallRuns) -> None:
    """Both processes end with the same weights, and the figures of the run are those of the weights that are saved."""
    place = runs.folder / "two" / text
    overrides = runs.overrides(text, settings, place / "runs")
    place.mkdir(parents=True)
    side_by_side(overrides, place)
    first, second = (torch.load(place / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    other = [name for name, tensor in first.items() if "running_" not in name and not torch.equal(second[name], tensor)]
    assert not other, f"{text}: two processes have other weights: {', '.join(other)}"
    data, saved = build_data(parse(compose(overrides))), _last(place / "runs")
    result, scores = _only_run(place / "runs").result() or {}, {}
    for key, name in (("state_dict", "top1_raw"), ("state_dict_ema", "top1_ema")):
        if key in saved:
            scores = _scores(saved[key], data)
            told, found = result[name], scores["top1"]
            assert math.isclose(told, found, rel_tol=1e-6), f"{text}: {name} is {told}, of the saved weights {found}"
    told, found = result["loss"], scores["val_loss"]
    assert math.isclose(told, found, rel_tol=1e-5), f"{text}: the loss is {told}, of the saved weights {found}"


def _only_run(outputs: Path) -> Run:
    """The one run whose folder is not a teacher's."""
    [place] = run_folders(outputs)
    return Run(outputs / place)


def _last(outputs: Path) -> dict[str, Any]:
    return torch.load(_only_run(outputs).last, weights_only=True)


def _history(outputs: Path) -> list[dict[str, float]]:
    rows = _only_run(outputs).history()
    return [{key: value for key, value in row.items() if key not in ("images_per_second", "seconds")} for row in rows]


def _scores(weights: Mapping[str, torch.Tensor], data: DataModule) -> dict[str, float]:
    model = load_weights(create_model(MODEL, num_classes=CLASSES), dict(weights))
    return evaluate(model, data.val_dataloader(), CLASSES)


def joins(text: str) -> bool:
    """Whether no two of the strategies of ``text`` exclude each other."""
    try:
        return bool(join(text))
    except UsageError:
        return False
