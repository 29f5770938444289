"""One run from Python: what it writes, what it does when started again, and what stops it."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from pytest import approx, param

from ghostlab.errors import RunError, UsageError
from ghostlab.runs import compose, settings
from ghostlab.strategies.base import Step, Strategy
from ghostlab.strategies.cosine import cosine_factor
from ghostlab.training import build
from ghostlab.training.run import run

QUICK = [
    *("data.image_size=8", "data.val_fraction=0.8", "data.workers=0", "trainer.accelerator=cpu"),
    *("trainer.max_epochs=2", "model=timm", "model.name=test_efficientnet"),
]
STEPS = 5
"""Of an epoch of 359 images."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def folder_of(result: dict) -> Path:
    [file] = Path("outputs").rglob(f"{result['model']}/**/result.json")
    return file.parent


FIELDS = {
    *("status", "model", "strategy", "data", "seed", "config_hash", "epochs", "top1", "top5", "loss", "top1_raw"),
    *("top1_ema", "params_train", "params_deploy", "macs_deploy", "images_per_second", "seconds", "peak_memory_mb"),
    "versions",
}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of a run of ``QUICK``."""
    outputs = tmp_path_factory.mktemp("first") / "outputs"
    run(compose([*QUICK, f"outputs={outputs}"]))
    return outputs


@pytest.fixture
def finished(first: Path) -> dict:
    """The result of a run of ``QUICK`` that is there already, in a copy of its own."""
    shutil.copytree(first, "outputs")
    return json.loads(next(Path("outputs").rglob("result.json")).read_text())


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """The result and the folder of a run with averaged weights; for looking at only."""
    outputs = tmp_path_factory.mktemp("averaged")
    result = run(compose([*QUICK, "strategy=ema+cosine+smoothing", f"outputs={outputs}"]))
    [file] = outputs.rglob("result.json")
    assert file.relative_to(outputs).parts[:3] == ("digits", "test_efficientnet", "cosine+ema+smoothing")
    return result, file.parent


def test_a_run_folder_holds_what_the_contract_says(averaged: tuple[dict, Path]) -> None:
    result, folder = averaged
    assert json.loads((folder / "result.json").read_text()) == result
    assert set(result) >= FIELDS
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "config.yaml").exists()
    assert {file.name for file in (folder / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert not list(folder.rglob("*tmp*"))


def test_the_metrics_have_a_row_an_epoch_with_every_loss_term(averaged: tuple[dict, Path]) -> None:
    rows = list(csv.DictReader((averaged[1] / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "ce", "val_loss", "top1", "top5", "top1_raw", "top1_ema", "lr", "images_per_second"} <= set(rows[0])


def test_the_learning_rate_of_a_row_is_that_of_the_last_step_of_its_epoch(averaged: tuple[dict, Path]) -> None:
    rows = csv.DictReader((averaged[1] / "metrics.csv").open())
    rates = [1e-3 * cosine_factor(step, 2 * STEPS, warmup=STEPS) for step in (STEPS - 1, 2 * STEPS - 1)]
    assert [float(row["lr"]) for row in rows] == approx(rates, rel=1e-4)


def test_the_averaged_weights_are_the_result_of_a_run_with_ema(averaged: tuple[dict, Path]) -> None:
    result, folder = averaged
    assert result["top1"] == result["top1_ema"]
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    raw = {key.removeprefix("model."): value for key, value in saved["state_dict"].items()}
    assert list(saved["state_dict_ema"]) == list(raw)
    assert not torch.equal(saved["state_dict_ema"]["conv_stem.weight"], raw["conv_stem.weight"])


def test_a_finished_run_is_not_trained_again_unless_forced(finished: dict, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder_of(finished) / "result.json"
    written = file.stat().st_mtime_ns
    assert run(compose(QUICK)) == finished
    assert "finished already" in capsys.readouterr().out
    assert file.stat().st_mtime_ns == written
    again = run(compose([*QUICK, "force=true"]))
    assert file.stat().st_mtime_ns > written
    assert again["top1"] == finished["top1"]
    assert again["loss"] == finished["loss"]


def test_the_seed_changes_the_run(finished: dict) -> None:
    assert run(compose([*QUICK, "seed=1"]))["loss"] != finished["loss"]


def test_a_folder_with_another_configuration_is_not_touched(finished: dict) -> None:
    config = folder_of(finished) / "config.yaml"
    config.write_text(config.read_text().replace("max_epochs: 2", "max_epochs: 3"))
    with pytest.raises(UsageError, match=r"holds another run: trainer.max_epochs=2 here, 3 there"):
        run(compose(QUICK))


def test_a_broken_checkpoint_to_resume_from_is_named() -> None:
    cfg = compose(QUICK)
    checkpoint = settings.parse(cfg).folder / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"PK broken")
    with pytest.raises(RunError, match=r"last.ckpt: cannot be read .*resume=never"):
        run(cfg)
    assert run(compose([*QUICK, "resume=never"]))["status"] == "finished"


@dataclass
class NanLater(Strategy):
    """Adds a term that is NaN from the third step of the second epoch on."""

    name = "nanlater"
    calls: int = 0

    def loss_terms(self, step: Step) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {"late": step.logits.sum() * (float("nan") if self.calls > STEPS + 2 else 0.0)}


def test_a_nan_loss_names_step_and_term_and_keeps_the_checkpoint_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_strategies", lambda cfg: [NanLater()])
    with pytest.raises(RunError, match=rf"loss term 'loss, late' is not finite at step {STEPS + 2};"):
        run(compose(QUICK))
    [last] = Path("outputs").rglob("last.ckpt")
    saved = torch.load(last, weights_only=True)
    assert saved["epoch"] == 0
    assert all(value.isfinite().all() for value in saved["state_dict"].values())
    assert not list(Path("outputs").rglob("result.json"))


@pytest.mark.parametrize(
    "overrides",
    [
        param(["optimizer=sgd", "trainer.clip=1.0", "trainer.accumulate=2"], id="sgd-clip-accumulate"),
        param(["optimizer=rmsprop"], id="rmsprop"),
        param(["optimizer=lamb"], id="lamb"),
        param(
            ["data.image_size=16", "trainer.precision=bf16-mixed", "trainer.channels_last=true"],
            id="bf16-channels-last",
        ),
        param(["data.image_size=16", "trainer.precision=bf16-true"], id="bf16-weights"),
        param(["trainer.grad_checkpointing=true"], id="grad-checkpointing"),
    ],
)
def test_every_way_to_train_learns(overrides: list[str]) -> None:
    folder = folder_of(run(compose([*QUICK, *overrides])))
    first, second = csv.DictReader((folder / "metrics.csv").open())
    assert float(second["loss"]) < float(first["loss"])


def test_no_weight_decay_on_batch_norms_and_biases() -> None:
    parsed = settings.parse(compose([*QUICK, "optimizer.weight_decay=0.3"]))
    data = build.build_data(parsed)
    task = build.build_task(parsed, data)
    model = build.build_model(parsed, task)
    from ghostlab.training.classifier import Classifier

    optimizer = Classifier(model, [], task, parsed.optimizer, seed=0).configure_optimizers()["optimizer"]
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == (parameter.ndim > 1), name
