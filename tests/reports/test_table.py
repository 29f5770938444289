"""The tables on the screen, in Markdown and in CSV; names from folders are text and nothing else."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ghostlab.reports.screen import print_report
from ghostlab.reports.summarize import summarize
from ghostlab.reports.summary import Effect, Interaction, Report
from ghostlab.reports.table import comparison_tables, line_columns, line_table, verdict_text
from ghostlab.reports.write import csv_text, markdown
from ghostlab.statistics.paired import MANY_SEEDS, Difference
from ghostlab.tables import columns_of
from tests.reports.reports import complete, section
from tests.reports.runs import planned

TOP1 = {"baseline": [50.0, 51.0, 52.0], "kd": [60.1, 61.0, 61.9], "ema": [50.4, 50.7, None]}
EFFECT = Effect("kd", "baseline", "kd", False, Difference(1.25, 3, -0.5, 3.0, 0.1), 0.2, "undecided", 7)
EVIL = "=1+1|[red]<b>`x`\n\x1b[31m"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return summarize(planned(tmp_path_factory.mktemp("outputs"), TOP1)[0])


def screen(report: Report, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_report(report, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def named(report: Report, name: str) -> Report:
    """The report with another name for its row kd."""
    [section] = report.sections
    baseline, kd, ema = section.lines
    assert kd.effect is not None
    other = replace(kd, name=name, effect=replace(kd.effect, row=name, subject=name))
    return replace(report, sections=[replace(section, title=name, lines=[baseline, other, ema], others=[name])])


def cells(**comparisons: object) -> list[str]:
    """The only comparison of a section as the terminal shows it, without its name."""
    [found] = comparison_tables(replace(section([]), **comparisons))  # type: ignore[arg-type]
    return [column.text(found.rows[0]) for column in columns_of(found.columns, "terminal")][1:]


def effect_cells(effect: Effect) -> list[str]:
    return cells(main=[effect])


def direct_cells(effect: Effect) -> list[str]:
    return cells(direct=[effect])


def interaction_cells(one: Interaction) -> list[str]:
    return cells(interactions=[one])


def test_a_comparison_in_words() -> None:
    assert effect_cells(EFFECT) == ["+1.25", "[-0.50, +3.00]", "0.200", "undecided", "about 7"]
    settled = replace(EFFECT, adjusted=1e-5, verdict="hurts", more_seeds=None)
    assert effect_cells(settled)[2:] == ["<0.001", "hurts", "-"]
    assert direct_cells(settled)[2:] == ["<0.001", "worse", "-"]
    assert direct_cells(EFFECT) == effect_cells(EFFECT)
    assert verdict_text(replace(settled, row="without kd", removed=True)) == "kd hurts"
    assert verdict_text(replace(settled, row="ema+kd", subject="kd+ema")) == settled.verdict
    assert effect_cells(replace(EFFECT, more_seeds=MANY_SEEDS))[-1] == "over 100"
    one = replace(EFFECT, difference=Difference(1.0, 1), adjusted=None, verdict="no seeds", more_seeds=None)
    assert effect_cells(one) == ["+1.00", "-", "-", "one seed", "-"]
    assert verdict_text(replace(one, difference=None)) == "no seed yet"


def test_an_interaction_in_words() -> None:
    found = Interaction(("kd", "ema"), EFFECT.difference, 0.01, "less together")
    assert interaction_cells(found) == ["+1.25", "[-0.50, +3.00]", "0.010", "less together"]
    assert interaction_cells(replace(found, difference=None, adjusted=None, verdict="no seeds"))[-1] == "no seed yet"


def heads(shown: str) -> list[str]:
    """The titles of the first table's columns, which have two lines."""
    lines = shown.splitlines()
    at = next(i for i, line in enumerate(lines) if "strategy" in line)
    return [*lines[at - 1].split(), *lines[at].split()]


def test_the_screen_shows_what_is_known(report: Report) -> None:
    shown = screen(report, 200)
    assert shown.splitlines()[0].split() == ["digits", "ghostnetv2"]
    [kd] = [line for line in shown.splitlines() if line.strip().startswith("kd")]
    assert kd.split()[1:3] == ["61.00", "±0.90"]
    assert "helps" in kd
    assert "1.00x" in kd
    assert "50.55 ±0.21 (2)" in shown
    assert "Missing: ema, seed 2." in shown
    assert "latency" not in heads(shown)  # nothing is measured
    assert "Holm" in shown


