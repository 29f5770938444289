"""In a job of Slurm: who says how many processes there are, which signals end a run, what is never loaded unasked."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pytest import param
from pytorch_lightning import Callback
from pytorch_lightning.plugins.environments import LightningEnvironment, SLURMEnvironment

from ghostlab.errors import UsageError
from ghostlab.runs import compose, settings
from ghostlab.runs.processes import check_processes, refuse_several_processes
from ghostlab.runs.run import Run
from ghostlab.slurm import enduring
from ghostlab.strategies.base import Strategy
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.history import History
from ghostlab.training.run import run
from ghostlab.training.trainer import build_trainer

QUICK = [
    *("data.image_size=16", "data.val_fraction=0.9", "data.workers=0", "trainer.accelerator=cpu"),
    *("trainer.max_epochs=2", "model=timm", "model.name=test_resnet"),
]
BATCH = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train.sh", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}
TASK = {**BATCH, "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for key in [key for key in os.environ if key.startswith("SLURM_")]:
        monkeypatch.delenv(key)


def in_slurm(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for key, value in variables.items():
        monkeypatch.setenv(key, value)


def trained(*overrides: str) -> tuple[dict[str, Any], Path]:
    result = run(compose([*QUICK, *overrides]))
    [file] = Path("outputs").rglob("result.json")
    return result, file.parent


@dataclass
class Signalled(Strategy):
    """Sends signals to its own process after the first epoch."""

    name = "signalled"
    signals: tuple[int, ...] = ()

    def callbacks(self) -> list[Callback]:
        signals = self.signals

        class Send(Callback):
            def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
                if trainer.current_epoch == 1:
                    for number in signals:
                        os.kill(os.getpid(), number)

        return [Send()]


def test_a_job_trains_on_until_slurm_ends_it_and_loads_nothing_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh, folder = trained()
    shutil.copyfile(folder / "checkpoints" / "last.ckpt", folder / "hpc_ckpt_1.ckpt")  # as Lightning's own requeue
    in_slurm(monkeypatch, TASK)
    monkeypatch.setattr(settings, "_strategies", lambda cfg: [Signalled((signal.SIGTERM,))])
    before = signal.getsignal(signal.SIGTERM)
    again, _ = trained("force=true")
    assert signal.getsignal(signal.SIGTERM) == before
    assert again["loss"] == fresh["loss"]
    assert again["seconds"] != fresh["seconds"]  # Lightning would have taken both epochs from its file
    assert not list(folder.glob("hpc*"))


@pytest.mark.parametrize(
    ("array", "job"), [({}, "7"), ({"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}, "5_3")]
)
def test_before_its_time_is_over_a_job_is_queued_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, array: dict[str, str], job: str
) -> None:
    in_slurm(monkeypatch, {**TASK, **array})
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:{os.environ['PATH']}")
    before = signal.getsignal(signal.SIGUSR1)
    with enduring():
        os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == before
    assert (tmp_path / "asked").read_text() == f"requeue {job}\n"


def test_elsewhere_a_run_ends_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_strategies", lambda cfg: [Signalled((signal.SIGTERM,))])
    with pytest.raises(KeyboardInterrupt, match="interrupted after 1 epochs; the same command goes on from there"):
        trained()


def test_the_handler_of_another_scheduler_client_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    in_slurm(monkeypatch, TASK)
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with enduring():
            os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        param({}, LightningEnvironment, id="no-job"),
        param(BATCH, LightningEnvironment, id="a-script-without-srun"),
        param({**BATCH, "SLURM_NTASKS": "2"}, LightningEnvironment, id="tasks-that-srun-has-not-started"),
        param(TASK, SLURMEnvironment, id="srun"),
        param({**TASK, "SLURM_JOB_NAME": "bash"}, LightningEnvironment, id="a-terminal"),
    ],
)
def test_lightning_is_told_who_starts_the_processes(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: type
) -> None:
    in_slurm(monkeypatch, variables)
    parsed = settings.parse(compose(QUICK))
    trainer = build_trainer(parsed, History(Path("metrics.csv")), Checkpoints(Run(Path())))
    environment = trainer._accelerator_connector.cluster_environment
    assert type(environment) is expected
    assert not getattr(environment, "auto_requeue", False)


@pytest.mark.parametrize(
    ("devices", "nodes", "tasks", "message"),
    [
        param(1, 1, (1, 1), None, id="one"),
        param(2, 3, (6, 3), None, id="several"),
        param(1, 1, (2, 1), "--ntasks-per-node 2 --nodes 1; use trainer.devices=2 trainer.num_nodes=1", id="too-few"),
        param(2, 1, (1, 1), "--ntasks-per-node 1 --nodes 1; use trainer.devices=1 trainer.num_nodes=1", id="too-many"),
        param(2, 2, (3, 2), "srun: every machine must have the same --ntasks-per-node", id="uneven"),
    ],
)
def test_what_srun_started_must_fit(
    monkeypatch: pytest.MonkeyPatch, devices: int, nodes: int, tasks: tuple[int, int], message: str | None
) -> None:
    started = {"SLURM_STEP_NUM_TASKS": str(tasks[0]), "SLURM_STEP_NUM_NODES": str(tasks[1])}
    in_slurm(monkeypatch, {**TASK, **started})
    trainer = replace(settings.parse(compose(QUICK)).trainer, devices=devices, num_nodes=nodes)
    if message is None:
        check_processes(trainer)
        return
    with pytest.raises(UsageError) as refused:
        check_processes(trainer)
    assert message in str(refused.value)
    monkeypatch.setenv("SLURM_PROCID", "1")
    with pytest.raises(SystemExit) as left:
        check_processes(trainer)
    assert left.value.code == 2


def test_a_sweep_is_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = settings.parse(compose(QUICK)).trainer
    in_slurm(monkeypatch, TASK)  # as a job of submitit
    refuse_several_processes(trainer)
    in_slurm(monkeypatch, {"SLURM_STEP_NUM_TASKS": "2"})
    with pytest.raises(UsageError, match="srun starts one run, not a sweep"):
        refuse_several_processes(trainer)


def test_an_installed_srun_is_nothing_to_warn_of(call: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}:{os.environ['PATH']}")
    done = call("train.py", *QUICK, "trainer.max_epochs=1")
    assert done.returncode == 0
    assert done.stderr == ""
    assert json.loads(next(tmp_path.rglob("result.json")).read_text())["epochs"] == 1
