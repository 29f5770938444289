"""From the choices of a sweep to the tables of an ablation: which runs there are and which rows they make."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, product
from pathlib import Path
from typing import Any

from ghostlab.errors import UsageError, nearest, unknown
from ghostlab.runs.identity import config_hash, run_folder, strategy_name
from ghostlab.strategies.registry import canonical_name, join
from ghostlab.studies.jobs import Composer, Job, is_knob, refuse_unused
from ghostlab.studies.plan import Comparison, Row, Table

__all__ = ["DESIGNS", "AblationConfig", "Variant", "ablated_parts", "plan_ablation"]

LARGEST_FACTORIAL = 10


@dataclass(frozen=True)
class Variant:
    """A combination of strategies; compared with the variant named ``reference`` it says whether ``subject`` helps:
    by adding it, or, where ``removed``, by leaving it out."""

    name: str
    overrides: tuple[str, ...]
    reference: str | None = None
    subject: str = ""
    removed: bool = False


def ablated_parts(values: Sequence[str]) -> list[str]:
    """What is ablated: each of several values of ``strategy=``, or what a single one joins, recipes taken apart.

    A recipe among several values stays one part. Raises ``UsageError`` as ``join`` does, and for a part named twice.
    """
    parts = list(join(values[0])) if len(values) == 1 else [canonical_name(join(value)) for value in values]
    parts = [part for part in dict.fromkeys(parts) if part != "baseline"]
    if not parts:
        raise UsageError("strategy=baseline: an ablation needs strategies, as in strategy=kd,reparam")
    return parts


def add_one(parts: Sequence[str], base: str) -> list[Variant]:
    """``base``, and ``base`` with each part alone."""
    reference = _joined(base)
    variants = [_variant(reference)]
    return variants + [_variant(_joined(base, part), None, reference, part) for part in parts]


def leave_one_out(parts: Sequence[str], base: str) -> list[Variant]:
    """``base`` with all parts, and that without each one."""
    every = _variant(_joined(base, *parts), "all")
    rest = {part: [other for other in parts if other != part] for part in parts}
    return [every] + [
        _variant(_joined(base, *others), f"without {part}", every.name, part, removed=True)
        for part, others in rest.items()
    ]


def factorial(parts: Sequence[str], base: str) -> list[Variant]:
    """``base`` with every subset of the parts, but for those that exclude each other; each against ``base``."""
    if len(parts) > LARGEST_FACTORIAL:
        raise UsageError(f"ablation=factorial: 2^{len(parts)} combinations of {len(parts)} strategies are too many")
    reference = _joined(base)
    found = [_variant(reference)]
    for chosen in (subset for size in range(1, len(parts) + 1) for subset in combinations(parts, size)):
        if _excluded(chosen):
            continue
        name = _joined(base, *chosen)
        found.append(_variant(name, name, reference, "+".join(chosen)))
    return found


DESIGNS: dict[str, Callable[[Sequence[str], str], list[Variant]]] = {
    "add_one": add_one,
    "leave_one_out": leave_one_out,
    "factorial": factorial,
}


def _variant(
    strategy: str, name: str | None = None, reference: str | None = None, subject: str = "", removed: bool = False
) -> Variant:
    return Variant(name or strategy, (f"strategy={strategy}",), reference, subject, removed)


def _joined(*names: str) -> str:
    """One canonical name; a recipe and its parts are the same."""
    given = [name for name in names if name != "baseline"]
    return canonical_name(join("+".join(given))) if given else "baseline"


def _excluded(chosen: Sequence[str]) -> bool:
    """Whether two of them exclude each other: that pair is no mistake of the user, who wants either one."""
    try:
        join("+".join(chosen))
    except UsageError:
        if len(chosen) == 1:
            raise
        return True
    return False


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


def plan_ablation(
    given: Choices, wanted: AblationConfig, outputs: Path, composer: Composer
) -> tuple[list[Job], list[Table]]:
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
    own = [override for variant in variants for override in variant.overrides if is_knob(override)]
    refuse_unused([*chain.from_iterable(knobs.values()), *own], [job.overrides for job in jobs.values()])
    return sorted(jobs.values(), key=lambda job: int(job.cfg.seed)), tables


def _variants(given: Choices, wanted: AblationConfig) -> list[Variant]:
    strategies = [override.partition("=")[2] for override in given.get("strategy", ["strategy=baseline"])]
    if wanted.design in DESIGNS:
        return DESIGNS[wanted.design](ablated_parts(strategies), wanted.base)
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
    for one in compared:
        if one.reference not in rows:
            raise UsageError(f"ablation.reference={one.reference}: the reference may not have several values")
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


def _title(common: Sequence[str], rest: Choices, cfg: Any) -> str:
    """Data and model, and what else differs between the tables."""
    swept = [key for key, values in rest.items() if len(values) > 1 and key not in ("data", "model")]
    named = [shlex.join([override]) for override in common if override.partition("=")[0] in swept]
    width = f" {cfg.model.width}x" if cfg.model.get("width") not in (None, 1.0) else ""
    return "  ".join([cfg.data.name, f"{cfg.model.name}{width}", *named])
