"""What torchrun started must be what the configuration wants; a sweep has runs of one process only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.runs import compose, processes
from ghostlab.runs.processes import check_processes, refuse_several_processes
from ghostlab.runs.settings import TrainerConfig, parse
from ghostlab.training.run import run

TRAINER = parse(compose(["trainer.accelerator=cpu"])).trainer


def trainer(**values: Any) -> TrainerConfig:
    return replace(TRAINER, **values)


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``torchrun(2, 3)``: this process is one of 2 on each of 3 machines."""

    def started(here: int, machines: int = 1, rank: int = 0, world: int | None = None) -> None:
        values = {"LOCAL_WORLD_SIZE": here, "GROUP_WORLD_SIZE": machines, "RANK": rank, "LOCAL_RANK": rank % here}
        values["WORLD_SIZE"] = here * machines if world is None else world
        for key, value in {**values, "TORCHELASTIC_RUN_ID": "none"}.items():
            monkeypatch.setenv(key, str(value))

    return started


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(processes.time, "sleep", seconds.append)
    return seconds


def test_without_torchrun_lightning_starts_the_processes() -> None:
    check_processes(trainer(devices=4, num_nodes=2))


@pytest.mark.parametrize(
    ("devices", "nodes", "started"),
    [
        param(2, 1, (2, 1), id="one-machine"),
        param(4, 3, (4, 3), id="several-machines"),
        param("2", 1, (2, 1), id="text"),
        param("0,2,3", 1, (3, 1), id="listed"),
        param("5,", 1, (1, 1), id="one-listed"),
        param("auto", 1, (1, 1), id="auto-on-a-cpu"),
    ],
)
def test_what_fits_is_accepted(torchrun: Any, devices: int | str, nodes: int, started: tuple[int, int]) -> None:
    torchrun(*started)
    check_processes(trainer(devices=devices, num_nodes=nodes))


@pytest.mark.parametrize(
    ("devices", "nodes", "started"), [(1, 1, (2, 1)), (2, 1, (2, 2)), (2, 2, (4, 1)), (3, 1, (1, 3))]
)
def test_what_does_not_fit_is_refused_with_the_right_overrides(
    torchrun: Any, devices: int, nodes: int, started: tuple[int, int]
) -> None:
    torchrun(*started)
    with pytest.raises(UsageError) as refused:
        check_processes(trainer(devices=devices, num_nodes=nodes))
    here, machines = started
    assert str(refused.value) == (
        f"trainer.devices={devices} trainer.num_nodes={nodes}: torchrun was started with --nproc-per-node {here}"
        f" --nnodes {machines}; use trainer.devices={here} trainer.num_nodes={machines}"
    )


@pytest.mark.parametrize("devices", ["auto", "-1", -1])
def test_all_devices_are_those_of_the_machine(torchrun: Any, monkeypatch: pytest.MonkeyPatch, devices: Any) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    torchrun(4)
    check_processes(trainer(devices=devices, accelerator="gpu"))
    torchrun(2)
    with pytest.raises(UsageError, match=rf"^trainer\.devices={devices} .*use trainer\.devices=2"):
        check_processes(trainer(devices=devices, accelerator="gpu"))


def test_machines_with_different_numbers_of_processes_are_refused(torchrun: Any) -> None:
    torchrun(1, 2, world=3)
    with pytest.raises(UsageError, match="the same --nproc-per-node"):
        check_processes(trainer(devices=1, num_nodes=2))


@pytest.mark.parametrize(
    ("rank", "waits"), [param(1, True, id="beside-the-first"), param(2, False, id="first-of-another-machine")]
)
def test_the_others_leave_without_a_word(torchrun: Any, slept: list[float], rank: int, waits: bool) -> None:
    torchrun(2, 2, rank=rank)
    with pytest.raises(SystemExit) as left:
        check_processes(trainer(devices=1))
    assert left.value.code == 2
    assert bool(slept) == waits


def test_a_run_checks_before_anything_is_built(torchrun: Any, tmp_path: Any) -> None:
    torchrun(2)
    with pytest.raises(UsageError, match=r"use trainer\.devices=2"):
        run(compose([f"outputs={tmp_path}"]))
    assert not list(tmp_path.iterdir())


def test_one_process_can_be_a_job_of_a_sweep() -> None:
    refuse_several_processes(trainer(devices=1))
    refuse_several_processes(trainer(devices="auto"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        param({"devices": 2}, "trainer.devices=2: the runs of a sweep have one process each", id="devices"),
        param({"devices": "0,1"}, "trainer.devices=0,1: the runs", id="listed"),
        param({"num_nodes": 2}, "trainer.num_nodes=2: the runs", id="machines"),
        param({"devices": "two"}, "trainer.devices=two: must be a number", id="no-number"),
    ],
)
def test_a_job_of_several_processes_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_several_processes(trainer(**values))
    assert str(refused.value).startswith(message)


def test_all_gpus_of_a_machine_are_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=r"^trainer\.devices=auto: "):
        refuse_several_processes(trainer(devices="auto", accelerator="auto"))


def test_a_sweep_under_torchrun_is_refused(torchrun: Any) -> None:
    torchrun(1)
    with pytest.raises(UsageError, match="one run, not a sweep"):
        refuse_several_processes(trainer(devices=1))
    torchrun(2, 2, rank=2)
    with pytest.raises(SystemExit):
        refuse_several_processes(trainer(devices=1))
