"""One model of a table in every rendering; text from outside is text in each of them."""

from __future__ import annotations

import doctest
import io
import math
from typing import Any

import pytest
from rich.console import Console

from ghostlab import tables
from ghostlab.quantities import mean_and_sd, p_value, ratio, signed
from ghostlab.tables import Column, columns_of, csv_table, known_columns, markdown_table, terminal_table

EVIL = "=1+1|[red]<b>`x`\n\x1b[31m"
COLUMNS: list[Column[dict[str, Any]]] = [
    Column("name", "network", align="left", renderings=("terminal", "csv")),
    Column("top1", "top-1", show="{:.1f}".format, renderings=("terminal", "csv")),
    Column("top1_sd", renderings=("csv",)),
    Column("time", "time", show=ratio, rank=1, renderings=("terminal",)),
]
ROWS = [
    {"name": "a", "top1": 61.44, "top1_sd": 0.123456, "time": None},
    {"name": EVIL, "top1": None, "top1_sd": None, "time": math.nan},
]


def test_the_example_of_the_model_runs() -> None:
    assert doctest.testmod(tables).failed == 0


def test_a_rendering_shows_its_columns_in_their_order() -> None:
    assert [column.key for column in columns_of(COLUMNS, "csv")] == ["name", "top1", "top1_sd"]
    assert [column.key for column in columns_of(COLUMNS, "terminal")] == ["name", "top1", "time"]
    assert not columns_of(COLUMNS, "card")


def test_columns_without_any_value_are_left_out_unless_they_are_of_rank_0() -> None:
    for rows in (ROWS, ROWS[1:]):
        assert [column.key for column in known_columns(COLUMNS, rows)] == ["name", "top1", "top1_sd"]
    assert [column.key for column in known_columns(COLUMNS, [{**ROWS[0], "time": 1.0}])][-1] == "time"


def test_csv_has_full_precision_and_no_formulas() -> None:
    text = csv_table(columns_of(COLUMNS, "csv"), ROWS)
    assert text == "name,top1,top1_sd\na,61.44,0.123456\n'=1+1|[red]<b>`x`  [31m,,\n"


def test_what_is_not_known_is_a_dash_in_text() -> None:
    assert [column.text(ROWS[1]) for column in COLUMNS[1:]] == ["-", "-", "-"]


def test_names_are_text_in_markdown_and_on_the_terminal() -> None:
    shown = columns_of(COLUMNS, "terminal")
    assert r"| =1+1\|\[red\]\<b\>\`x\`  \[31m | - | - |" in markdown_table(shown, ROWS)
    console = Console(file=io.StringIO(), width=80)
    console.print(terminal_table(shown, ROWS, EVIL))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("=1+1|[red]<b>`x`  [31m") == 2
    assert "\x1b" not in printed


def test_a_column_that_a_row_does_not_have_is_an_error() -> None:
    with pytest.raises(KeyError, match="macs"):
        Column("macs").text(ROWS[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (mean_and_sd(61.4, 0.352), "61.40 ±0.35"),
        (mean_and_sd(61.4, None), "61.40"),
        (signed(1.3), "+1.30"),
        (signed(-1.3), "-1.30"),
        (p_value(0.0004), "<0.001"),
        (p_value(0.0416), "0.042"),
        (ratio(1.4), "1.40x"),
    ],
)
def test_numbers_are_written_one_way(text: str, expected: str) -> None:
    assert text == expected
