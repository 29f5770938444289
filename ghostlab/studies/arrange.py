"""From the choices of a sweep to the tables of an ablation: which runs there are and which rows they make."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import Any

from ghostlab.errors import UsageError, nearest, unknown
from ghostlab.runs.identity import config_hash, run_folder, strategy_name
from ghostlab.studies.designs import DESIGNS, Variant, parts_of
from ghostlab.studies.jobs import Composer, Job, is_knob, refuse_unused
from ghostlab.studies.plan import Comparison, Row, Table

__all__ = ["AblationConfig", "arrange"]

Choices = Mapping[str, Sequence[str]]


@dataclass
class AblationConfig:
    """``conf/ablation``: ``base``, ``rows`` and ``reference`` belong to some of the designs only; ``compare`` has one
    row or a list of rows for each of its keys."""

    design: str
    base: str = "baseline"
    rows: dict[str, list[str]] | None = None
    reference: str | None = None
    compare: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.design not in (*DESIGNS, "list"):
            raise UsageError(f"ablation.design={self.design}: {unknown('design', self.design, [*DESIGNS, 'list'])}")
        unread = {"base": "baseline"} if self.design == "list" else {"rows": None, "reference": None}
        for key, default in unread.items():
            if (value := getattr(self, key)) != default:
                raise UsageError(f"ablation.{key}={value}: ablation={self.design} has no use for it")


@dataclass(frozen=True)
class _Cell:
    """One run with its place: the row of the variant with the swept knobs ``values``."""

    job: Job
    variant: Variant
    values: tuple[str, ...]


def arrange(given: Choices, wanted: AblationConfig, outputs: Path, composer: Composer) -> tuple[list[Job], list[Table]]:
    """The runs, all rows with one seed before the next so that a part of them says something, and their tables.

    Raises ``UsageError`` for an ablation that cannot be made.
    """
    variants = _variants(given, wanted)
    knobs = {key: values for key, values in given.items() if is_knob(f"{key}=")}
    rest = {key: values for key, values in given.items() if key not in (*knobs, "strategy", "seed")}
    _check(given, wanted, knobs)
    jobs: dict[Path, Job] = {}
    tables = []
    for common in product(*rest.values()):
        cells = list(_cells(common, variants, knobs, given.get("seed", ["seed=0"]), composer))
        jobs |= {cell.job.folder: cell.job for cell in cells}
        tables.append(_table(common, rest, cells, wanted, outputs))
    named = [*chain.from_iterable(knobs.values()), *_own_knobs(variants)]
    refuse_unused(named, [job.overrides for job in jobs.values()])
    return sorted(jobs.values(), key=lambda job: int(job.cfg.seed)), tables


def _variants(given: Choices, wanted: AblationConfig) -> list[Variant]:
    strategies = [override.partition("=")[2] for override in given.get("strategy", ["strategy=baseline"])]
    if wanted.design in DESIGNS:
        return DESIGNS[wanted.design](parts_of(strategies), wanted.base)
    rows = wanted.rows or {value: [f"strategy={value}"] for value in strategies}
    if wanted.rows and "strategy" in given:
        raise UsageError("ablation.rows: the rows say which strategies they join; leave out strategy=")
    if len(rows) < 2:
        raise UsageError("ablation=list: give rows to compare, as in strategy=baseline,kd, or ablation.rows")
    reference = wanted.reference or next(iter(rows))
    if reference not in rows:
        raise UsageError(f"ablation.reference={reference}: {unknown('row', reference, rows)}")
    return [
        Variant(name, tuple(overrides), None if name == reference else reference, name)
        for name, overrides in rows.items()
    ]


def _check(given: Choices, wanted: AblationConfig, knobs: Choices) -> None:
    if len(given.get("outputs", [])) > 1:
        raise UsageError("outputs: the runs of an ablation have one folder")
    swept = [key for key, values in knobs.items() if len(set(values)) > 1]
    if swept and wanted.design in ("leave_one_out", "factorial"):
        raise UsageError(f"{swept[0]}: several values of a strategy need ablation=add_one or ablation=list")


def _cells(
    common: Sequence[str], variants: Sequence[Variant], knobs: Choices, seeds: Sequence[str], composer: Composer
) -> Iterator[_Cell]:
    swept = {value for values in knobs.values() if len(set(values)) > 1 for value in values}
    for variant, values, seed in product(variants, list(product(*knobs.values())), seeds):
        overrides = composer.relevant((*common, *values, *variant.overrides, seed))
        cfg = composer(overrides)
        own = tuple(value for value in overrides if value in swept)
        yield _Cell(Job(overrides, cfg, run_folder(cfg)), variant, own)


def _table(
    common: Sequence[str], rest: Choices, cells: Sequence[_Cell], wanted: AblationConfig, outputs: Path
) -> Table:
    grouped: dict[str, list[_Cell]] = {}
    for cell in cells:
        grouped.setdefault(_name(cell), []).append(cell)
    rows = {name: _row(name, own, common, outputs) for name, own in grouped.items()}
    compared = [found for name, own in grouped.items() if (found := _comparison(name, own[0]))]
    _refuse_equal(rows.values())
    _refuse_several_references(compared, rows)
    direct = [_direct(row, other, rows) for row, given in wanted.compare.items() for other in _listed(given)]
    return Table(_title(common, rest, cells[0].job.cfg), list(common), [*rows.values()], [*compared, *direct])


def _row(name: str, cells: Sequence[_Cell], common: Sequence[str], outputs: Path) -> Row:
    cfg = cells[0].job.cfg
    own = [one for one in cells[0].job.overrides if one not in common and not one.startswith("seed=")]
    for cell in cells:
        if Path(cell.job.cfg.outputs) != outputs:
            raise UsageError(f"outputs={cell.job.cfg.outputs}: the runs of an ablation have one folder, {outputs}")
    runs = {int(cell.job.cfg.seed): cell.job.folder.relative_to(outputs).as_posix() for cell in cells}
    return Row(name, strategy_name(cfg), own, config_hash(cfg), runs)


def _comparison(name: str, cell: _Cell) -> Comparison | None:
    variant = cell.variant
    if variant.reference is None:
        return None
    return Comparison(name, variant.reference, _name(cell, variant.subject), variant.removed)


def _name(cell: _Cell, name: str | None = None) -> str:
    """The variant's, and the values by which it differs from others of it: ``reparam branches=2``."""
    return " ".join([name or cell.variant.name, *(value.rpartition(".")[2] for value in cell.values)])


