"""The canonical table of strategies, and joining: names in, one ordered list out.

Nothing here imports torch, so that a mistyped name is answered at once; of strategies of other packages, only those
that are named are imported. Those of the user's own modules come with ``plugins=[my_project.noise]``.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ghostlab.errors import UsageError, unknown
from ghostlab.modules import imported, version_of

if TYPE_CHECKING:
    from ghostlab.strategies.base import Strategy

__all__ = [
    "RECIPES",
    "STRATEGIES",
    "StrategyEntry",
    "add",
    "canonical_name",
    "join",
    "knobs",
    "load",
    "pass_to_subprocesses",
    "plugged",
    "register_inherited",
    "register_modules",
]

GROUP = "ghostlab.strategies"
"""The group of entry points by which other packages offer strategies."""


@dataclass(frozen=True)
class StrategyEntry:
    """Where a strategy lives, and what it occupies: two strategies with the same ``slot`` exclude each other."""

    location: str
    slot: str | None = None
    plugin: str = ""
    """Of one from outside: where it is from, and its version, such as "my-noise 1.2"."""


# The order of this table is the order in which strategies are applied.
STRATEGIES: dict[str, StrategyEntry] = {
    "baseline": StrategyEntry("ghostlab.strategies.baseline:Baseline"),
    "progressive": StrategyEntry("ghostlab.strategies.progressive:Progressive"),
    "droppath": StrategyEntry("ghostlab.strategies.droppath:DropPath"),
    "reparam": StrategyEntry("ghostlab.strategies.reparam:Reparam"),
    "randaugment": StrategyEntry("ghostlab.strategies.randaugment:RandAugment", slot="augmentation policy"),
    "autoaugment": StrategyEntry("ghostlab.strategies.autoaugment:AutoAugment", slot="augmentation policy"),
    "erasing": StrategyEntry("ghostlab.strategies.erasing:Erasing"),
    "smoothing": StrategyEntry("ghostlab.strategies.smoothing:Smoothing"),
    "mixup": StrategyEntry("ghostlab.strategies.mixup:Mixup"),
    "cutmix": StrategyEntry("ghostlab.strategies.cutmix:CutMix"),
    "kd": StrategyEntry("ghostlab.strategies.kd:KnowledgeDistillation"),
    "cosine": StrategyEntry("ghostlab.strategies.cosine:Cosine", slot="learning-rate schedule"),
    "step": StrategyEntry("ghostlab.strategies.step:StepDecay", slot="learning-rate schedule"),
    "exponential": StrategyEntry("ghostlab.strategies.exponential:Exponential", slot="learning-rate schedule"),
    "ema": StrategyEntry("ghostlab.strategies.ema:Ema"),
}

RECIPES: dict[str, tuple[str, ...]] = {
    "ghostnetv3": ("reparam", "kd", "cosine", "ema", "randaugment", "erasing"),
}
"""Names that stand for several strategies."""


AFTER = {
    "model": "reparam",
    "images": "erasing",
    "targets": "cutmix",
    "loss": "kd",
    "schedule": "exponential",
    "weights": "ema",
}
"""After which strategy those from outside are applied, by their ``stage``."""
BUILT_IN = tuple(STRATEGIES)


def add(name: str, entry: StrategyEntry) -> None:
    """Let ``name`` be known; ``UsageError`` for one that is another strategy's already."""
    if STRATEGIES.setdefault(name, entry) != entry:
        there = STRATEGIES[name].plugin or "this package"
        raise UsageError(f"plug-in {entry.plugin}: a strategy '{name}' is there already, of {there}")


def _add_installed() -> Iterator[UsageError]:
    for point in entry_points(group=GROUP):
        plugin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        try:
            add(point.name, StrategyEntry(point.value, plugin=plugin))
        except UsageError as error:  # said where strategies are named, and not by every import
            yield error


REFUSED = tuple(_add_installed())


def join(text: str) -> tuple[str, ...]:
    """The strategies that a "+"-joined text names, recipes expanded, in the order in which they are applied.

    Raises ``UsageError`` for an unknown name, a name given twice and a pair that excludes each other.
    """
    if REFUSED:
        raise REFUSED[0]
    names: list[str] = []
    for part in text.split("+"):
        if part not in STRATEGIES and part not in RECIPES:
            raise UsageError(f"strategy '{text}': {unknown('strategy', part, [*STRATEGIES, *RECIPES])}")
        for name in RECIPES.get(part, (part,)):
            if name in names:
                raise UsageError(f"strategy '{text}': '{name}' is named twice")
            names.append(name)
    _refuse_exclusive(text, names)
    return tuple(sorted(names, key=_place))


