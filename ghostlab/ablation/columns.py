"""The columns of the page's table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ghostlab.ablation import formats
from ghostlab.ablation.summary import Line, Section
from ghostlab.ablation.verdicts import REFERENCE, line_mark, line_words

__all__ = ["DIFFERENCE", "Column", "columns", "finished", "ordered", "removes"]

Value = float | str | None
DIFFERENCE = "difference"
RANKS = ("helps", "hurts", "undecided", "too few seeds", "reference", "not compared", "not finished")


@dataclass(frozen=True)
class Column:
    """``value`` sorts a line, ``text`` shows it; ``hint`` explains the title; only ``optional`` ones may be left out."""

    key: str
    title: str
    hint: str
    value: Callable[[Line], Value]
    text: Callable[[Line], str]
    optional: bool = True


def finished(line: Line) -> int:
    """Number of runs of a line that are finished."""
    return sum(run.state == "finished" for run in line.runs)


def columns(section: Section) -> list[Column]:
    """All columns of a section's table after the row's name, less those in which no line has a value."""
    return [
        column
        for column in _all(section)
        if not column.optional or any(column.value(line) is not None for line in section.lines)
    ]


def ordered(section: Section) -> list[tuple[int, Line]]:
    """The lines with their place in the plan: what helps most first, what is not known yet last."""
    sign = 1 if removes(section) else -1

    def key(entry: tuple[int, Line]) -> tuple[bool, float]:
        value = _difference(section, entry[1])
        return (value is None, 0 if value is None else sign * value)

    return sorted(enumerate(section.lines), key=key)


def removes(section: Section) -> bool:
    """Whether the table's rows lack what their comparison is about."""
    effects = [line.effect for line in section.lines if line.effect]
    return bool(effects) and all(effect.removed for effect in effects)


def _difference(section: Section, line: Line) -> float | None:
    """A finished reference is at zero."""
    if line.effect:
        return line.effect.difference.mean if line.effect.difference else None
    return 0.0 if line.top1 is not None and line_mark(section, line) == REFERENCE else None


def _difference_text(line: Line) -> str:
    return formats.difference(line.effect.difference) if line.effect else formats.NONE


def _adjusted(line: Line) -> float | None:
    return line.effect.adjusted if line.effect else None


def _more(line: Line) -> int | None:
    return line.effect.more_seeds if line.effect else None


def _all(section: Section) -> Sequence[Column]:
    against = f"against {section.reference}" if section.reference else "against its reference"
    return (
        Column(
            "top1",
            "top-1 (%)",
            "of the deployed weights: mean ± standard deviation (finished seeds)",
            lambda line: line.top1,
            lambda line: formats.top1(line.top1, line.top1_sd, finished(line)),
            optional=False,
        ),
        Column(
            DIFFERENCE,
            against,
            "difference in points of top-1, with its own 95 % interval",
            lambda line: _difference(section, line),
            _difference_text,
            optional=False,
        ),
        Column(
            "p",
            "p",
            "paired t-test by seed, corrected by Holm's method",
            _adjusted,
            lambda line: formats.probability(_adjusted(line)),
            optional=False,
        ),
        Column(
            "verdict",
            "verdict",
            "",
            lambda line: RANKS.index(line_mark(section, line).word),
            lambda line: line_words(section, line),
            optional=False,
        ),
        Column(
            "more",
            "more seeds",
            "how many would likely settle it; an estimate",
            _more,
            lambda line: formats.more(_more(line)),
        ),
        Column(
            "weights",
            "raw / EMA",
            "top-1 of the trained and of the averaged weights",
            lambda line: line.top1_ema,
            lambda line: f"{formats.top1(line.top1_raw)} / {formats.top1(line.top1_ema)}",
        ),
        Column(
            "time",
            "train time",
            "times the reference's",
            lambda line: line.time_ratio,
            lambda line: formats.times(line.time_ratio),
        ),
        Column(
            "memory",
            "memory",
            "peak in training, times the reference's",
            lambda line: line.memory_ratio,
            lambda line: formats.times(line.memory_ratio),
        ),
        Column(
            "params",
            "params",
            "of the deployed network",
            lambda line: line.params_deploy,
            lambda line: formats.count(line.params_deploy),
        ),
        Column(
            "macs",
            "MACs",
            "of the deployed network, for an image",
            lambda line: line.macs_deploy,
            lambda line: formats.count(line.macs_deploy),
        ),
        Column(
            "latency",
            "latency (ms)",
            "of the deployed network",
            lambda line: line.latency_ms,
            lambda line: formats.NONE if line.latency_ms is None else f"{line.latency_ms:.2f}",
        ),
    )
