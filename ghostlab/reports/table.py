"""What the tables of a report say: their rows, and their columns, declared once for every rendering."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ghostlab.quantities import mean_and_sd, p_value, quantity, ratio, signed
from ghostlab.reports.summary import Effect, Interaction, Line, Section
from ghostlab.statistics.paired import MANY_SEEDS, Difference
from ghostlab.tables import TEXT, UNKNOWN, Column, Rendering, one_line

__all__ = [
    *("NOT_COMPARED", "REFERENCE", "ResultRow", "ResultTable", "by_difference", "comparison_tables"),
    *("difference_text", "finished_seeds", "line_columns", "line_rows", "line_table", "others_note", "outcome"),
    *("removes", "verdict_text"),
]

Kind = Literal["row", "direct", "main", "interaction"]
REFERENCE, NOT_COMPARED = "reference", "not compared"
CSV: tuple[Rendering, ...] = ("csv",)
PAGE: tuple[Rendering, ...] = ("html",)
WITHOUT_PAGE: tuple[Rendering, ...] = ("terminal", "markdown", "card")
WITHOUT_CARD: tuple[Rendering, ...] = ("terminal", "markdown", "html", "csv")


@dataclass(frozen=True)
class ResultRow:
    """A row of the plan with its comparison, or a comparison of another kind; ``place`` is its number among these.

    ``outcome`` is its verdict without what that is about, or what a row is that is not compared.
    """

    section: str
    kind: Kind
    place: int
    name: str
    outcome: str
    verdict: str
    effect: Effect | Interaction | None
    line: Line | None = None

    @property
    def difference(self) -> Difference | None:
        """That of its comparison; a finished reference is at zero."""
        if self.effect:
            return self.effect.difference
        known = self.outcome == REFERENCE and self.line and self.line.top1 is not None
        return Difference(0.0, 0) if known else None


class ResultTable(NamedTuple):
    """Rows of one kind and their columns, of which the first holds the names of the rows."""

    kind: Kind
    title: str
    columns: Sequence[Column[ResultRow]]
    rows: Sequence[ResultRow]


def line_table(section: Section) -> ResultTable:
    """The table of the plan's rows, in its order."""
    seeds = max(finished_seeds(line) for line in section.lines)
    return ResultTable("row", section.title, line_columns(section.reference, seeds), line_rows(section))


def comparison_tables(section: Section) -> list[ResultTable]:
    """The direct comparisons, main effects and interactions of a section, as far as it has any."""
    better = {"helps": "better", "hurts": "worse"}
    direct = [(f"{one.row} against {one.reference}", better.get(outcome(one), outcome(one))) for one in section.direct]
    main = [(one.subject, verdict_text(one)) for one in section.main]
    pairs = [(" with ".join(one.strategies), outcome(one)) for one in section.interactions]
    tables = [
        _comparisons(section, "direct", "Compared directly", direct, section.direct),
        _comparisons(section, "main", "On average over all others", main, section.main),
        _comparisons(section, "interaction", "Together, beyond the sum of both", pairs, section.interactions),
    ]
    return [table for table in tables if table.rows]


def line_rows(section: Section) -> list[ResultRow]:
    """The rows of the plan with their comparisons."""
    references = {section.reference, *(line.effect.reference for line in section.lines if line.effect)}
    rows = []
    for place, line in enumerate(section.lines):
        alone = REFERENCE if line.name in references else NOT_COMPARED
        words = (outcome(line.effect), verdict_text(line.effect)) if line.effect else (alone, alone)
        rows.append(ResultRow(section.title, "row", place, line.name, *words, line.effect, line))
    return rows


