"""The columns of a report's tables as text, for the screen and for Markdown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ghostlab.quantities import quantity
from ghostlab.reports.summary import Effect, Interaction, Line, Section
from ghostlab.statistics.paired import MANY_SEEDS, Difference

__all__ = [
    "EFFECT_COLUMNS",
    "Column",
    "columns",
    "direct_cells",
    "effect_cells",
    "interaction_cells",
    "one_line",
    "others_line",
    "said",
    "seeds_of",
]

NONE = "-"

EFFECT_COLUMNS = ("difference", "95 % interval", "p corrected", "verdict", "more seeds")


@dataclass(frozen=True)
class Column:
    """``rank`` says what is shown last where there is no room: the highest; 0 is always in the first table."""

    title: str
    cell: Callable[[Line], str]
    rank: int = 0


def columns(section: Section) -> list[Column]:
    """All columns of a section's table after the row's name."""
    most = max(seeds_of(line) for line in section.lines)
    against = f"against {one_line(section.reference or 'reference')}"
    return [
        Column(f"top-1 ({most} seed{'s' * (most != 1)})", lambda line: _top1(line, most)),
        Column(against, lambda line: _effect(line, 0)),
        Column("95 % interval", lambda line: _effect(line, 1)),
        Column("p corrected", lambda line: _effect(line, 2), rank=2),
        Column("verdict", lambda line: _effect(line, 3)),
        Column("more seeds", lambda line: _effect(line, 4), rank=4),
        Column("raw / EMA", _raw_ema, rank=5),
        Column("train time", lambda line: _times(line.time_ratio), rank=1),
        Column("memory", lambda line: _times(line.memory_ratio), rank=3),
        Column("params", lambda line: _quantity(line.params_deploy), rank=7),
        Column("MACs", lambda line: _quantity(line.macs_deploy), rank=8),
        Column("latency", lambda line: NONE if line.latency_ms is None else f"{line.latency_ms:.2f} ms", rank=6),
    ]


def effect_cells(effect: Effect) -> list[str]:
    """A comparison under ``EFFECT_COLUMNS``."""
    more = effect.more_seeds
    return [
        *_difference(effect.difference),
        _p(effect.adjusted),
        said(effect),
        NONE if more is None else f"over {MANY_SEEDS - 1}" if more >= MANY_SEEDS else f"about {more}",
    ]


def direct_cells(effect: Effect) -> list[str]:
    """A comparison of two rows, of which neither is the reference of the table, under ``EFFECT_COLUMNS``."""
    *difference, verdict, more = effect_cells(effect)
    return [*difference, {"helps": "better", "hurts": "worse"}.get(effect.verdict, verdict), more]


def interaction_cells(one: Interaction) -> list[str]:
    """An interaction under ``EFFECT_COLUMNS`` but for the last."""
    verdict = one.verdict if one.verdict != "no seeds" else _too_few(one.difference)
    return [*_difference(one.difference), _p(one.adjusted), verdict]


def said(effect: Effect) -> str:
    """A verdict in words: ``helps``, ``kd helps`` where the row is not called kd, ``undecided``, ``one seed``."""
    if effect.verdict in ("helps", "hurts"):
        return effect.verdict if effect.subject == effect.row else f"{one_line(effect.subject)} {effect.verdict}"
    return effect.verdict if effect.verdict == "undecided" else _too_few(effect.difference)


def others_line(section: Section) -> list[str]:
    """That there are other configurations, with the first of them; nothing where there are none."""
    if not section.others:
        return []
    named = ", ".join(section.others[:3]) + (", ..." if len(section.others) > 3 else "")
    runs = f"{len(section.others)} run{'s' * (len(section.others) > 1)}"
    return [f"Not in this table, as their configurations differ otherwise: {runs} ({named})."]


def seeds_of(line: Line) -> int:
    """Number of a line's finished runs."""
    return sum(run.state == "finished" for run in line.runs)


def one_line(text: str) -> str:
    """Foreign text without line breaks and control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _too_few(difference: Difference | None) -> str:
    return "one seed" if difference else "no seed yet"


def _effect(line: Line, cell: int) -> str:
    return effect_cells(line.effect)[cell] if line.effect else NONE


def _top1(line: Line, most: int) -> str:
    """With the number of seeds where it is not that of the other lines."""
    if line.top1 is None:
        return ", ".join(dict.fromkeys(run.state for run in line.runs))
    spread = "" if line.top1_sd is None else f" ±{line.top1_sd:.2f}"
    return f"{line.top1:.2f}{spread}" + (f" ({seeds_of(line)})" if seeds_of(line) < most else "")


def _difference(found: Difference | None) -> list[str]:
    if found is None:
        return [NONE, NONE]
    known = found.low is not None and found.high is not None
    return [f"{found.mean:+.2f}", f"[{found.low:+.2f}, {found.high:+.2f}]" if known else NONE]


def _p(adjusted: float | None) -> str:
    return NONE if adjusted is None else f"{adjusted:.3f}" if adjusted >= 1e-3 else "<0.001"


def _raw_ema(line: Line) -> str:
    if line.top1_raw is None or line.top1_ema is None:
        return NONE
    return f"{line.top1_raw:.2f} / {line.top1_ema:.2f}"


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f}x"


def _quantity(number: float | None) -> str:
    return NONE if number is None else quantity(number)
