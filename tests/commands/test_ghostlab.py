"""``ghostlab <command>``: a table of contents, and the same commands as the scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ghostlab.cli.guard import guarded
from ghostlab.cli.main import COMMANDS, main
from ghostlab.runs.compose import CONF
from ghostlab.strategies.registry import RECIPES, STRATEGIES
from tests.conftest import ROOT

GHOSTLAB = [sys.executable, "-m", "ghostlab"]


def test_every_script_has_its_command() -> None:
    scripts = {path.stem for path in (ROOT / "tools").glob("*.py")} | {"train"}
    named = {one.module for one in COMMANDS.values()}
    assert scripts - {"distill_cache"} <= named and "teacher_cache" in named


@pytest.mark.parametrize("name", [name for name, one in COMMANDS.items() if one.module != "train"])
def test_each_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    printed = capsys.readouterr().out
    assert ended.value.code == 0
    assert printed.startswith(f"usage: ghostlab {name} ")


@pytest.mark.parametrize(("arguments", "code"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_the_table_of_contents_names_all(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == code
    printed = capsys.readouterr().out
    assert all(f"  {name} " in printed for name in COMMANDS)
    assert max(map(len, printed.splitlines())) <= 80


def test_a_mistyped_command_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fsue"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert printed.err.startswith("no command 'fsue'; did you mean 'fuse'?")


def test_strategies_are_listed_with_their_knobs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["strategies"]) == 0
    printed = capsys.readouterr().out
    listed = [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")]
    assert listed == [*STRATEGIES, *RECIPES]
    for name in STRATEGIES:
        assert main(["strategies", name]) == 0
        knobs = [line.split("=")[0].strip() for line in capsys.readouterr().out.splitlines()[1:]]
        node = yaml.safe_load((CONF / "strategy" / f"{name}.yaml").read_text())[name] or {}
        assert set(knobs) == set(node)


def test_models_are_found_by_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "ghostnetv*"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:3] == ["model=ghostnetv1", "model=ghostnetv2", "model=ghostnetv3"]
    assert "model=timm model.name=ghostnetv3_100" in printed
    assert main(["models", "gostnet"]) == 2
    assert capsys.readouterr().err == "'gostnet': no such model; did you mean 'ghostnetv3'?\n"


def test_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == sorted(path.stem for path in (CONF / "data").glob("*.yaml"))


def test_a_reader_that_has_enough_ends_it_without_a_word() -> None:
    with subprocess.Popen([*GHOSTLAB, "models", "*"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as one:
        assert one.stdout and one.stderr
        one.stdout.close()
        assert one.stderr.read() == b""


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_mistake_is_one_line(command: str, tmp_path: Path) -> None:
    done = subprocess.run([*GHOSTLAB, command, "strategy=kd+repram"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("strategy 'kd+repram': no strategy 'repram'; did you mean 'reparam'?")
    assert done.stderr.count("\n") == 1


def test_a_broken_pipe_to_another_process_is_not_passed_over() -> None:
    def broken() -> None:
        raise BrokenPipeError("of a process that has died")

    with pytest.raises(BrokenPipeError, match="of a process"):
        guarded(broken)
