"""A run of a model that comes with weights begins with what they compute, with strategies that change the model too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.models import create_model, factory
from ghostlab.reparam import MultiBranchConv
from ghostlab.runs import compose
from ghostlab.runs.settings import Settings, parse
from ghostlab.training.build import build_data, build_model, build_task, change_model
from ghostlab.training.run import run

TIMM = ["model=timm", "model.name=mobilenetv3_small_050", "data.image_size=32", "data.workers=0"]
IMAGES = torch.ones(2, 3, 32, 32)


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained() -> dict[str, torch.Tensor]:
    """Weights of a model that has seen images: its norms have statistics."""
    torch.manual_seed(1)
    model = create_model("mobilenetv3_small_050", num_classes=10)
    for _ in range(20):
        model(torch.randn(16, 3, 32, 32))
    return model.state_dict()


@pytest.fixture(params=["pretrained", "checkpoint_path"])
def given(request: pytest.FixtureRequest, trained: dict, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Both ways of giving a model weights: as if fetched, and from a file."""
    if request.param == "checkpoint_path":
        torch.save(trained, "weights.pth")
        return ["+model.checkpoint_path=weights.pth"]

    def fetched(name: str, options: dict[str, Any]) -> torch.nn.Module:
        model = create_model(name, **options)
        model.load_state_dict(trained)
        return model

    monkeypatch.setattr(factory, "_fetch", fetched)
    return ["model.pretrained=true"]


def students(settings: Settings) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The model with the weights it came with, and the one that training begins with."""
    task = build_task(settings, build_data(settings))
    return build_model(settings, task).eval(), change_model(build_model(settings, task), settings, task).eval()


@pytest.mark.parametrize(
    ("knobs", "kept"),
    [
        param([], True, id="auto"),
        param(["strategy.reparam.init=preserve"], True, id="preserve"),
        param(["strategy.reparam.init=fresh"], False, id="fresh"),
    ],
)
def test_branches_begin_at_the_weights(given: list[str], knobs: list[str], kept: bool) -> None:
    model, student = students(parse(compose([*TIMM, *given, "strategy=reparam", *knobs])))
    assert any(isinstance(module, MultiBranchConv) for module in student.modules())
    with torch.no_grad():
        expected = model(IMAGES)
        assert torch.allclose(student(IMAGES), expected, rtol=0, atol=1e-6 * expected.abs().max().item()) == kept


def test_without_weights_all_branches_are_new() -> None:
    _, student = students(parse(compose([*TIMM, "strategy=reparam"])))
    site = next(module for module in student.modules() if isinstance(module, MultiBranchConv))
    assert (site.bn.weight == 1).all()


def test_a_run_that_learns_nothing_ends_where_the_weights_are(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["trainer.accelerator=cpu", "trainer.max_epochs=1", "optimizer.lr=1e-9", "data.image_size=16"]
    quick += ["data.val_fraction=0.8"]
    plain, grown = (run(compose([*TIMM, *given, *quick, f"strategy={name}"])) for name in ("baseline", "reparam"))
    assert "the weights kept" in capsys.readouterr().out
    assert (grown["top1"], grown["loss"]) == (plain["top1"], pytest.approx(plain["loss"], rel=1e-4))
    assert grown["params_train"] > plain["params_train"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        param("model.width=0", r"^model\.width=0: must be above 0", id="width"),
        param("model.stem_stride=3", r"^model\.stem_stride=3: must be 1 or 2", id="stem"),
    ],
)
def test_a_wrong_option_of_a_model_is_named_as_in_the_configuration(wrong: str, message: str) -> None:
    settings = parse(compose([wrong, "data.image_size=16", "data.workers=0"]))
    with pytest.raises(UsageError, match=message):
        build_model(settings, build_task(settings, build_data(settings)))
