"""What several processes make of one run together; all of it from a single launch."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import random
import socket
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
import torch
from pytest import MonkeyPatch, approx
from torch import Tensor, nn

from ghostlab.data import Batch
from ghostlab.errors import RunError
from ghostlab.models import create_model
from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.training.build import build_data
from ghostlab.training.classifier import Classifier
from ghostlab.training.metrics import LOSS_TERM, REDUCTIONS, LossLog, Mean, evaluate, reduce_figures
from ghostlab.training.run import run
from tests.training.photos import TINY, photos

JOB = ("strategy=ema+smoothing", "data.batch_size=2", "data.on_error=skip", "trainer.max_epochs=2")
WORLD = 3


def work(rank: int, port: int, folder: Path) -> None:
    """One of the processes, as torchrun starts them: two runs, and what only needs processes."""
    torchrun = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": WORLD, "LOCAL_WORLD_SIZE": WORLD}
    torchrun |= {
        "GROUP_WORLD_SIZE": 1,
        "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_RUN_ID": "none",
    }
    os.environ.update({key: str(value) for key, value in torchrun.items()})
    os.chdir(folder)
    with MonkeyPatch.context() as patch:
        seen = watch(patch)
        many = photos(folder / "many", train=9, val=5, broken=3)
        result = run(compose([*many, *JOB, f"trainer.devices={WORLD}", "outputs=many_runs"]))
        found = {**seen, "result": result, "first_bad": refusal(rank), "reduced": figures(rank)}
    lonely = photos(folder / "lonely", train=6, val=2)
    run(compose([*lonely, "data.batch_size=2", f"trainer.devices={WORLD}", "outputs=lonely_runs"]))
    torch.save(found, folder / f"{rank}.pt")


def watch(patch: MonkeyPatch) -> dict[str, Any]:
    """What a process draws first in each epoch, its losses, and its networks before and after they are validated."""
    seen: dict[str, Any] = {"drawn": [], "losses": [], "before": [], "after": []}

    def begin(self: Classifier, original: Any = Classifier.on_train_epoch_start) -> None:
        original(self)
        seen["losses"].append([])
        seen["drawn"].append((torch.rand(()).item(), random.random(), float(np.random.rand())))

    def step(self: Classifier, batch: Batch, index: int, original: Any = Classifier.training_step) -> Any:
        loss = original(self, batch, index)
        if len(batch.targets) > 1:  # a single image is left out
            seen["losses"][-1].append(float(loss.detach()))
        return loss

    def validate(self: Classifier, original: Any = Classifier.on_validation_epoch_start) -> None:
        seen["before"].append(states(self.evaluated))
        original(self)
        seen["after"].append(states(self.evaluated))

    patch.setattr(Classifier, "on_train_epoch_start", begin)
    patch.setattr(Classifier, "training_step", step)
    patch.setattr(Classifier, "on_validation_epoch_start", validate)
    return seen


def states(models: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {f"{name}.{key}": t.clone() for name, model in models.items() for key, t in model.state_dict().items()}


def refusal(rank: int) -> str:
    """What a process is told when a loss of the others was not finite."""
    log = LossLog()
    log.update({"loss": torch.tensor(float("nan") if rank else 1.0)}, step=7)
    with pytest.raises(RunError) as raised:
        log.check()
    return str(raised.value)


def figures(rank: int) -> dict[str, Any]:
    loss = {"loss": Mean(6.0, 3)} | ({"kd": Mean(1.0, 1)} if rank else {})
    own = {"seconds": 1.0 + rank, "images_per_second": 10.0 + rank, "peak_memory_mb": 100.0 * rank, "lr": 0.1}
    made = reduce_figures({**loss, **own, "device": "card", "skipped": {"a.png", f"{rank}.png"}})
    unknown = reduce_figures({"peak_memory_mb": None if rank == 1 else 5.0})
    with pytest.raises(RuntimeError, match="disagree"):
        reduce_figures({"lr": float(rank)})
    return {**made, "unknown": unknown["peak_memory_mb"]}


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("several")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = int(free.getsockname()[1])
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=work, args=(rank, port, folder)) for rank in range(WORLD)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=300)
    assert [process.exitcode for process in processes] == [0] * WORLD
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(WORLD)]


@pytest.fixture
def both(launched: tuple[Path, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    return launched[1]


def one(folder: Path, name: str) -> Path:
    [file] = folder.rglob(name)
    return file


def test_the_processes_draw_different_randomness_in_every_epoch(both: list[dict[str, Any]]) -> None:
    drawn = [number for seen in both for epoch in seen["drawn"] for number in epoch]
    assert len(drawn) == len(set(drawn)) == WORLD * 2 * 3


def test_statistics_are_the_means_of_those_of_all_processes(both: list[dict[str, Any]]) -> None:
    own, merged = [seen["before"][-1] for seen in both], both[0]["after"][-1]
    statistics = [key for key in merged if ".running_" in key]
    assert any(key.startswith("ema.") for key in statistics)
    assert not all(torch.equal(own[0][key], own[1][key]) for key in statistics if key.startswith("ema."))
    for key, value in merged.items():
        values = torch.stack([one[key] for one in own])
        expected = values.mean(0) if key in statistics else values.amax(0)
        torch.testing.assert_close(value, expected, msg=key)


def test_what_is_validated_is_what_is_saved(launched: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, both = launched
    saved = torch.load(one(folder / "many_runs", "last.ckpt"), weights_only=True)
    expected = {f"raw.{key.removeprefix('model.')}": value for key, value in saved["state_dict"].items()}
    expected |= {f"ema.{key}": value for key, value in saved["state_dict_ema"].items()}
    for seen in both:
        assert seen["after"][-1].keys() == expected.keys()
        assert all(torch.equal(seen["after"][-1][key], value) for key, value in expected.items())


@pytest.mark.parametrize("name", ["many", "lonely"])
def test_the_figures_are_those_of_the_saved_weights_on_all_images(
    launched: tuple[Path, list[dict[str, Any]]], name: str
) -> None:
    folder = launched[0]
    saved = torch.load(one(folder / f"{name}_runs", "last.ckpt"), weights_only=True)
    raw = {key.removeprefix("model."): value for key, value in saved["state_dict"].items()}
    model = create_model("test_resnet", num_classes=2)
    model.load_state_dict(saved.get("state_dict_ema", raw))
    data = build_data(parse(compose([*TINY, f"data.root={folder / name}", "data.batch_size=1"])))
    scores = evaluate(model, data.val_dataloader(), 2)
    result = json.loads(one(folder / f"{name}_runs", "result.json").read_text())
    assert (result["top1"], result["loss"]) == (approx(scores["top1"]), approx(scores["val_loss"], rel=1e-5))


def test_the_loss_is_the_mean_over_the_steps_of_all_processes(launched: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, both = launched
    rows = list(csv.DictReader(one(folder / "many_runs", "metrics.csv").open()))
    assert len(rows) == 2
    for row, *losses in zip(rows, *(seen["losses"] for seen in both), strict=True):
        assert float(row["loss"]) == approx(mean(loss for own in losses for loss in own), rel=1e-5)
        assert float(row["loss"]) != approx(mean(losses[0]), rel=1e-5)


def test_the_result_is_that_of_both(both: list[dict[str, Any]]) -> None:
    results = [{key: value for key, value in seen["result"].items() if key != "remarks"} for seen in both]
    assert all(result == results[0] for result in results)
    assert results[0]["skipped_images"] == 3
    assert results[0]["device"] == f"{WORLD} x cpu, {torch.get_num_threads()} threads"


def test_a_loss_that_is_not_finite_in_one_process_stops_all(both: list[dict[str, Any]]) -> None:
    assert len({seen["first_bad"] for seen in both}) == 1
    assert "loss term 'loss' is not finite at step 7" in both[0]["first_bad"]


def test_every_figure_is_reduced_as_it_is_declared(both: list[dict[str, Any]]) -> None:
    expected = {"loss": 2.0, "kd": 1.0, "seconds": 3.0, "images_per_second": 33.0, "peak_memory_mb": 200.0, "lr": 0.1}
    expected |= {"device": "3 x card", "skipped": ["0.png", "1.png", "2.png", "a.png"], "unknown": None}  # type: ignore[dict-item]
    assert [seen["reduced"] for seen in both] == [expected] * WORLD


def test_a_figure_without_a_declaration_is_refused() -> None:
    assert {LOSS_TERM, "lr", "device"} < REDUCTIONS.keys()
    with pytest.raises(KeyError, match="invented"):
        reduce_figures({"invented": 1.0})
