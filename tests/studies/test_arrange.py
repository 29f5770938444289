"""The runs and rows of an ablation, from what a command line says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.studies.ablation import AblationConfig, plan_ablation
from ghostlab.studies.jobs import Composer, Job, sweep_choices
from ghostlab.studies.plan import Comparison, Table


def arranged(*overrides: str, **wanted: Any) -> tuple[list[Job], list[Table]]:
    given = sweep_choices(OverridesParser.create().parse_overrides(list(overrides)))
    return plan_ablation(given, AblationConfig(**wanted), Path("outputs"), Composer())


def test_every_row_has_a_run_of_every_seed_and_a_part_of_them_has_whole_rows() -> None:
    jobs, [table] = arranged("strategy=kd,ema", "seed=0,1", design="add_one")
    assert [row.name for row in table.rows] == ["baseline", "kd", "ema"]
    assert [job.cfg.seed for job in jobs] == [0, 0, 0, 1, 1, 1]
    assert table.rows[1].runs == {0: "digits/ghostnetv2/kd/seed0", 1: "digits/ghostnetv2/kd/seed1"}
    assert table.comparisons == [Comparison("kd", "baseline", "kd"), Comparison("ema", "baseline", "ema")]


def test_a_run_is_what_its_table_its_row_and_its_seed_say() -> None:
    jobs, [table] = arranged("strategy=kd", "trainer.max_epochs=2", "seed=3", design="add_one")
    kd = table.rows[1]
    assert list(jobs[1].overrides) == [*table.overrides, *kd.overrides, "seed=3"]
    assert jobs[1].folder == Path("outputs") / kd.runs[3]
    assert jobs[1].folder.name == f"seed3-{kd.config_hash}"


def test_models_and_other_settings_make_tables_of_their_own() -> None:
    _, tables = arranged(
        *("model=ghostnetv2,mobilenetv1", "optimizer.lr=0.1,0.01", "model.width=0.5", "strategy=kd"), design="add_one"
    )
    assert [table.title for table in tables] == [
        "digits  ghostnetv2 0.5x  optimizer.lr=0.1",
        "digits  ghostnetv2 0.5x  optimizer.lr=0.01",
        "digits  mobilenetv1 0.5x  optimizer.lr=0.1",
        "digits  mobilenetv1 0.5x  optimizer.lr=0.01",
    ]


def test_swept_values_of_a_strategy_make_rows_of_their_own() -> None:
    jobs, [table] = arranged(
        "strategy=kd,ema", "strategy.kd.tau=1,4", "strategy.kd.alpha=0.7", "seed=0", design="add_one"
    )
    assert [row.name for row in table.rows] == ["baseline", "kd tau=1", "kd tau=4", "ema"]
    assert len(jobs) == 4
    assert table.rows[2].overrides == ["strategy.kd.tau=4", "strategy.kd.alpha=0.7", "strategy=kd"]
    assert table.comparisons[1] == Comparison("kd tau=4", "baseline", "kd tau=4")


def test_what_is_left_out_is_the_subject() -> None:
    _, [table] = arranged("strategy=kd+ema", design="leave_one_out")
    assert table.comparisons == [
        Comparison("without kd", "all", "kd", removed=True),
        Comparison("without ema", "all", "ema", removed=True),
    ]


def test_a_list_has_the_rows_that_it_names() -> None:
    rows = {"plain": ["strategy=baseline"], "kd, tau 4": ["strategy=kd", "strategy.kd.tau=4"], "ema": ["strategy=ema"]}
    _, [table] = arranged(
        "seed=0", design="list", rows=rows, reference="plain", compare={"ema": ["plain", "kd, tau 4"]}
    )
    assert [row.name for row in table.rows] == list(rows)
    assert table.rows[1].overrides == rows["kd, tau 4"]
    assert table.comparisons[-2:] == [Comparison("ema", "plain", "ema"), Comparison("ema", "kd, tau 4", "ema")]
    _, [plain] = arranged("strategy=step,cosine", design="list")
    assert plain.comparisons == [Comparison("cosine", "step", "cosine")]


@pytest.mark.parametrize(
    ("overrides", "wanted", "message"),
    [
        param(["strategy=kd"], {"design": "add_two"}, "no design 'add_two'; did you mean 'add_one'?", id="design"),
        param(["strategy=kd,kdd"], {"design": "add_one"}, "no strategy 'kdd'; did you mean 'kd'?", id="strategy"),
        param(["strategy=kd"], {"design": "list"}, "give rows to compare", id="one-row"),
        param(
            ["strategy=kd,ema"],
            {"design": "list", "reference": "kdd"},
            "no row 'kdd'; did you mean 'kd'?",
            id="reference",
        ),
        param(
            ["strategy=kd,ema"],
            {"design": "list", "compare": {"ema": "kdd"}},
            "ablation.compare={ema: kdd}: no row 'kdd'; did you mean 'kd'?",
            id="compare",
        ),
        param(
            ["strategy=kd"],
            {"design": "list", "rows": {"a": ["strategy=kd"], "b": ["strategy=ema"]}},
            "leave out strategy=",
            id="rows-and-strategy",
        ),
        param(
            [],
            {"design": "list", "rows": {"a": ["strategy=kd"], "b": ["strategy=kd", "strategy.kd.tau=1"]}},
            "the rows 'a' and 'b' are the same runs",
            id="equal-rows",
        ),
        param(
            ["strategy=kd+ema", "strategy.kd.tau=1,4"],
            {"design": "factorial"},
            "strategy.kd.tau: several values of a strategy need ablation=add_one or ablation=list",
            id="values",
        ),
        param(
            ["strategy=ema", "strategy.kd.tau=4"], {"design": "add_one"}, "no run of this sweep joins 'kd'", id="unused"
        ),
        param(["strategy=ema", "outputs=a,b"], {"design": "add_one"}, "outputs: the runs of an ablation", id="outputs"),
        param(
            ["strategy=kd,ema", "strategy.kd.tau=1,4"],
            {"design": "list"},
            "ablation.reference=kd: the reference may not have several values",
            id="several-references",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(overrides: list[str], wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        arranged(*overrides, **wanted)
    assert message in str(refused.value)