def _listed(given: Any) -> list[str]:
    return [str(one) for one in given] if isinstance(given, list) else [str(given)]


def _direct(row: str, reference: str, rows: Mapping[str, Row]) -> Comparison:
    for name in (row, reference):
        if name not in rows:
            raise UsageError(f"ablation.compare={{{row}: {reference}}}: no row '{name}'{nearest(name, rows)}")
    return Comparison(row, reference, row)


def _refuse_equal(rows: Iterable[Row]) -> None:
    seen: dict[str, str] = {}
    for row in rows:
        if row.config_hash in seen:
            raise UsageError(f"ablation: the rows '{seen[row.config_hash]}' and '{row.name}' are the same runs")
        seen[row.config_hash] = row.name


def _refuse_several_references(comparisons: Iterable[Comparison], rows: Mapping[str, Row]) -> None:
    for one in comparisons:
        if one.reference not in rows:
            raise UsageError(f"ablation.reference={one.reference}: the reference may not have several values")


def _title(common: Sequence[str], rest: Choices, cfg: Any) -> str:
    """Data and model, and what else differs between the tables."""
    swept = [key for key, values in rest.items() if len(values) > 1 and key not in ("data", "model")]
    named = [shlex.join([override]) for override in common if override.partition("=")[0] in swept]
    width = f" {cfg.model.width}x" if cfg.model.get("width") not in (None, 1.0) else ""
    return "  ".join([cfg.data.name, f"{cfg.model.name}{width}", *named])


def _own_knobs(variants: Iterable[Variant]) -> list[str]:
    return [override for variant in variants for override in variant.overrides if is_knob(override)]
