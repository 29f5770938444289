"""The plots of a report, as data."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go
import pytest

from ghostlab.reports.html.cost import cost_plot
from ghostlab.reports.html.curves import curves_plot, rows_shown_first
from ghostlab.reports.html.forest import effects_plot, interactions_plot, main_effects_plot
from ghostlab.reports.html.style import plot_label, typeset
from ghostlab.reports.summary import RunRecord, Section
from ghostlab.reports.table import ResultRow, by_difference, comparison_tables, line_rows
from tests.reports.reports import complete, effect, line, run, section, typical

TYPICAL = typical().sections[0]


def ordered(one: Section) -> list[ResultRow]:
    return by_difference(line_rows(one))


def comparisons(kind: str) -> Sequence[ResultRow]:
    return next(table.rows for table in comparison_tables(complete().sections[0]) if table.kind == kind)


def black(value: Any) -> Any:
    """The same figure with colours that Plotly knows."""
    if isinstance(value, dict):
        return {key: black(one) for key, one in value.items()}
    if isinstance(value, list):
        return [black(one) for one in value]
    return "#000" if isinstance(value, str) and value.startswith("--") else value


@pytest.mark.parametrize(
    "figure",
    [
        effects_plot(ordered(TYPICAL)),
        main_effects_plot(comparisons("main")),
        interactions_plot(comparisons("interaction")),
        cost_plot(line_rows(TYPICAL)),
        curves_plot(TYPICAL, "top1", "top-1 (%)"),
    ],
    ids=["effects", "main", "interactions", "cost", "curves"],
)
def test_plotly_accepts_the_figure(figure: dict[str, Any]) -> None:
    assert len(go.Figure(black(figure)).data) == len(figure["data"])  # a key that Plotly does not know raises


def test_effects_stand_in_the_order_of_the_table() -> None:
    figure = effects_plot(ordered(TYPICAL))
    assert figure is not None
    assert figure["layout"]["yaxis"]["ticktext"] == ["kd", "reparam", "ema", "baseline", "mixup"]
    places = {row: place for trace in figure["data"] for row, place in zip(trace["meta"], trace["y"], strict=True)}
    assert places == {2: 0, 4: 1, 3: 2, 0: 3, 1: 4}


def test_an_effect_has_its_interval_and_its_verdict() -> None:
    figure = effects_plot(ordered(section([line("baseline"), line("kd", 63, replace_interval())])))
    assert figure is not None
    trace = next(trace for trace in figure["data"] if trace["name"] == "helps")
    assert (trace["x"], trace["marker"]["symbol"], trace["marker"]["color"]) == ([3.0], "triangle-up", "--helps")
    assert (trace["error_x"]["arrayminus"], trace["error_x"]["array"]) == ([1.0], [2.0])


def replace_interval() -> Any:
    found = effect("kd", 3.0, "helps")
    assert found.difference is not None
    return replace(found, difference=replace(found.difference, low=2.0, high=5.0))


def test_without_differences_there_is_no_plot_of_effects() -> None:
    assert effects_plot(ordered(section([line("baseline")]))) is None


def drawn(runs: list[RunRecord], key: str = "top1") -> list[dict[str, Any]]:
    figure = curves_plot(section([line("kd", runs=runs)]), key, "")
    return [] if figure is None else figure["data"]


def test_a_curve_is_the_mean_over_the_finished_seeds() -> None:
    unfinished = replace(run("kd", 2), state="running", history=[{"epoch": 1, "top1": 0.0}])
    *seeds, mean = drawn([run("kd", 0, 60), run("kd", 1, 62), unfinished])
    assert [len(one["x"]) for one in seeds] == [8, 8, 1]
    assert mean["y"][0] == 41
    assert mean["x"] == [*range(1, 9)]
    assert "mean of 2 seeds" in mean["text"]


def test_a_single_seed_is_drawn_once() -> None:
    (only,) = drawn([run("kd", 3)])
    assert "seed 3" in only["text"]


def test_a_mean_goes_as_far_as_all_of_its_seeds() -> None:
    started = [replace(run("kd", seed), state="running") for seed in range(2)]
    started[1] = replace(started[1], history=started[1].history[:3])
    assert drawn(started)[-1]["x"] == [1, 2, 3]


def test_what_is_no_number_is_no_point() -> None:
    history = [{"epoch": 1, "val_loss": 2.0}, {"epoch": 2, "val_loss": math.nan}, {"epoch": 3, "val_loss": math.inf}]
    (only,) = drawn([replace(run("kd", 0), history=history)], "val_loss")
    assert (only["x"], only["y"]) == ([1], [2.0])
    json.dumps(only, allow_nan=False)


def test_runs_without_history_have_no_curves() -> None:
    assert drawn([replace(run("kd", 0), history=())]) == []
    assert drawn([run("kd", 0)], "top1_ema") == []


def test_the_reference_and_the_best_are_drawn_at_first() -> None:
    lines = [line("baseline", 10), *(line(f"kd{i}", 60 + i) for i in range(20))]
    assert rows_shown_first(section(lines)) == {0, *range(14, 21)}


def test_curves_of_the_same_colour_differ_in_their_dashes() -> None:
    figure = curves_plot(section([line(f"kd{i}") for i in range(28)]), "top1", "")
    assert figure is not None
    assert len({(trace["line"]["color"], trace["line"]["dash"]) for trace in figure["data"]}) == 28


def test_the_line_of_the_best_has_what_nothing_faster_equals() -> None:
    lines = [line("a", 60, time=1), line("b", 59, time=1.5), line("c", 62, time=2), line("d", 61, time=3)]
    figure = cost_plot(line_rows(section(lines)))
    assert figure is not None
    steps, points = figure["data"]
    assert list(zip(steps["x"], steps["y"], strict=True)) == [(1, 60), (2, 62), (3, 62)]
    assert points["text"][:2] == ["a", "c"]


def test_cost_is_in_seconds_where_a_ratio_is_not_known() -> None:
    lines = [line("baseline"), replace(line("kd", time=2), time_ratio=None)]
    figure = cost_plot(line_rows(section(lines)))
    assert figure is not None
    assert figure["data"][1]["x"] == [90, 180]
    assert "seconds" in figure["layout"]["xaxis"]["title"]["text"]


def test_one_row_has_no_plot_of_costs() -> None:
    assert cost_plot(line_rows(section([line("baseline")]))) is None


def test_a_label_is_text_and_keeps_both_ends() -> None:
    assert plot_label("<b>&") == "&lt;b&gt;&amp;"
    assert plot_label("kd+reparam+ema+cosine+randaugment") == "kd+reparam+ema+c…ine+randaugment"
    assert len(plot_label("x" * 100)) == 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-0.50 [-1.25, +0.25]", "\N{MINUS SIGN}0.50 [\N{MINUS SIGN}1.25, +0.25]"),
        ("1.40x", "1.40\N{MULTIPLICATION SIGN}"),
        ("61.40 ±0.35 (3)", "61.40 ± 0.35 (3)"),
        ("<0.001", "<0.001"),
        ("-", "-"),
    ],
)
def test_numbers_have_the_signs_of_a_page(text: str, expected: str) -> None:
    assert typeset(text) == expected
