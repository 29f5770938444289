"""Teachers from run folders, checkpoints and timm, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pytest import param
from torch import nn

from ghostlab.distill import Preprocessing
from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.models import create_model
from ghostlab.training.teachers import NamedTeacher

SMALL = {"name": "ghostnetv1", "width": 0.1}
IMAGES = torch.randn(2, 3, 16, 16)


def small(num_classes: int = 4) -> nn.Module:
    return create_model(**SMALL, num_classes=num_classes).eval()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder as training leaves it."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": prefixed(small())}, folder / "checkpoints" / "last.ckpt")
    data = {"name": "digits", "num_classes": 4, "image_size": 16, "test_size": 20, "mean": [0.1] * 3, "std": [0.2] * 3}
    config = {"model": {**SMALL, "drop_rate": None}, "data": data}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def prefixed(model: nn.Module) -> dict[str, torch.Tensor]:
    return {f"model.{key}": value for key, value in model.state_dict().items()}


def test_a_run_folder_is_a_teacher(run: Path) -> None:
    teacher = NamedTeacher(run).open(4)
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(teacher.classifier.weight, saved["model.classifier.weight"])
    assert teacher(IMAGES).shape == (2, 4)
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_a_checkpoint_in_a_run_folder_is_a_teacher_of_that_architecture(run: Path) -> None:
    other = small()
    torch.save({"state_dict": prefixed(other)}, run / "checkpoints" / "best.ckpt")
    teacher = NamedTeacher(run / "checkpoints" / "best.ckpt").open(4)
    assert torch.equal(teacher(IMAGES), other(IMAGES))


@pytest.mark.parametrize(
    "wrapped",
    [
        param(lambda model: model.state_dict(), id="state-dict"),
        param(lambda model: {"state_dict": model.state_dict()}, id="wrapped"),
        param(lambda model: {"state_dict": prefixed(model)}, id="lightning"),
    ],
)
def test_any_checkpoint_is_a_teacher_when_its_architecture_is_given(
    tmp_path: Path, wrapped: Callable[[nn.Module], Any]
) -> None:
    model = create_model("resnet10t", num_classes=4).eval()
    torch.save(wrapped(model), tmp_path / "resnet.pth")
    teacher = NamedTeacher(tmp_path / "resnet.pth", "resnet10t").open(4)
    assert torch.equal(teacher(IMAGES), model(IMAGES))


def test_pretrained_weights_come_from_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def create(name: str, **options: Any) -> nn.Module:
        asked.append((name, options))
        return nn.Linear(2, 2)

    monkeypatch.setattr("ghostlab.training.teachers.create_model", create)
    assert isinstance(NamedTeacher("resnet18").open(1000), nn.Linear)
    assert asked == [("resnet18", {"num_classes": 1000, "pretrained": True})]


def test_offline_the_cause_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(RunError) as refused:
        NamedTeacher("resnet10t.c3_in1k").open(1000)
    assert str(refused.value).startswith("strategy.kd.teacher=resnet10t.c3_in1k: cannot fetch the pretrained weights")
    assert "\n" not in str(refused.value)


def empty_folder(tmp_path: Path) -> Path:
    return tmp_path


def loose_checkpoint(tmp_path: Path, num_classes: int = 4) -> Path:
    torch.save(small(num_classes).state_dict(), tmp_path / "loose.pth")
    return tmp_path / "loose.pth"


def checkpoint_of_other_classes(tmp_path: Path) -> Path:
    return loose_checkpoint(tmp_path, 7)


def truncated_checkpoint(tmp_path: Path) -> Path:
    path = loose_checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    return path


@pytest.mark.parametrize(
    ("make", "teacher_model", "error", "message"),
    [
        param(empty_folder, None, UsageError, "has no config.yaml", id="folder-without-a-run"),
        param(loose_checkpoint, None, UsageError, "needs strategy.kd.teacher_model", id="unknown-architecture"),
        param(loose_checkpoint, "ghostnetv9", UsageError, "no model 'ghostnetv9'", id="mistyped-architecture"),
        param(loose_checkpoint, "resnet10t", RunError, "do not fit", id="another-architecture"),
        param(
            checkpoint_of_other_classes,
            "ghostnetv1",
            UsageError,
            "a teacher of 7 classes cannot teach 4",
            id="checkpoint-of-other-classes",
        ),
        param(truncated_checkpoint, "ghostnetv1", RunError, "cannot read weights", id="truncated"),
        param(lambda _: "resnet18", None, UsageError, "a teacher of 1000 classes cannot teach 4", id="timm-classes"),
        param(lambda _: "resnt18", None, UsageError, "did you mean", id="mistyped"),
        param(lambda _: "resnet18.foo", None, UsageError, "Invalid pretrained tag (foo)", id="mistyped-tag"),
        param(lambda _: "ghostnetv1", None, UsageError, "a teacher of 1000 classes cannot teach 4", id="own-classes"),
        param(lambda _: "gone/last.ckpt", None, UsageError, "neither a file nor a folder", id="missing"),
    ],
)
def test_what_cannot_teach_is_refused_in_one_line(
    tmp_path: Path,
    make: Callable[[Path], Path | str],
    teacher_model: str | None,
    error: type[GhostlabError],
    message: str,
) -> None:
    source = make(tmp_path)
    with pytest.raises(error) as refused:
        NamedTeacher(source, teacher_model).open(4)
    assert str(refused.value).startswith(f"strategy.kd.teacher={source}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_of_other_classes_is_refused(run: Path) -> None:
    with pytest.raises(UsageError, match=r"strategy\.kd\.teacher=.*run: a teacher of 4 classes cannot teach 10"):
        NamedTeacher(run).open(10)


def test_a_teacher_is_called_by_its_architecture_and_place(run: Path) -> None:
    assert NamedTeacher(run).name == f"ghostnetv1 ({run})"
    assert NamedTeacher(run / "checkpoints" / "last.ckpt").name == f"ghostnetv1 ({run}/checkpoints/last.ckpt)"
    assert NamedTeacher("loose.pth", "resnet18").name == "resnet18 (loose.pth)"
    assert NamedTeacher("resnet18.a1_in1k").name == "resnet18.a1_in1k"


def test_a_teachers_own_preprocessing_is_that_of_its_run_or_of_timm(run: Path, tmp_path: Path) -> None:
    assert NamedTeacher(run).preprocessing == Preprocessing((0.1,) * 3, (0.2,) * 3, (16, 20))
    assert NamedTeacher(run / "checkpoints" / "last.ckpt").preprocessing == NamedTeacher(run).preprocessing
    half = (0.5, 0.5, 0.5)
    assert NamedTeacher("inception_resnet_v2.tf_in1k").preprocessing == Preprocessing(half, half, (299,))
    assert NamedTeacher(loose_checkpoint(tmp_path)).preprocessing is None


def test_a_teacher_is_known_again_by_its_weights(run: Path, tmp_path: Path) -> None:
    first = NamedTeacher(run).identity
    assert first["model"]["name"] == "ghostnetv1"
    assert NamedTeacher(run / "checkpoints" / "last.ckpt").identity == first
    torch.save({"state_dict": prefixed(small())}, run / "checkpoints" / "last.ckpt")
    assert NamedTeacher(run).identity["weights"] != first["weights"]
    loose = NamedTeacher(loose_checkpoint(tmp_path), "ghostnetv1").identity
    assert (loose["model"], len(loose["weights"])) == ("ghostnetv1", 16)
    assert NamedTeacher("resnet18.a1_in1k").identity != NamedTeacher("resnet18.a2_in1k").identity


@pytest.mark.parametrize("ask", ["identity", "preprocessing"])
@pytest.mark.parametrize("source", ["resnt18", "resnet18.foo"])
def test_what_is_no_teacher_has_neither(ask: str, source: str) -> None:
    with pytest.raises(UsageError, match=rf"strategy\.kd\.teacher={source}: "):
        getattr(NamedTeacher(source), ask)


def test_a_run_without_a_checkpoint_is_not_known(run: Path) -> None:
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(UsageError, match=r"holds no checkpoints/last\.ckpt"):
        _ = NamedTeacher(run).identity
