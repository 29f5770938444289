"""Where figures go besides ``metrics.csv``: they arrive, and what fails there stops no run."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ghostlab.runs import compose, config_hash
from ghostlab.runs.identity import to_plain_dict
from ghostlab.testing.processes import side_by_side
from ghostlab.testing.runs import SmallRuns
from ghostlab.training.run import run
from tests.conftest import Command

TRACKING = '''
import json

from pytorch_lightning.loggers import CSVLogger, Logger


class Lines(Logger):
    """A line of JSON for each call."""

    version = 0

    def __init__(self, folder, name, fails):
        super().__init__()
        self.file, self.name_, self.fails = folder / "lines.jsonl", name, fails
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def name(self):
        return self.name_

    def note(self, what, *values):
        if what in self.fails:
            raise ConnectionError("no server\\nthere")
        with self.file.open("a") as file:
            file.write(json.dumps([what, self.name_, *values]) + "\\n")

    def log_hyperparams(self, params):
        self.note("log_hyperparams", params)

    def log_metrics(self, metrics, step=None):
        self.note("log_metrics", metrics, step)

    def save(self):
        self.note("save")

    def finalize(self, status):
        self.note("finalize", status)


def lines(folder, name, fails=()):
    return Lines(folder, name, fails)


def table(folder, name):
    return CSVLogger(folder, name="", version="")


def nothing(folder, name):
    return print


def broken(folder, name):
    raise OSError("no server")


def bare(path):
    return None
'''
LINES = ["logger=custom", "logger.factory=tracking:lines"]
QUICK = [
    *("model=timm", "model.name=test_resnet", "trainer.max_epochs=2", "trainer.accelerator=cpu"),
    *("data.image_size=8", "data.batch_size=256", "data.val_fraction=0.8"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with the module ``tracking``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "tracking.py").write_text(TRACKING, encoding="utf-8")
    yield tmp_path
    sys.modules.pop("tracking", None)


def logged(folder: Path) -> list[list[Any]]:
    [file] = folder.rglob("lines.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def rows(folder: Path) -> list[dict[str, float]]:
    [file] = folder.rglob("metrics.csv")
    found = csv.DictReader(file.read_text().splitlines())
    return [{name: float(value) for name, value in row.items()} for row in found]


def test_settings_epochs_and_the_result_are_logged(folder: Path) -> None:
    result = run(compose([*LINES, *QUICK, "strategy=ema"]))
    calls = [call for call in logged(folder) if call[0] != "save"]
    assert [call[0] for call in calls] == ["log_hyperparams", *["log_metrics"] * 3, "finalize"]
    [place] = folder.rglob("result.json")
    assert {call[1] for call in calls} == {place.parent.relative_to(folder / "outputs").as_posix()}
    settings = calls[0][2]
    assert (settings["strategy"]["ema"]["decay"], settings["data"]["num_classes"]) == (0.9999, 10)
    metrics = [call[2:] for call in calls if call[0] == "log_metrics"]
    assert [step for _, step in metrics] == [1, 2, 2]
    for (found, _), row in zip(metrics[:2], rows(folder), strict=True):
        assert found == pytest.approx(row, rel=1e-5)
    final = metrics[2][0]
    assert (final["result/top1"], final["result/params_deploy"]) == (result["top1"], result["params_deploy"])
    assert {key.removeprefix("result/") for key in final} <= {*result} and "result/model" not in final
    assert calls[-1][2] == "success"


@pytest.mark.parametrize("fails", ["log_hyperparams", "log_metrics", "save", "finalize"])
def test_what_fails_is_said_once_and_stops_nothing(fails: str, call: Command, folder: Path) -> None:
    done = call("train.py", *LINES, *QUICK, f"+logger.options.fails=[{fails}]")
    assert (done.returncode, done.stderr) == (
        0,
        f"logger.factory=tracking:lines: {fails} failed (ConnectionError: no server there); the run goes on, and this"
        " is said once\n",
    )
    assert len(rows(folder)) == 2
    assert {"log_hyperparams", "log_metrics", "save", "finalize"} - {one[0] for one in logged(folder)} == {fails}


def test_a_run_that_fails_is_finished_as_such(folder: Path) -> None:
    with pytest.raises(Exception, match="not finite"):
        run(compose([*LINES, *QUICK, "optimizer.lr=1e30"]))
    assert logged(folder)[-1][::2] == ["finalize", "failed"]


def test_a_logger_of_lightnings_has_a_folder_of_its_own(folder: Path) -> None:
    run(compose(["logger=custom", "logger.factory=tracking:table", *QUICK]))
    [place] = folder.rglob("result.json")
    theirs = (place.parent / "logger" / "metrics.csv").read_text()
    ours = (place.parent / "metrics.csv").read_text()
    assert {*ours.splitlines()[0].split(",")} < {*theirs.splitlines()[0].split(",")}


def test_callbacks_that_log_by_lightning_reach_it(folder: Path) -> None:
    (folder / "watch.py").write_text(
        "from dataclasses import dataclass\n"
        "from pytorch_lightning import Callback\n"
        "from ghostlab.strategies.base import Strategy\n"
        "class Log(Callback):\n"
        "    def on_train_epoch_end(self, trainer, pl_module):\n"
        "        pl_module.log('norm', 3.5)\n"
        "@dataclass\n"
        "class Watch(Strategy):\n"
        "    name = 'watch'\n"
        "    def callbacks(self):\n"
        "        return [Log()]\n"
    )
    run(compose([*LINES, *QUICK, "plugins=[watch]", "strategy=watch"]))
    assert [call[2]["norm"] for call in logged(folder) if call[0] == "log_metrics" and "norm" in call[2]] == [3.5, 3.5]


def test_a_logger_is_no_part_of_a_runs_identity() -> None:
    assert config_hash(compose(LINES)) == config_hash(compose(["logger=tensorboard"])) == config_hash(compose())
    earlier = to_plain_dict(compose())
    del earlier["logger"]
    earlier["trainer"]["tensorboard"] = True
    assert config_hash(earlier) == config_hash(compose())


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["logger=custom"], "logger.factory must be given, as in logger.factory=my_project.tracking:logger"),
        (["logger=custom", "logger.factory=tracking"], "logger.factory=tracking: must be <module>:<function>"),
        (["logger=custom", "logger.factory=trcking:x"], "logger.factory=trcking:x: cannot be imported (Module"),
        (["logger=custom", "logger.factory=tracking:line"], "logger.factory=tracking:line: tracking has no function"),
        (
            ["logger=custom", "logger.factory=tracking:bare"],
            "logger.factory=tracking:bare: it takes no folder; it must",
        ),
        (["logger=custom", "logger.factory=tracking:broken"], "logger.factory=tracking:broken: fails (OSError: no s"),
        (
            ["logger=custom", "logger.factory=tracking:nothing"],
            "logger.factory=tracking:nothing: it returns a builtin_function_or_method, which has no log_hyperparams",
        ),
        ([*LINES, "+logger.options.fials=[]"], "logger.factory=tracking:lines: got an unexpected keyword argument"),
        (["logger.name=wandb"], "logger.name=wandb: no logger 'wandb'; available: custom, none, tensorboard"),
        (["+logger.factory=tracking:lines"], "logger.factory=tracking:lines: logger=none has no use for it"),
        (["logger=tensorbord"], "no logger 'tensorbord'; did you mean 'tensorboard'?"),
        (["logger=null"], "logger=null: logger must be one of custom, none, tensorboard"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(call: Command, overrides: list[str], line: str) -> None:
    done = call("train.py", *overrides, *QUICK)
    assert done.returncode == 2, done.stderr
    assert line in done.stderr and done.stderr.count("\n") == 1
    assert not Path("outputs").exists()


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="tensorboard is installed")
def test_a_missing_extra_is_named(call: Command) -> None:
    done = call("train.py", "logger=tensorboard", *QUICK)
    assert (done.returncode, done.stderr) == (2, "logger=tensorboard: needs `pip install 'ghostlab[tensorboard]'`\n")


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_writes_the_figures(folder: Path) -> None:
    run(compose(["logger=tensorboard", *QUICK]))
    files = [*folder.rglob("tensorboard/events.out.tfevents.*")]
    written = b"".join(file.read_bytes() for file in files)
    assert b"val_loss" in written and b"images_per_second" in written and b"result/top1" in written


def test_of_two_processes_the_first_one_logs(folder: Path) -> None:
    runs = SmallRuns(folder)
    side_by_side([*runs.overrides("baseline", {}, folder / "outputs"), *LINES], folder)
    calls = [call[0] for call in logged(folder) if call[0] != "save"]
    assert calls == ["log_hyperparams", *["log_metrics"] * 3, "finalize"]


def test_runs_of_a_sweep_have_a_logger_each(call: Command, folder: Path) -> None:
    done = call("train.py", "-m", *LINES, *QUICK, "trainer.max_epochs=1", "seed=0,1")
    assert done.returncode == 0, done.stderr
    files = [*folder.rglob("lines.jsonl")]
    assert len(files) == 2 and all((file.parents[1] / "result.json").exists() for file in files)
