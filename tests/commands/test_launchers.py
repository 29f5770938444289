"""Sweeps whose runs are trained at the same time, in processes of their own; on a cluster, as far as it composes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import hydra
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from ghostlab.config.compose import CONF, VERSION_BASE
from tests.conftest import Command

QUICK = (
    *("model=timm", "model.name=test_resnet", "data.image_size=16", "data.val_fraction=0.8", "data.batch_size=128"),
    *("trainer.max_epochs=1", "trainer.accelerator=cpu", "data.workers=1"),
)
TAUGHT = (
    *("strategy=kd", "strategy.kd.cache=true", "data.teacher.model=timm"),
    "data.teacher.overrides=['model.name=test_resnet','trainer.max_epochs=1','trainer.accelerator=cpu']",
)


def test_two_runs_at_once_share_a_teacher_and_its_cache(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.delenv("OMP_NUM_THREADS")
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = command("train.py", "-m", *parallel, "seed=0,1", *QUICK, *TAUGHT)
    assert done.returncode == 0, done.stderr
    results = {file: json.loads(file.read_text()) for file in tmp_path.rglob("kd/*/result.json")}
    assert {result["seed"] for result in results.values()} == {0, 1}
    assert len({result["teacher_top1"] for result in results.values()}) == 1
    printed = done.stdout + "".join(file.read_text() for file in tmp_path.rglob("log.txt"))
    assert printed.count("epoch 1/1") == 3  # of one teacher and two students
    assert printed.count("cache     answers to") == 1
    threads = max((os.cpu_count() or 1) // 2, 1)
    assert {result["device"] for result in results.values()} == {f"cpu, {threads} threads"}


def test_submitit_trains_in_a_job_and_keeps_its_logs_below_the_outputs(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    done = command("train.py", "-m", "hydra/launcher=submitit_local", "outputs=kept", "seed=1", *QUICK)
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["seed"] == 1
    assert list((tmp_path / "kept" / ".submitit").glob("*/*_log.out"))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


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
