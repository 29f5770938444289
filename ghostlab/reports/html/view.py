"""What the page's template needs of a section: its table in order, its groups by verdict, its plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ghostlab.reports.html.columns import PageColumn, columns, ordered, removes
from ghostlab.reports.html.figures.cost import cost
from ghostlab.reports.html.figures.curves import curves, first_shown
from ghostlab.reports.html.figures.forest import effects, interactions, main_effects
from ghostlab.reports.html.figures.style import Figure
from ghostlab.reports.html.verdicts import MARKS, PENDING, REFERENCE, Mark, line_mark
from ghostlab.reports.summary import Line, Section

__all__ = ["SectionView", "states", "view"]


@dataclass(frozen=True)
class SectionView:
    """A section as it is shown; lines come with their place in the plan, by which the page's parts name them."""

    id: str
    section: Section
    columns: Sequence[PageColumn]
    lines: Sequence[tuple[int, Line]]
    groups: Mapping[Mark, Sequence[tuple[int, Line]]]
    forest: Figure | None
    main: Figure | None
    cost: Figure | None
    interactions: Figure | None
    curves: Mapping[str, Figure]
    drawn: Sequence[tuple[int, Line]]
    shown: set[int]

    def mark(self, line: Line) -> Mark:
        """The mark of a line's verdict."""
        return line_mark(self.section, line)

    @property
    def marks(self) -> list[Mark]:
        """The marks in the plot of effects."""
        return [*(kind for kind in self.groups if kind != PENDING), REFERENCE]

    @property
    def removes(self) -> bool:
        """Whether the rows lack what they are about."""
        return removes(self.section)

    @property
    def order(self) -> str:
        """How the table is sorted by its differences at first, as ``aria-sort`` says it."""
        return "ascending" if self.removes else "descending"


def view(section: Section, number: int) -> SectionView:
    """All that is worked out for a section, the ``number``-th of its report."""
    lines = ordered(section)
    plots = {"top1": curves(section, "top1", "top-1 (%)"), "loss": curves(section, "val_loss", "validation loss")}
    return SectionView(
        id=f"s{number + 1}",
        section=section,
        columns=columns(section),
        lines=lines,
        groups=_groups(section, lines),
        forest=effects(section),
        main=main_effects(section),
        cost=cost(section),
        interactions=interactions(section),
        curves={key: plot for key, plot in plots.items() if plot},
        drawn=[(row, line) for row, line in enumerate(section.lines) if any(run.history for run in line.runs)],
        shown=first_shown(section),
    )


def states(line: Line) -> Mapping[str, int]:
    """How many runs of a line are in another state than finished."""
    return Counter(run.state for run in line.runs if run.state != "finished")


def _groups(section: Section, lines: Sequence[tuple[int, Line]]) -> dict[Mark, list[tuple[int, Line]]]:
    """The compared lines by verdict, each group in the order of the table."""
    kinds = [*(MARKS[verdict] for verdict in ("helps", "hurts", "undecided", "no seeds")), PENDING]
    compared = [entry for entry in lines if entry[1].effect]
    groups = {kind: [entry for entry in compared if line_mark(section, entry[1]) == kind] for kind in kinds}
    return {kind: entries for kind, entries in groups.items() if entries}
