"""Which row a row is compared with, and what the comparison is about: from the strategies that the rows join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ghostlab.errors import UsageError, unknown
from ghostlab.strategies.registry import canonical_name, join
from ghostlab.studies.plan import Comparison, Plan, Row, Table

__all__ = ["against", "complete_row", "parts", "reference_row", "with_comparison", "with_reference"]


def parts(strategy: str) -> frozenset[str]:
    """The strategies that a canonical name joins, recipes taken apart; none for the baseline."""
    try:
        names = join(strategy)
    except UsageError:  # of another version
        names = tuple(strategy.split("+"))
    return frozenset(names) - {"baseline"}


def reference_row(rows: Sequence[Row]) -> Row:
    """What a table without a plan is compared with.

    The baseline; without one, the row that joins everything if all others lack one strategy of it; else the row with
    most seeds, the first of several.
    """
    baseline = next((row for row in rows if not parts(row.strategy)), None)
    return baseline or complete_row(rows) or max(rows, key=lambda row: len(row.runs))


def complete_row(rows: Sequence[Row]) -> Row | None:
    """The row of which each other row lacks exactly one strategy; None where there is none."""
    largest = max(rows, key=lambda row: len(parts(row.strategy)))
    whole = parts(largest.strategy)
    others = [parts(row.strategy) for row in rows if row is not largest]
    return largest if len(others) > 1 and all(one < whole and len(whole - one) == 1 for one in others) else None


def against(row: Row, reference: Row) -> Comparison:
    """The comparison of two rows: about the strategies that one of them has beyond the other, else about the row."""
    own, theirs = parts(row.strategy), parts(reference.strategy)
    if own < theirs:
        return Comparison(row.name, reference.name, canonical_name(tuple(theirs - own)), removed=True)
    if theirs and theirs < own:
        return Comparison(row.name, reference.name, canonical_name(tuple(own - theirs)))
    return Comparison(row.name, reference.name, row.name)


def with_reference(plan: Plan, name: str) -> Plan:
    """The plan with every row of a table compared with the row ``name``; a table without that row stays as it is.

    Raises ``UsageError`` when no table has it.
    """
    _known("--reference", name, plan)
    return replace(plan, tables=[_compared(table, name) for table in plan.tables])


def with_comparison(plan: Plan, pair: str) -> Plan:
    """The plan with the comparison of row A against row B, ``A:B``, in every table that has both.

    Raises ``UsageError`` for what is no pair of rows of one table.
    """
    row, _, reference = next((found for found in _cuts(pair) if _both(plan, found)), pair.partition(":"))
    if not (row and reference):
        raise UsageError(f"--compare {pair}: two rows, as in --compare cosine:step")
    for name in (row, reference):
        _known("--compare", name, plan)
    if not _both(plan, (row, "", reference)) or row == reference:
        raise UsageError(f"--compare {pair}: two different rows of the same table")
    direct = Comparison(row, reference, row)
    return replace(plan, tables=[_with(table, direct) for table in plan.tables])


def _compared(table: Table, name: str) -> Table:
    reference = next((row for row in table.rows if row.name == name), None)
    if reference is None:
        return table
    return replace(table, comparisons=[against(row, reference) for row in table.rows if row is not reference])


def _with(table: Table, direct: Comparison) -> Table:
    fits = {direct.row, direct.reference} <= {row.name for row in table.rows}
    known = {(one.row, one.reference) for one in table.comparisons}
    new = fits and (direct.row, direct.reference) not in known
    return replace(table, comparisons=[*table.comparisons, direct]) if new else table


def _cuts(pair: str) -> list[tuple[str, str, str]]:
    """A row's own name may hold a colon."""
    return [(pair[:i], ":", pair[i + 1 :]) for i, letter in enumerate(pair) if letter == ":"]


def _both(plan: Plan, found: tuple[str, str, str]) -> bool:
    return any({found[0], found[2]} <= {row.name for row in table.rows} for table in plan.tables)


def _known(option: str, name: str, plan: Plan) -> None:
    names = {row.name for table in plan.tables for row in table.rows}
    if name not in names:
        raise UsageError(f"{option} {name}: {unknown('row', name, names)}")