@pytest.mark.parametrize("width", [200, 120, 80])
def test_the_question_is_answered_at_any_width(report: Report, width: int) -> None:
    shown = screen(report, width)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    assert ("MACs" in heads(shown)) == (width > 80)
    assert ("digits  ghostnetv2, more" in shown) == (width <= 80)
    for title in ("corrected", "seeds", "memory", "params", "MACs"):  # what does not fit beside it is below
        assert shown.split().count(title) >= 1, title
    assert {"top-1", "(3", "against", "baseline", "95", "interval", "verdict", "train"} <= {*heads(shown)}
    assert "helps" in shown


def test_markdown_says_what_was_tested_and_how_to_repeat_it(report: Report) -> None:
    text = markdown(report)
    assert "`python train.py -m`" in text
    assert "Paired t-test over seeds" in text
    assert "Holm's method for 2 comparisons" in text
    [kd] = [line for line in text.splitlines() if line.startswith("| kd")]
    heads = next(line for line in text.splitlines() if line.startswith("| strategy"))
    assert kd.count("|") == heads.count("|") == 14
    assert "| helps |" in kd
    assert "- Missing: ema, seed 2." in text


def test_csv_has_full_precision(report: Report) -> None:
    rows = {row["strategy"]: row for row in csv.DictReader(io.StringIO(csv_text(report)))}
    assert list(rows) == ["baseline", "kd", "ema"]
    kd = report.sections[0].lines[1]
    assert kd.effect is not None and kd.effect.difference is not None
    assert float(rows["kd"]["p_corrected"]) == kd.effect.adjusted
    assert float(rows["kd"]["low"]) == kd.effect.difference.low
    assert (rows["kd"]["verdict"], rows["kd"]["against"], rows["kd"]["finished"]) == ("helps", "baseline", "3")
    assert (rows["kd"]["subject"], rows["kd"]["removed"]) == ("kd", "False")
    assert (rows["ema"]["finished"], rows["ema"]["runs"], rows["ema"]["latency_ms"]) == ("2", "3", "")
    assert rows["baseline"]["verdict"] == ""


def test_direct_comparisons_and_factors_are_shown(tmp_path: Path) -> None:
    folder, _ = planned(tmp_path, TOP1 | {"ema+kd": [70.0, 71.5, 72.0]}, kind="factorial")
    found = summarize(folder, compare=["kd:ema"])
    shown, text = screen(found, 160), markdown(found)
    for told in (shown, text):
        assert "kd against ema" in told
        assert "kd with ema" in told
    rows = {(row["kind"], row["strategy"]): row for row in csv.DictReader(io.StringIO(csv_text(found)))}
    assert [kind for kind, _ in rows] == ["row"] * 4 + ["direct"] + ["main"] * 2 + ["interaction"]
    assert rows["direct", "kd"]["against"] == "ema"
    assert float(rows["interaction", "kd with ema"]["difference"]) == found.sections[0].interactions[0].difference.mean
    assert "on average over all others" in shown
    assert "| On average over all others |" in text


def test_names_are_text_on_the_screen(report: Report) -> None:
    shown = screen(named(report, EVIL), 250)
    assert "=1+1|[red]<b>`x`  [31m" in shown
    assert "\x1b" not in shown


def test_names_are_text_in_markdown(report: Report) -> None:
    text = markdown(named(report, EVIL))
    assert r"| =1+1\|\[red\]\<b\>\`x\`  \[31m |" in text
    assert not any(line.startswith("\x1b") for line in text.splitlines())


def test_names_are_no_formulas_in_csv(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_text(named(report, EVIL)))))
    assert len(rows) == 3
    assert rows[1]["strategy"] == "'=1+1|[red]<b>`x`  [31m"
    assert rows[1]["subject"] == rows[1]["strategy"]


def test_every_column_of_the_csv_file_has_its_figure() -> None:
    one = complete().sections[0]
    full = replace(one.lines[2], top1_ema=1.0, latency_ms=1.0, effect=replace(EFFECT, adjusted=0.2))
    [row] = line_table(replace(one, lines=[full])).rows
    columns = columns_of(line_columns(None, 0), "csv")
    assert not [column.key for column in columns if column.value(row) is None]
    assert len({column.key for column in columns}) == len(columns) == 27
