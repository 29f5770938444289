"""A study through Hydra, with a formula in the place of training; one through the command."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest import param

from ghostlab.cli.train import hydra_command
from ghostlab.errors import RunError, UsageError
from ghostlab.runs.settings import Settings
from tests.conftest import Command, as_in_a_new_process

pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

TUNE = ("experiment=tune", "model=timm", "model.name=test_resnet")
QUICK = ("data.image_size=8", "data.val_fraction=0.8", "data.batch_size=128")
FEW = ("strategy=baseline", "optimizer.weight_decay=0.01", "hydra.sweeper.n_trials=4")
Task = Callable[[Settings], Any]
Study = Callable[..., list[Settings]]


def near_a_hundredth(settings: Settings) -> float:
    return 90 - abs(math.log10(settings.optimizer.lr) + 2)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """``study("seed=1", task=...)`` does the trials of ``experiment=tune`` and returns their configurations.

    For quickness there are four, of the learning rate alone."""
    monkeypatch.chdir(tmp_path)

    def done(*arguments: str, task: Task = near_a_hundredth) -> list[Settings]:
        trials: list[Settings] = []

        def job(settings: Settings) -> Any:
            trials.append(settings)
            return task(settings)

        with monkeypatch.context() as patch, as_in_a_new_process(patch):
            patch.setenv("HYDRA_FULL_ERROR", "1")
            patch.setattr(sys, "argv", ["train.py"])
            last = {argument.partition("=")[0]: argument for argument in (*TUNE, *FEW, *arguments)}
            hydra_command(job, ["-m", *last.values()])
        return trials

    return done


def results(folder: Path) -> dict[str, Any]:
    [file] = folder.rglob("optimization_results.yaml")
    assert file.parent.parent == folder / "outputs" / "studies"
    return yaml.safe_load(file.read_text())


def test_a_study_says_which_run_is_best(study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = study()
    assert len(trials) == 4
    best = max(trials, key=near_a_hundredth)
    found = results(tmp_path)
    assert found["best_params"] == {"optimizer.lr": best.optimizer.lr}
    assert found["best_value"] == near_a_hundredth(best)
    told = capsys.readouterr().out
    assert f"best of 4 trials: top1 {near_a_hundredth(best):.2f}   {best.folder}" in told
    assert f"once more: python train.py optimizer.lr={best.optimizer.lr} " in told


def test_the_same_command_makes_the_same_trials(study: Study, tmp_path: Path) -> None:
    one, again = study("hydra.sweeper.n_trials=2"), study("hydra.sweeper.n_trials=3")
    assert again[:2] == one
    assert len({trial.optimizer.lr for trial in again}) == 3
    assert results(tmp_path)  # of both: it is one study
    study("hydra.sweeper.n_trials=1", "seed=1")
    assert len(list(tmp_path.rglob("optimization_results.yaml"))) == 2


def test_the_knobs_of_the_file_are_chosen(study: Study) -> None:
    trials = study("strategy=cosine+smoothing", "optimizer.weight_decay=interval(0.1,0.2)", "hydra.sweeper.n_trials=2")
    assert len({trial.config["strategy"]["smoothing"]["amount"] for trial in trials}) == 2
    assert all(0.1 <= trial.optimizer.weight_decay <= 0.2 for trial in trials)


def test_a_trial_has_the_values_of_the_strategies_that_it_joins(study: Study) -> None:
    knobs = ("strategy=baseline,kd", "strategy.kd.alpha=interval(0.2,0.4)", "strategy.kd.teacher=null")
    trials = study("optimizer.lr=0.01", "trainer.clip=null,1.0", "hydra.sweeper.n_trials=6", *knobs)
    joined = [trial.config["strategy"] for trial in trials]
    assert {frozenset(strategies) for strategies in joined} == {frozenset({"baseline"}), frozenset({"kd"})}
    for strategies in joined:
        if "kd" in strategies:
            assert 0.2 <= strategies["kd"]["alpha"] <= 0.4
            assert strategies["kd"]["teacher"] is None
    assert {trial.trainer.clip for trial in trials} == {None, 1.0}


def diverging(settings: Settings) -> float:
    if settings.optimizer.lr > 0.004:
        raise RunError("loss term 'ce' is not finite at step 3")
    return near_a_hundredth(settings)


def test_a_trial_that_fails_has_no_value_and_the_others_go_on(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = study(task=diverging)
    failed = sum(trial.optimizer.lr > 0.004 for trial in trials)
    assert len(trials) == 4 and 0 < failed < 4
    assert results(tmp_path)["best_params"]["optimizer.lr"] <= 0.004
    told = capsys.readouterr()
    assert f"best of 4 trials, of which {failed} failed: top1" in told.out
    assert "not finite at step 3" in told.err


def test_the_first_failure_can_end_a_study(study: Study) -> None:
    with pytest.raises(RunError, match="not finite at step 3"):
        study("optimizer.lr=0.01", "hydra.sweeper.max_failure_rate=0", task=diverging)


def test_a_study_without_any_value_is_an_error_of_one_line(study: Study) -> None:
    with pytest.raises(RunError, match=r"^none of the 2 trials of this study has a value$"):
        study("hydra.sweeper.n_trials=2", "optimizer.lr=0.01,0.02", task=diverging)


def refused(settings: Settings) -> float:
    raise UsageError("data.batch_size=128: more than the 100 training images")


def test_wrong_usage_in_a_trial_ends_the_study(study: Study) -> None:
    with pytest.raises(UsageError, match="more than the 100 training images"):
        study(task=refused)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        param(
            ["strategy=smoothing", "strategy.smoothing.amount=interval(0.1,2)"],
            "strategy.smoothing.amount=2",
            id="end-of-a-range",
        ),
        param(["strategy=ema,kd+repram"], "no strategy 'repram'", id="one-of-a-choice"),
        param(["objective.metric=tradeoff"], "objective.macs=null", id="objective"),
        param(["trainer.devices=2"], "trainer.devices=2: the runs of a sweep have one process each", id="processes"),
        param(["hydra.sweeper.direction=minimize"], "hydra.sweeper.direction=minimize: top-1", id="direction"),
        param(["hydra.sweeper.storage=sqlite:///a.db"], "hydra.sweeper.storage=sqlite:///a.db: must be", id="storage"),
    ],
)
def test_a_mistake_is_found_before_the_first_trial(
    study: Study, tmp_path: Path, overrides: list[str], line: str
) -> None:
    def never(settings: Settings) -> float:
        raise AssertionError("a trial began")

    with pytest.raises(UsageError) as found:
        study(*overrides, task=never)
    assert line in str(found.value)
    assert not list(tmp_path.iterdir())


def test_the_command_trains_and_weighs_each_trial_and_repeats_none(call: Command, tmp_path: Path) -> None:
    short = (*QUICK, "trainer.max_epochs=1", "trainer.accelerator=cpu", "hydra.sweeper.n_trials=2")
    weighed = ("objective.metric=tradeoff", "objective.macs=2e6")
    done = call("train.py", "-m", *TUNE, *short, *weighed)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("result.json"))) == 2
    found = results(tmp_path)
    assert f"best of 2 trials: tradeoff {found['best_value']:.2f}" in done.stdout
    again = call("train.py", "-m", *TUNE, *short, *weighed)
    assert again.stdout.count("finished already") == 2
    assert results(tmp_path) == found
