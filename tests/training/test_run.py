"""One run from Python: what it writes, what it does when started again, and what stops it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from pytest import param

from ghostlab.config import compose
from ghostlab.errors import RunError, UsageError
from ghostlab.strategies.base import Step, Strategy
from ghostlab.training import build, settings
from ghostlab.training.run import run

QUICK = ["data.image_size=16", "model.width=0.1", "data.workers=0", "trainer.accelerator=cpu", "trainer.max_epochs=2"]


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


def test_a_run_folder_holds_what_the_contract_says() -> None:
    result = run(compose([*QUICK, "strategy=ema+cosine"]))
    folder = folder_of(result)
    assert folder.parts[:4] == ("outputs", "digits", "ghostnetv2", "cosine+ema")
    assert json.loads((folder / "result.json").read_text()) == result
    assert set(result) >= FIELDS
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "config.yaml").exists()
    assert {file.name for file in (folder / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    assert not list(folder.rglob("*tmp*"))


def test_the_metrics_have_a_row_an_epoch_with_every_loss_term() -> None:
    folder = folder_of(run(compose([*QUICK, "strategy=ema+smoothing"])))
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "ce", "val_loss", "top1", "top5", "top1_raw", "top1_ema", "lr", "images_per_second"} <= set(rows[0])


def test_the_averaged_weights_are_the_result_of_a_run_with_ema() -> None:
    result = run(compose([*QUICK, "strategy=ema"]))
    assert result["top1"] == result["top1_ema"]
    saved = torch.load(folder_of(result) / "checkpoints" / "last.ckpt", weights_only=True)
    raw = {key.removeprefix("model."): value for key, value in saved["state_dict"].items()}
    assert list(saved["state_dict_ema"]) == list(raw)
    assert not torch.equal(saved["state_dict_ema"]["conv_stem.weight"], raw["conv_stem.weight"])


def test_a_finished_run_is_not_trained_again_unless_forced(capsys: pytest.CaptureFixture[str]) -> None:
    first = run(compose(QUICK))
    file = folder_of(first) / "result.json"
    written = file.stat().st_mtime_ns
    assert run(compose(QUICK)) == first
    assert "finished already" in capsys.readouterr().out
    assert file.stat().st_mtime_ns == written
    again = run(compose([*QUICK, "force=true"]))
    assert file.stat().st_mtime_ns > written
    assert again["top1"] == first["top1"]
    assert again["loss"] == first["loss"]


def test_the_seed_changes_the_run() -> None:
    assert run(compose(QUICK))["loss"] != run(compose([*QUICK, "seed=1"]))["loss"]


def test_a_folder_with_another_configuration_is_not_touched() -> None:
    folder = folder_of(run(compose(QUICK)))
    config = folder / "config.yaml"
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
    """Adds a term that is NaN from optimizer step 30 on, in the second epoch."""

    name = "nanlater"
    calls: int = 0

    def loss_terms(self, step: Step) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {"late": step.logits.sum() * (float("nan") if self.calls > 30 else 0.0)}


def test_a_nan_loss_names_step_and_term_and_keeps_the_checkpoint_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_strategies", lambda cfg: [NanLater()])
    with pytest.raises(RunError, match=r"loss term 'loss, late' is not finite at step 30"):
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
        param(["trainer.precision=bf16-mixed", "trainer.channels_last=true"], id="bf16-channels-last"),
        param(["trainer.precision=bf16-true"], id="bf16-weights"),
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
