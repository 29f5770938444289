"""What a run fails of: one line that keeps its cause, the traceback in ``log.txt``, and nothing of a user's mistake."""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import param
from pytorch_lightning import Callback

from ghostlab.cli.guard import guarded
from ghostlab.cli.train import hydra_command
from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.runs import compose, settings
from ghostlab.runs.run import Run
from ghostlab.strategies.base import Strategy
from ghostlab.training import trainer
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.failures import log_failures
from ghostlab.training.history import History
from ghostlab.training.run import run
from ghostlab.training.trainer import check_machine
from tests.conftest import ROOT, Command

QUICK = (
    *("model=timm", "model.name=test_resnet", "data.image_size=8", "data.val_fraction=0.9", "data.workers=0"),
    *("trainer.max_epochs=1", "trainer.accelerator=cpu"),
)
TRAINER = settings.parse(compose(QUICK)).trainer


def raising(error: BaseException, cause: BaseException | None = None) -> Callable[[], None]:
    def fail() -> None:
        raise error from cause

    return fail


@pytest.mark.parametrize(
    ("fail", "kind", "line"),
    [
        param(raising(KeyError("stem")), RunError, "KeyError: 'stem'", id="of-this-package"),
        param(
            raising(OSError(28, "No space left on device", "x")), RunError, r"\[Errno 28\] No space .* 'x'", id="disk"
        ),
        param(raising(RunError("broken"), ValueError()), RunError, "broken", id="explained"),
        param(raising(RunError("a"), RunError("b")), RunError, None, id="explained-twice"),
        param(raising(RunError("nan")), RunError, None, id="known"),
        param(raising(UsageError("key=3"), ValueError()), UsageError, None, id="a-users-mistake"),
    ],
)
def test_what_is_not_a_users_mistake_leaves_its_traceback(
    tmp_path: Path, fail: Callable[[], None], kind: type[GhostlabError], line: str | None
) -> None:
    with pytest.raises(kind) as raised, log_failures(Run(tmp_path)):
        fail()
    log = tmp_path / "log.txt"
    if line is None:
        assert "log.txt" not in str(raised.value)
        assert not log.exists()
        return
    assert re.fullmatch(f"{line}; details: {re.escape(str(log))}", str(raised.value))
    assert raised.value.__cause__
    text = log.read_text()
    assert "Traceback (most recent call last)" in text
    assert "in fail" in text


def start_where_no_process_can_be_started(outputs: Path, told: Connection) -> None:
    try:
        run(compose([*QUICK, "data.workers=1", f"outputs={outputs}"]))
    except RunError as error:
        told.send(str(error))


def test_the_first_error_is_told_where_cleaning_up_after_it_fails_too(tmp_path: Path) -> None:
    received, sent = multiprocessing.Pipe(duplex=False)
    forked = multiprocessing.get_context("fork")
    daemon = forked.Process(target=start_where_no_process_can_be_started, args=(tmp_path, sent), daemon=True)
    daemon.start()
    assert received.poll(100)
    assert re.match(r"AssertionError: daemonic processes are not allowed to have children; details", received.recv())
    daemon.join()


def test_without_room_for_a_log_there_is_still_the_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^KeyError: 3$"), log_failures(Run(tmp_path / "not there")):
        raise KeyError(3)


@dataclass
class Failing(Strategy):
    """Raises an error in training."""

    name = "failing"
    error: BaseException | None = None

    def callbacks(self) -> list[Callback]:
        error = self.error

        class Fail(Callback):
            def on_train_batch_start(self, *_: Any) -> None:
                assert error
                raise error

        return [Fail()]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        param(
            torch.OutOfMemoryError("CUDA out of memory. Tried"),
            "out of memory: try a smaller data.batch_size",
            id="gpu",
        ),
        param(RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory: try a smaller", id="cpu"),
        param(ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero", id="of-this-package"),
    ],
)
def test_a_run_that_fails_is_one_line_and_a_log(
    call: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, line: str
) -> None:
    monkeypatch.setattr(settings, "_strategies", lambda cfg: [Failing(error)])
    done = call("train.py", *QUICK)
    assert done.returncode == 1
    [log] = tmp_path.rglob("log.txt")
    assert done.stderr.startswith(line)
    assert done.stderr.endswith(f"; details: {log.relative_to(tmp_path)}\n")
    assert done.stderr.count("\n") == 1
    assert f"{type(error).__name__}: {error}" in log.read_text()


def test_an_error_of_the_system_is_one_line(call: Command, tmp_path: Path) -> None:
    (settings.parse(compose(QUICK)).folder / "metrics.csv").mkdir(parents=True)
    done = call("train.py", *QUICK)
    assert done.returncode == 1
    assert re.fullmatch(r"outputs/.*/metrics.csv: cannot be written: .*; details: outputs/.*/log.txt\n", done.stderr)
    assert not list(tmp_path.rglob("result.json"))


@pytest.mark.parametrize("full", [None, "", "1"])
@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_what_a_run_starts_has_the_environment_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str | None, sweep: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py", *sweep, *QUICK])
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if full is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", full)
    seen: list[str | None] = []

    def task(wrong: settings.Settings) -> None:
        seen.append(os.environ.get("HYDRA_FULL_ERROR"))
        raise UsageError("wrong")

    with suppress(GhostlabError):  # with 1 it is handed on
        guarded(lambda: hydra_command(task, list(sweep)))
    assert seen == [full]
    assert os.environ.get("HYDRA_FULL_ERROR") == full


def test_of_several_processes_each_says_one_line(command: Command, tmp_path: Path) -> None:
    done = command("train.py", *QUICK, "trainer.devices=2", "optimizer=sgd", "optimizer.lr=1e30", "data.batch_size=32")
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Initializing distributed")]
    assert lines
    assert all(re.match("loss term .* is not finite|another process of this run has ended", line) for line in lines), (
        lines
    )


@pytest.mark.parametrize(
    "wanted",
    [
        {"accelerator": "tpux"},
        {"accelerator": "tpu"},
        {"accelerator": "cpu", "devices": 0},
        {"accelerator": "cpu", "devices": -3},
        {"accelerator": "cpu", "devices": "two"},
        {"accelerator": "cpu", "devices": "0,0"},
        param({"accelerator": "gpu"}, marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")),
    ],
    ids=lambda wanted: "-".join(map(str, wanted.values())),
)
def test_what_the_machine_has_not_is_named_with_its_cause(wanted: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"^trainer.accelerator={wanted['accelerator']}, trainer.devices=") as refused:
        check_machine(replace(TRAINER, **wanted))
    assert refused.value.__cause__


def test_another_error_of_the_trainer_is_not_told_as_one_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**options: Any) -> None:
        if "max_epochs" in options:  # not where only the machine is looked at
            raise TypeError("unexpected option")

    monkeypatch.setattr(trainer, "Trainer", broken)
    with pytest.raises(TypeError, match="unexpected option"):
        trainer.build_trainer(settings.parse(compose(QUICK)), History(Path("m.csv")), Checkpoints(Run(Path())))


def test_no_error_drops_its_cause() -> None:
    dropped = [file for file in (ROOT / "ghostlab").rglob("*.py") if re.search(r"\bfrom None$", file.read_text(), re.M)]
    assert not dropped