def by_difference(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """What helps most first, what is not known yet last."""
    sign = 1 if removes(rows) else -1
    return sorted(rows, key=lambda row: sign * row.difference.mean if row.difference else math.inf)


def removes(rows: Sequence[ResultRow]) -> bool:
    """Whether rows lack what their comparisons are about."""
    effects = [row.effect for row in rows if isinstance(row.effect, Effect)]
    return bool(effects) and all(effect.removed for effect in effects)


def outcome(effect: Effect | Interaction) -> str:
    """A verdict without what it is about: ``helps``, ``more together``, ``undecided``, ``one seed``."""
    untested = "one seed" if effect.difference else "no seed yet"
    return untested if effect.verdict == "no seeds" else effect.verdict


def verdict_text(effect: Effect) -> str:
    """A verdict in words: ``helps``, or ``kd helps`` where the row is not called kd."""
    same = {*effect.subject.split("+")} == {*effect.row.split("+")}  # a row's name is sorted
    named = effect.verdict in ("helps", "hurts") and not same
    return f"{effect.subject} {effect.verdict}" if named else outcome(effect)


def finished_seeds(line: Line) -> int:
    """Number of a line's finished runs."""
    return sum(run.state == "finished" for run in line.runs)


def others_note(section: Section) -> list[str]:
    """That there are other configurations, with the first of them; nothing where there are none."""
    if not section.others:
        return []
    named = ", ".join(section.others[:3]) + (", ..." if len(section.others) > 3 else "")
    runs = f"{len(section.others)} run{'s' * (len(section.others) > 1)}"
    return [f"Not in this table, as their configurations differ otherwise: {runs} ({named})."]


def line_columns(reference: str | None, seeds: int) -> list[Column[ResultRow]]:
    """The columns of a table whose rows are compared with ``reference`` and have ``seeds`` finished runs at most."""
    return [
        Column("table", get=_at("section"), renderings=CSV),
        Column("kind", renderings=CSV),
        Column("name", "strategy", align="left"),
        Column("strategy", get=lambda row: getattr(row.effect, "row", row.name), renderings=CSV),
        Column("joins", get=_at("line.strategy"), renderings=CSV),
        Column("finished", get=lambda row: row.line and finished_seeds(row.line), renderings=CSV),
        Column("runs", get=lambda row: row.line and len(row.line.runs), renderings=CSV),
        Column(
            "top1",
            f"top-1 ({seeds} seed{'s' * (seeds != 1)})",
            _at("line.top1"),
            cell=lambda row: _top1(row.line, seeds),
            explanation="in percent, of the deployed weights: mean ± standard deviation (seeds, where they are others)",
            renderings=(*TEXT, *CSV),
        ),
        *(Column(key, get=_at(f"line.{key}"), renderings=CSV) for key in ("top1_sd", "top1_raw", "top1_ema")),
        *(Column(key, get=_at(f"effect.{path}"), renderings=CSV) for key, path in NAMES_OF_EFFECT.items()),
        *_effect_columns(f"against {one_line(reference or 'reference')}"),
        Column(
            "weights",
            "raw / EMA",
            _at("line.top1_ema"),
            cell=_weights,
            explanation="top-1 of the trained and of the averaged weights",
            rank=5,
            renderings=("terminal", "markdown", "html"),
        ),
        Column("seconds", get=_at("line.seconds"), renderings=CSV),
        _cost("time_ratio", "train time", ratio, "times the reference's", 1),
        _cost("memory_ratio", "memory", ratio, "peak in training, times the reference's", 3),
        _cost("params_deploy", "params", quantity, "of the deployed network", 7),
        _cost("macs_deploy", "MACs", quantity, "of the deployed network, for an image", 8),
        _cost("latency_ms", "latency", "{:.2f} ms".format, "of the deployed network", 6),
    ]


NAMES_OF_EFFECT = {"against": "reference", "subject": "subject", "removed": "removed"}


def _effect_columns(heading: str) -> list[Column[ResultRow]]:
    return [
        Column("difference", heading, _at("effect.difference.mean"), signed, renderings=(*WITHOUT_PAGE, *CSV)),
        Column(
            "difference",
            heading,
            _at("difference.mean"),
            cell=difference_text,
            explanation="difference in points of top-1, with its own 95 % interval",
            renderings=PAGE,
        ),
        Column("interval", "95 % interval", _at("effect.difference.low"), cell=_interval, renderings=WITHOUT_PAGE),
        *(Column(key, get=_at(f"effect.difference.{key}"), renderings=CSV) for key in ("low", "high")),
        Column("pairs", get=_at("effect.difference.seeds"), renderings=CSV),
        Column("p", get=_at("effect.difference.p"), renderings=CSV),
        Column(
            "p_corrected",
            "p corrected",
            _at("effect.adjusted"),
            p_value,
            explanation="paired t-test by seed, corrected by Holm's method",
            rank=2,
            renderings=WITHOUT_CARD,
        ),
        Column(
            "verdict",
            "verdict",
            _at("effect.verdict"),
            cell=lambda row: row.verdict if row.effect else UNKNOWN,
            explanation="what the corrected p says",
            align="left",
            renderings=(*TEXT, *CSV),
        ),
        Column(
            "more_seeds",
            "more seeds",
            _at("effect.more_seeds"),
            lambda more: f"over {MANY_SEEDS - 1}" if more >= MANY_SEEDS else f"about {more}",
            explanation="how many would likely settle it; an estimate",
            rank=4,
            renderings=WITHOUT_CARD,
        ),
    ]


def _cost(key: str, heading: str, show: Callable[[Any], str], explanation: str, rank: int) -> Column[ResultRow]:
    get = _at(f"line.{key}")
    return Column(key, heading, get, show, explanation=explanation, rank=rank, renderings=WITHOUT_CARD)


def _comparisons(
    section: Section,
    kind: Kind,
    title: str,
    words: Sequence[tuple[str, str]],
    effects: Sequence[Effect | Interaction],
) -> ResultTable:
    rows = [
        ResultRow(section.title, kind, place, name, outcome(effect), verdict, effect)
        for place, ((name, verdict), effect) in enumerate(zip(words, effects, strict=True))
    ]
    columns = [
        column for column in _effect_columns("difference") if kind != "interaction" or column.key != "more_seeds"
    ]
    return ResultTable(kind, title, [Column("name", title, align="left"), *columns], rows)


def _at(path: str) -> Callable[[ResultRow], Any]:
    """What lies at a dotted path of a row; None where something on the way has no such part."""

    def found(row: ResultRow) -> Any:
        part: Any = row
        for name in path.split("."):
            part = getattr(part, name, None)
        return part

    return found


def _interval(row: ResultRow) -> str:
    found = row.effect and row.effect.difference
    if not found or found.low is None or found.high is None:
        return UNKNOWN
    return f"[{signed(found.low)}, {signed(found.high)}]"


def difference_text(row: ResultRow) -> str:
    """A mean difference with its interval, as far as these are known."""
    found = row.effect and row.effect.difference
    return f"{signed(found.mean)} {_interval(row)}".removesuffix(f" {UNKNOWN}") if found else UNKNOWN


def _top1(line: Line | None, seeds: int) -> str:
    """With the number of seeds where it is not that of the other lines."""
    if line is None or line.top1 is None:
        return ", ".join(dict.fromkeys(run.state for run in line.runs)) if line else UNKNOWN
    return mean_and_sd(line.top1, line.top1_sd) + (f" ({own})" if (own := finished_seeds(line)) < seeds else "")


def _weights(row: ResultRow) -> str:
    line = row.line
    if line is None or line.top1_raw is None or line.top1_ema is None:
        return UNKNOWN
    return f"{line.top1_raw:.2f} / {line.top1_ema:.2f}"
