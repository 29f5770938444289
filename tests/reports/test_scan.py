"""Tables read off run folders that no plan describes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from filelock import FileLock
from pytest import param

from ghostlab.reports.scan import scan
from ghostlab.runs import compose, config_hash
from ghostlab.runs.command import common_overrides, row_overrides
from ghostlab.runs.identity import to_plain_dict
from ghostlab.studies.plan import Comparison, Table
from tests.reports.runs import config, write_run


def tables(folder: Path) -> list[Table]:
    return list(scan(folder, "").plan.tables)


def names(found: Table) -> list[str]:
    return [row.name for row in found.rows]


def test_runs_that_differ_in_strategy_and_seed_only_are_one_table(tmp_path: Path) -> None:
    for strategy in ("kd", "baseline", "cosine+kd"):
        for seed in (1, 0):
            write_run(tmp_path, strategy, seed, 50.0)
    [found] = tables(tmp_path)
    assert found.title == "digits  ghostnetv2"
    assert names(found) == ["baseline", "kd", "cosine+kd"]
    assert [list(row.runs) for row in found.rows] == [[0, 1]] * 3
    assert (tmp_path / found.rows[1].runs[1] / "result.json").is_file()
    assert found.comparisons == [Comparison("kd", "baseline", "kd"), Comparison("cosine+kd", "baseline", "cosine+kd")]


def test_the_values_in_which_rows_differ_are_a_part_of_their_names(tmp_path: Path) -> None:
    write_run(tmp_path, "baseline", 0, 50.0)
    for tau, alpha in ((1.0, 0.2), (4.0, 0.2), (4.0, 0.4)):
        write_run(tmp_path, "kd+mixup", 0, 50.0, knobs={"kd": {"tau": tau, "cache": True}, "mixup": {"alpha": alpha}})
    write_run(tmp_path, "ema", 0, 50.0, knobs={"ema": {"decay": 0.5}})
    assert names(tables(tmp_path)[0]) == [
        *("baseline", "ema"),
        *("kd+mixup tau=1 alpha=0.2", "kd+mixup tau=4 alpha=0.2", "kd+mixup tau=4 alpha=0.4"),
    ]


def test_values_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for kd, mixup in ((0.5, 0.2), (0.9, 0.4)):
        write_run(tmp_path, "kd+mixup", 0, 50.0, knobs={"kd": {"alpha": kd}, "mixup": {"alpha": mixup}})
    assert names(tables(tmp_path)[0]) == [
        "kd+mixup kd.alpha=0.5 mixup.alpha=0.2",
        "kd+mixup kd.alpha=0.9 mixup.alpha=0.4",
    ]


def test_all_but_one_is_called_after_what_is_missing(tmp_path: Path) -> None:
    for strategy in ("cosine+ema+kd", "cosine+kd", "cosine+ema", "ema+kd"):
        write_run(tmp_path, strategy, 0, 50.0)
    [found] = tables(tmp_path)
    assert names(found) == ["cosine+ema+kd", "without kd", "without ema", "without cosine"]
    assert found.comparisons[0] == Comparison("without kd", "cosine+ema+kd", "kd", removed=True)


def test_other_settings_are_another_table_named_after_them(tmp_path: Path) -> None:
    for epochs in (8, 9):
        for strategy in ("baseline", "kd"):
            write_run(tmp_path, strategy, 0, 50.0, trainer={"max_epochs": epochs, "clip": None})
    write_run(tmp_path, "baseline", 0, 50.0, model="ghostnetv3")
    write_run(tmp_path, "kd", 0, 50.0, model="ghostnetv3")
    assert sorted(found.title for found in tables(tmp_path)) == [
        *("digits  ghostnetv2  max_epochs=8", "digits  ghostnetv2  max_epochs=9", "digits  ghostnetv3"),
    ]


def test_what_is_not_the_identity_of_a_run_makes_no_difference(tmp_path: Path) -> None:
    write_run(tmp_path, "baseline", 0, 50.0, resume="never", force=True)
    write_run(tmp_path, "kd", 0, 50.0, trainer={"tensorboard": True})
    assert [names(found) for found in tables(tmp_path)] == [["baseline", "kd"]]


def test_a_row_alone_is_no_table_but_another_configuration(tmp_path: Path) -> None:
    for strategy in ("baseline", "kd"):
        write_run(tmp_path, strategy, 0, 50.0)
    alone = write_run(tmp_path, "kd", 0, 50.0, optimizer={"lr": 1.0})
    found = scan(tmp_path, "")
    assert len(found.plan.tables) == 1
    assert found.others == [alone]


@pytest.mark.parametrize("room", ["teachers", "ablation", "scaling"])
def test_teachers_and_searches_are_no_runs_of_an_ablation(tmp_path: Path, room: str) -> None:
    for strategy in ("baseline", "kd"):
        write_run(tmp_path / room, strategy, 0, 50.0)
    assert not tables(tmp_path)
    assert not scan(tmp_path, "").others


def test_of_two_folders_with_the_same_run_one_counts(tmp_path: Path) -> None:
    for copy in ("a", "b"):
        for strategy in ("baseline", "kd"):
            write_run(tmp_path / copy, strategy, 0, 50.0)
    found = scan(tmp_path, "")
    assert [row.runs[0][0] for row in found.plan.tables[0].rows] == ["a", "a"]
    assert [place[0] for place in found.others] == ["b", "b"]


def test_a_damaged_configuration_is_named(tmp_path: Path) -> None:
    for strategy in ("baseline", "kd"):
        write_run(tmp_path, strategy, 0, 50.0)
    (tmp_path / "digits/broken").mkdir()
    (tmp_path / "digits/broken/config.yaml").write_text("model: [")
    assert scan(tmp_path, "").notes == ["digits/broken/config.yaml: not the configuration of a run, left out"]


@pytest.mark.parametrize(
    "given",
    [
        param(["strategy=kd", "strategy.kd.tau=4", "strategy.kd.stages=[2,-1]"], id="knobs"),
        param(["strategy=ghostnetv3", "data=cifar10", "model=timm", "model.name=test_resnet"], id="timm"),
        param(["optimizer=sgd", "optimizer.lr=1e-5", r"data.root='it\'s here'", "trainer.clip=1"], id="settings"),
        param(["model.width=0.5", "data=imagenet", "data.root=null", "data.crop='null'"], id="words"),
    ],
)
def test_the_command_of_a_run_makes_the_same_run(given: list[str]) -> None:
    wanted = compose(given)
    kept = yaml.safe_load(yaml.safe_dump(to_plain_dict(wanted)))
    again = compose([*common_overrides(kept), *row_overrides(kept)])
    assert config_hash(again) == config_hash(wanted)


def test_a_key_that_the_defaults_do_not_have_is_added() -> None:
    given = config("baseline", trainer={"profiler": "simple", "max_epochs": 3})
    assert common_overrides(given)[2:] == ["trainer.max_epochs=3", "+trainer.profiler=simple"]


def test_a_strategy_of_another_version_is_still_named(tmp_path: Path) -> None:
    place = write_run(tmp_path, "kd", 0, 50.0)
    text = (tmp_path / place / "config.yaml").read_text().replace("kd:", "dropped:")
    (tmp_path / place / "config.yaml").write_text(text)
    write_run(tmp_path, "baseline", 0, 50.0)
    [found] = tables(tmp_path)
    assert [row.overrides for row in found.rows] == [["strategy=baseline"], ["strategy=dropped"]]


def test_a_run_that_is_being_trained_is_found(tmp_path: Path) -> None:
    place = write_run(tmp_path, "kd", 0, None)
    write_run(tmp_path, "baseline", 0, 50.0)
    with FileLock(tmp_path / place / ".lock"):
        assert names(tables(tmp_path)[0]) == ["baseline", "kd"]
