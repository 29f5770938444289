"""What a run trains on with cached answers are the images that the teacher saw when the cache was built."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytest import param
from torch import Tensor, nn

from ghostlab.distill import AnswerCache
from ghostlab.distill.cache import fingerprint_difference
from ghostlab.errors import UsageError
from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.strategies.base import Step
from ghostlab.strategies.kd import KnowledgeDistillation
from ghostlab.testing.runs import SmallRuns
from ghostlab.training.run import open_services, run
from ghostlab.training.teachers import NamedTeacher
from ghostlab.training.trainer import Rehearsal

QUICK = [
    "model=timm",
    "model.name=test_resnet",
    "data.image_size=16",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
]
DIGITS = [*QUICK, "data.val_fraction=0.8"]
FEW = [*QUICK, "data=imagefolder", "data.crop=padded", "data.batch_size=16", "data.workers=0", "data.decoded=null"]
IMAGES = 80
STEPS = 5
AUGMENTED = "randaugment+erasing+mixup+cutmix"


class Sharp(nn.Module):
    """Its answers depend on every pixel, so that another image has another answer."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(0.1 * torch.randn(classes, 3 * 16 * 16, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images, (16, 16)).flatten(1) @ self.weight.T


@pytest.fixture(autouse=True)
def a_sharp_teacher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(NamedTeacher, "open", lambda self, classes: Sharp(classes))
    monkeypatch.setattr(NamedTeacher, "preprocessing", None)
    monkeypatch.setattr(NamedTeacher, "identity", {"model": "sharp"})
    monkeypatch.setattr(NamedTeacher, "name", "sharp")


@pytest.fixture
def differences(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Largest differences of a probability between the cached answers of a step and those to its images."""
    found: list[float] = []
    original = KnowledgeDistillation.loss_terms

    def compared(self: KnowledgeDistillation, step: Step) -> dict[str, Tensor]:
        with torch.no_grad():
            cached, live = self._source().logits(step).softmax(1), Sharp(step.logits.shape[1])(step.images).softmax(1)
        found.append((cached - live).abs().max().item())
        return original(self, step)

    monkeypatch.setattr(KnowledgeDistillation, "loss_terms", compared)
    monkeypatch.setattr(Rehearsal, "on_train_start", lambda *given: None)  # it trains on noise, which has no answers
    return found


Train = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """``train("kd", "seed=1")`` trains on few images."""
    few = [*FEW, f"data.root={SmallRuns(tmp_path_factory.mktemp('few')).images}"]

    def trained(strategy: str, *more: str, data: Sequence[str] = few) -> dict[str, Any]:
        if "progressive" in strategy:
            more = ("strategy.progressive.stages=2", "strategy.progressive.size=12", *more)
        taught = (f"strategy={strategy}", "strategy.kd.teacher=x", "strategy.kd.cache=true")
        return run(compose([*data, *taught, *more]))

    return trained


def caches() -> list[AnswerCache]:
    return [opened for file in Path("outputs").rglob("cache.json") if (opened := AnswerCache.open(file.parent))]


@pytest.mark.parametrize(
    ("strategy", "built_with", "trained_with"),
    [
        param("kd", 0, 2, id="crops"),
        param("kd+randaugment+erasing", 2, 0, id="augmented"),
        param(f"kd+{AUGMENTED}+smoothing+droppath", 2, 3, id="mixed-with-what-else-draws"),
        param("kd+progressive+randaugment+mixup", 0, 2, id="in-stages"),
    ],
)
def test_cached_answers_are_those_to_the_images_of_the_step(
    train: Train, strategy: str, built_with: int, trained_with: int, differences: list[float]
) -> None:
    train(strategy, f"data.workers={built_with}")
    train(strategy, f"data.workers={trained_with}", "seed=1")
    assert len(caches()) == 1
    assert len(differences) == 2 * 2 * STEPS
    assert max(differences) < 1e-3


def test_the_last_stage_is_tried_with_cached_answers_too(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    original = Rehearsal._step

    def noted(self: Rehearsal, *given: Any) -> None:
        original(self, *given)
        tried.append(self)

    monkeypatch.setattr(Rehearsal, "_step", noted)
    assert train("kd+progressive")["status"] == "finished"
    assert len(tried) == 1


def test_a_wrong_image_would_be_noticed(
    train: Train, differences: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    train("kd")
    monkeypatch.setattr(AnswerCache, "seeds", lambda self, epoch, index: index)
    train("kd", "seed=1")
    assert max(differences[: 2 * STEPS]) < 1e-3
    assert min(differences[2 * STEPS :]) > 0.1


def test_seeds_and_kinds_share_a_cache_and_have_runs_of_their_own(train: Train) -> None:
    results = [train("kd", "seed=0"), train("kd", "seed=1"), train("kd", "strategy.kd.kind=dist")]
    [cache] = caches()
    assert cache.header.images == IMAGES
    assert cache.size == IMAGES * 2 * 20
    assert len({result["loss"] for result in results}) == 3


def test_what_changes_the_images_changes_their_identity() -> None:
    def identity(*overrides: str) -> dict[str, Any]:
        services = open_services(parse(compose([*DIGITS, "strategy=kd", *overrides])))[1]
        return json.loads(json.dumps(services.images.identity()))

    plain = identity()
    same = ["seed=3", "data.workers=1", "strategy=kd+ema+smoothing", "data.batch_size=32", "trainer.max_epochs=5"]
    for override in same:
        assert identity(override) == plain, override
    for override, key in {
        "data.image_size=20": "images.image_size",
        "data.crop=none": "images.crop",
        "data.flip=true": "images.flip",
        "data.split_seed=1": "data.hash",
        "strategy=kd+randaugment": "strategies.randaugment",
        "trainer.precision=bf16-mixed": "precision",
        "strategy=kd+mixup": "batches",
        "strategy=kd+progressive strategy.progressive.stages=2": "stages",
    }.items():
        assert (fingerprint_difference(identity(*override.split()), plain) or "").startswith(f"{key} is "), override
    mixed = identity("strategy=kd+mixup")
    assert "batches.size is 64 there, 32 here" in str(
        fingerprint_difference(identity("strategy=kd+mixup", "data.batch_size=32"), mixed)
    )


def test_a_named_folder_keeps_its_run_and_refuses_other_images(train: Train) -> None:
    train("kd", "strategy.kd.cache_folder=mine")
    assert Path("mine/cache.json").is_file()
    with pytest.raises(
        UsageError, match=r"strategy\.kd\.cache_folder=mine: built for another run: images\.crop is padded"
    ):
        train("kd", "strategy.kd.cache_folder=mine", "data.crop=none")


def test_a_teacher_below_its_student_is_said_and_kept(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    result = train("kd", "strategy.kd.alpha=0", "optimizer.lr=0.003", data=DIGITS)
    assert result["teacher_top1"] < result["top1"]
    [remark] = result["remarks"]
    assert f"top-1 {result['teacher_top1']:.1f} is below the student's {result['top1']:.1f}" in remark
    assert remark in capsys.readouterr().out
