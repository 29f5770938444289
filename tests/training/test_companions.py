"""What is trained beside the model: kept in checkpoints, and no part of the model's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ghostlab.errors import RunError
from ghostlab.models import create_model
from ghostlab.runs import compose
from ghostlab.runs.run import open_run
from ghostlab.training.classifier import Classifier
from ghostlab.training.run import run

QUICK = [
    *("model=timm", "model.name=test_resnet", "data.image_size=8", "data.val_fraction=0.8", "data.workers=0"),
    *("trainer.accelerator=cpu", "strategy=kd+ema+cosine"),
]
FEATURE = ["strategy.kd.kind=feature", "strategy.kd.teacher=t.pth", "strategy.kd.teacher_model=test_efficientnet"]


@pytest.fixture(autouse=True)
def a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(create_model("test_efficientnet", num_classes=10).state_dict(), "t.pth")


def saved() -> tuple[Path, dict]:
    [last] = Path("outputs").rglob("last.ckpt")
    return last.parents[1], torch.load(last, weights_only=True)


def test_projections_are_trained_and_saved_apart_from_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: dict[str, torch.Tensor] = {}

    def start(self: Classifier) -> None:
        begun.update({f"companions.{key}": value.clone() for key, value in self.companions.state_dict().items()})

    monkeypatch.setattr(Classifier, "on_train_start", start)
    result = run(compose([*QUICK, *FEATURE, "strategy.kd.stages=[1,-1]", "trainer.max_epochs=1"]))
    folder, checkpoint = saved()
    assert all(key.startswith("model.") for key in checkpoint["state_dict"])
    assert list(checkpoint["state_dict_companions"]) == ["companions.kd.0.weight", "companions.kd.1.weight"]
    assert all(not torch.equal(begun[key], value) for key, value in checkpoint["state_dict_companions"].items())
    assert not [key for key in checkpoint["state_dict_ema"] if "companion" in key]
    model, _ = open_run(folder)
    assert sum(p.numel() for p in model.parameters()) == result["params_train"]
    rows = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"ce", "kd_stage1", "kd_stage-1"} <= set(rows)


def test_a_resumed_run_goes_on_with_its_projections(monkeypatch: pytest.MonkeyPatch) -> None:
    job = [*QUICK, *FEATURE, "trainer.max_epochs=2"]
    run(compose([*job, "outputs=outputs/whole"]))
    whole = saved()[1]

    from ghostlab.training.checkpoints import Checkpoints

    original = Checkpoints.on_train_epoch_end

    def stop_after_the_first(self: Checkpoints, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
        original(self, trainer, pl_module)
        raise KeyError("killed")

    monkeypatch.setattr(Checkpoints, "on_train_epoch_end", stop_after_the_first)
    with pytest.raises(RunError, match="killed"):
        run(compose([*job, "outputs=other"]))
    monkeypatch.setattr(Checkpoints, "on_train_epoch_end", original)
    run(compose([*job, "outputs=other"]))
    [last] = Path("other").rglob("last.ckpt")
    resumed = torch.load(last, weights_only=True)
    for part in ("state_dict", "state_dict_companions", "state_dict_ema"):
        assert all(torch.equal(resumed[part][key], whole[part][key]) for key in whole[part]), part
