"""How a verdict looks: in words, as a sign and in a colour, so that none of them is needed to tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ghostlab.reports.summary import Effect, Interaction, Line, Section

__all__ = ["ALONE", "MARKS", "PENDING", "REFERENCE", "Mark", "line_mark", "line_words", "mark", "rows_words", "words"]


@dataclass(frozen=True)
class Mark:
    """``name`` is the class in the page's CSS and ``--name`` its colour, ``symbol`` Plotly's name of ``sign``."""

    name: str
    word: str
    sign: str
    symbol: str

    @property
    def color(self) -> str:
        """The CSS property with the colour, which depends on light and dark."""
        return f"--{self.name}"


MARKS: Mapping[str, Mark] = {
    "helps": Mark("helps", "helps", "▲", "triangle-up"),
    "hurts": Mark("hurts", "hurts", "▼", "triangle-down"),
    "undecided": Mark("undecided", "undecided", "○", "circle-open"),
    "no seeds": Mark("untested", "one seed", "\N{MULTIPLICATION SIGN}", "x-thin-open"),
    "more together": Mark("helps", "more together", "▲", "triangle-up"),
    "less together": Mark("hurts", "less together", "▼", "triangle-down"),
}
PENDING = Mark("untested", "no seed yet", "…", "x-thin-open")
REFERENCE = Mark("reference", "reference", "◆", "diamond")
ALONE = Mark("untested", "not compared", "·", "circle")


def mark(effect: Effect | Interaction) -> Mark:
    """The mark of a comparison."""
    return MARKS[effect.verdict] if effect.difference else PENDING


def words(effect: Effect) -> str:
    """The verdict as a table says it: ``kd helps``, ``undecided``."""
    found = mark(effect)
    return f"{effect.subject} {found.word}" if effect.verdict in ("helps", "hurts") else found.word


def rows_words(effect: Effect) -> str:
    """The verdict on two rows, of which neither is a strategy alone."""
    return {"helps": "better", "hurts": "worse"}.get(effect.verdict, mark(effect).word)


def line_mark(section: Section, line: Line) -> Mark:
    """The mark of a row: that of its comparison, or what it is without one."""
    if line.effect:
        return mark(line.effect)
    others = {other.effect.reference for other in section.lines if other.effect}
    return REFERENCE if line.name in {section.reference, *others} else ALONE


def line_words(section: Section, line: Line) -> str:
    """The verdict of a row in words."""
    return words(line.effect) if line.effect else line_mark(section, line).word
