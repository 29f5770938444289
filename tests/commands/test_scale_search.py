"""tools/scale.py search on real runs: planned, trained, reported, gone on with, and refused in one line."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostlab.models import count, create_model
from ghostlab.runs import compose
from tests.conftest import ROOT, Command

TINY = [
    *("model.width=0.25", "data.image_size=16", "data.val_fraction=0.8"),
    *("trainer.max_epochs=1", "trainer.accelerator=cpu"),
]
SEARCH = ["search", "--family", "resnet18", "--step", "1", *TINY]
BY_WIDTH = [*SEARCH, "--solve", "width", "--step", "1.5"]

Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The command in this process: its exit code, stdout and stderr."""
    spec = importlib.util.spec_from_file_location("scale", ROOT / "tools" / "scale.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def scale(*arguments: str) -> tuple[int, str, str]:
        return module.main(list(arguments)), *capsys.readouterr()

    return scale


def test_a_search_compares_runs_at_the_same_macs(command: Command, here: Here, tmp_path: Path) -> None:
    done = command("tools/scale.py", *BY_WIDTH)
    assert done.returncode == 0, done.stderr
    assert "2 candidates and the base, 3 runs: 0 finished, 3 to do" in done.stdout
    [folder] = tmp_path.glob("outputs/scaling/digits/resnet18/2x-*")
    assert {file.name for file in folder.iterdir()} == {"table.md", "table.csv", "search.json", "search.png", "log.txt"}
    results = [json.loads(file.read_text()) for file in tmp_path.glob("outputs/digits/resnet18/baseline/*/result.json")]
    rows = list(csv.DictReader((folder / "table.csv").open()))
    assert sorted(row["kind"] for row in rows) == ["base", "compound", "width"]
    assert sorted(int(row["macs"]) for row in rows) == sorted(result["macs_deploy"] for result in results)
    assert {float(row["top1_mean"]) for row in rows} == {result["top1"] for result in results}
    assert all(abs(float(row["deviation"])) <= 0.1 for row in rows if row["kind"] != "base")

    before = (folder / "table.csv").read_text()
    code, out, _ = here(*BY_WIDTH)
    assert code == 0
    assert "3 runs: 3 finished, 0 to do" in out
    assert "run 1/" not in out
    assert (folder / "table.csv").read_text() == before

    best = json.loads((folder / "search.json").read_text())["best"]
    cfg = compose(best["commands"][0]["command"].split()[2:])
    options = {key: cfg.model[key] for key in ("width", "depth", "stem_stride")}
    model = create_model("resnet18", num_classes=10, **options)
    assert count(model, cfg.data.image_size).macs == best["macs"] == best["commands"][0]["macs"]


def test_a_dry_run_leaves_nothing_behind(here: Here, tmp_path: Path) -> None:
    code, out, _ = here(*SEARCH, "--seeds", "2", "--dry-run")
    assert code == 0
    assert "1 candidates and the base, 4 runs: 0 finished, 4 to do" in out
    assert "Too far from the budget: depth 1x, width 1x, 24 px (+21.5%); depth 2x, width 1x, 16 px (-26.8%)." in out
    assert not list(tmp_path.iterdir())


def test_runs_that_fail_are_named_and_the_exit_code_is_1(here: Here, tmp_path: Path) -> None:
    """A learning rate at which every run diverges."""
    code, out, err = here(*SEARCH, "optimizer=sgd", "optimizer.lr=1e30")
    assert code == 1
    assert "run 2/2  depth 3x, width 1x, 16 px, seed 0: failed: loss term" in out
    assert err.startswith("2 of 2 runs failed; the same command tries them again: [base, 16 px, seed 0] loss term")
    assert err.count("\n") == 1
    [table] = tmp_path.rglob("table.md")
    assert "No candidate has a finished run yet." in table.read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--budget", "0.5x"], "--budget=0.5x: must be how many times the MACs of the base"),
        (
            ["--tolerance", "0.001"],
            "--tolerance=0.001: no candidate has MACs that near to 2x; the nearest, depth 3x, width 1x, 16 px",
        ),
        (["trainer.max_epoch=2"], "trainer.max_epoch: 'trainer' has no key 'max_epoch'; did you mean 'max_epochs'?"),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(
    here: Here, tmp_path: Path, arguments: list[str], line: str
) -> None:
    code, out, err = here(*SEARCH, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(line)
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())
