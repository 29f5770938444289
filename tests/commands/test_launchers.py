"""Sweeps whose runs are trained at the same time, in processes of their own; on a cluster, as far as it composes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from ghostlab.runs.compose import CONF, VERSION_BASE
from tests.conftest import Command

EXPERIMENT = """# @package _global_
defaults:
  - override /model: small
data:
  image_size: 8
  val_fraction: 0.8
  batch_size: 128
  workers: 1
  teacher: {model: small, overrides: [experiment=mine]}
trainer: {max_epochs: 1, accelerator: cpu}
"""
MODEL = """
name: test_resnet
width: null
depth: null
pretrained: false
stem_stride: ${data.stem_stride}
drop_rate: null
drop_path_rate: null
"""
PLACE = "outputs=${oc.env:WHERE}/${hydra:runtime.choices.model}"
"""What only this process's environment and each job's own Hydra know."""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own configuration folder: an experiment that needs a model beside it."""
    folder = tmp_path / "my conf"
    for name, text in (("experiment/mine", EXPERIMENT), ("model/small", MODEL)):
        file = folder / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    monkeypatch.setenv("WHERE", "kept here")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return folder


def results(folder: Path) -> dict[Path, dict[str, Any]]:
    return {file.parent: json.loads(file.read_text()) for file in folder.rglob("result.json")}


def test_two_runs_at_once_share_a_teacher_and_its_cache(
    fresh_command: Command, tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.delenv("OMP_NUM_THREADS")
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"--config-dir={own}", "experiment=mine")
    done = fresh_command("train.py", "-m", *parallel, "seed=0,1", "strategy=kd", "strategy.kd.cache=true", PLACE)
    assert done.returncode == 0, done.stderr
    students = results(tmp_path / "kept here" / "small" / "digits" / "test_resnet" / "kd")
    assert {result["seed"] for result in students.values()} == {0, 1}
    assert len({result["teacher_top1"] for result in students.values()}) == 1
    printed = done.stdout + "".join(file.read_text() for file in tmp_path.rglob("log.txt"))
    assert printed.count("epoch 1/1") == 3  # of one teacher and two students
    assert printed.count("cache     answers to") == 1
    threads = max((os.cpu_count() or 1) // 2, 1)
    assert {result["device"] for result in students.values()} == {f"cpu, {threads} threads"}


def test_submitit_trains_in_a_job_and_keeps_its_logs_below_the_outputs(
    fresh_command: Command, tmp_path: Path, own: Path
) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    searched = f"hydra.searchpath=['file://{own}']"
    done = fresh_command(
        "train.py", "-m", "hydra/launcher=submitit_local", searched, "experiment=mine", "seed=1", PLACE
    )
    assert done.returncode == 0, done.stderr
    [(folder, result)] = results(tmp_path).items()
    assert result["seed"] == 1
    assert folder.is_relative_to(tmp_path / "kept here" / "small" / "digits")
    assert list((tmp_path / "kept here" / "small" / ".submitit").glob("*/*_log.out"))


def test_the_command_for_slurm_composes() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    wanted = {"partition": "gpu", "array_parallelism": 8, "gpus_per_node": 1, "cpus_per_task": 8, "timeout_min": 600}
    overrides = ["hydra/launcher=submitit_slurm", *(f"hydra.launcher.{key}={value}" for key, value in wanted.items())]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        launcher = hydra.compose("config", overrides, return_hydra_config=True).hydra.launcher
    assert launcher._target_.endswith(".SlurmLauncher")
    assert {key: launcher[key] for key in wanted} == wanted
    assert launcher.submitit_folder == "outputs/.submitit/%j"