def canonical_name(names: tuple[str, ...]) -> str:
    """The one name of a set of strategies, whatever their order: recipes first recognised, then sorted and joined."""
    rest = set(names)
    parts = []
    for recipe, members in RECIPES.items():
        if rest >= set(members):
            rest -= set(members)
            parts.append(recipe)
    return "+".join(sorted([*parts, *rest]))


def load(name: str) -> type[Strategy]:
    """The class of a strategy; imports its file.

    Raises ``UsageError`` naming the plug-in where one from outside cannot be imported or is no strategy.
    """
    entry = STRATEGIES[name]
    module, _, cls = entry.location.partition(":")
    if not entry.plugin:
        return getattr(importlib.import_module(module), cls)
    try:
        found = getattr(importlib.import_module(module), cls)
    except Exception as error:  # whatever a module from outside may raise
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UsageError(f"plug-in {entry.plugin}: {entry.location} cannot be imported ({cause})") from error
    if wrong := _wrong(found, name):
        raise UsageError(f"plug-in {entry.plugin}: {entry.location} {wrong}")
    return found


def knobs(name: str) -> dict[str, Any]:
    """The knobs of a strategy with their defaults, ``"???"`` for one that has none."""
    found = {}
    for field in fields(load(name)):  # type: ignore[arg-type]
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        found[field.name] = "???" if default is MISSING else default
    return found


def plugged(names: tuple[str, ...]) -> dict[str, str]:
    """Those of ``names`` that are from outside, with their plug-ins and versions."""
    return {name: plugin for name in names if name in STRATEGIES and (plugin := STRATEGIES[name].plugin)}


def _wrong(found: Any, name: str) -> str:
    from ghostlab.strategies.base import Strategy

    if not (isinstance(found, type) and issubclass(found, Strategy)):
        return "is no subclass of ghostlab.strategies.base.Strategy"
    if not is_dataclass(found):
        return "is no dataclass, whose fields would be its knobs"
    if getattr(found, "name", None) != name:
        return f"has the name {getattr(found, 'name', None)!r}, not '{name}'"
    if found.stage not in AFTER:
        return f"has the stage {found.stage!r}; stages are {', '.join(AFTER)}"
    return ""


def _place(name: str) -> tuple[float, str]:
    if name in BUILT_IN:
        return BUILT_IN.index(name), ""
    return BUILT_IN.index(AFTER[load(name).stage]) + 0.5, name


def _refuse_exclusive(text: str, names: list[str]) -> None:
    if "baseline" in names and len(names) > 1:
        raise UsageError(f"strategy '{text}': 'baseline' means no strategy and stands alone")
    taken: dict[str, str] = {}
    for name in names:
        entry = STRATEGIES[name]
        slot = load(name).slot if entry.plugin else entry.slot
        if slot and slot in taken:
            raise UsageError(f"strategy '{text}': '{taken[slot]}' and '{name}' exclude each other, both are a {slot}")
        if slot:
            taken[slot] = name


INHERITED = "GHOSTLAB_PLUGINS"
"""In the environment, modules with strategies."""


def register_modules(modules: Sequence[str]) -> None:
    """Let every strategy that one of ``modules`` defines be known by its name; modules of the working folder count.

    Raises ``UsageError`` for a module that cannot be imported or defines none, and for a name that is taken.
    """
    for name in modules:
        module = imported(name, f"plugins=[{name}]")
        found = [one for one in vars(module).values() if _is_strategy(one) and one.__module__ == module.__name__]
        if not found:
            raise UsageError(f"plugins=[{name}]: no subclass of ghostlab.strategies.base.Strategy is defined there")
        for one in found:
            location = f"{module.__name__}:{one.__qualname__}"
            add(str(getattr(one, "name", "")), StrategyEntry(location, plugin=version_of(module)))


def pass_to_subprocesses() -> None:
    """Let the processes that this one starts know the modules that it knows."""
    known = {entry.location.partition(":")[0] for entry in STRATEGIES.values() if entry.plugin}
    os.environ[INHERITED] = ",".join(sorted(known))


def register_inherited() -> None:
    """``register_modules`` for those that were handed down."""
    register_modules([name for name in os.environ.get(INHERITED, "").split(",") if name])


def _is_strategy(found: object) -> bool:
    from ghostlab.strategies.base import Strategy

    return inspect.isclass(found) and issubclass(found, Strategy)
