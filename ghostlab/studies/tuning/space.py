"""What a study chooses from: its overrides, and trials at the ends of their ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Transformer

from ghostlab.errors import UsageError
from ghostlab.studies.jobs import Composer, not_joined

__all__ = ["end_trials", "search_space"]


def search_space(params: Iterable[str], arguments: Iterable[str], composer: Composer | None = None) -> list[str]:
    """The overrides of a study: those of its file and those of the command line, which count more.

    A choice of one value is that value. The value of a strategy that no trial joins is left out when it is the file's,
    and a ``UsageError`` on the command line, as is what cannot be chosen from.
    """
    own = [_settled(argument) for argument in arguments]
    latest = {_key(override): override for override in [*map(_settled, params), *own]}
    given = list(latest.values())
    used = {_key(override) for trial in end_trials(given, composer) for override in trial}
    for override in own:
        if _key(override) not in used:
            raise not_joined(override, "trial of this study")
    return [override for override in given if _key(override) in used]


def end_trials(overrides: Sequence[str], composer: Composer | None = None) -> list[tuple[str, ...]]:
    """Trials with every choice and both ends of every range, for all choices of ``strategy``: one key at a time is
    not at its first value."""
    values = {override.get_key_element(): _ends(override) for override in _parsed(overrides)}
    strategies = [[one] for one in values.pop("strategy", [])] or [[]]
    first = {key: texts[0] for key, texts in values.items()}
    around = [first, *({**first, key: text} for key, texts in values.items() for text in texts[1:])]
    relevant = (composer or Composer()).relevant
    trials = [relevant((*strategy, *trial.values())) for strategy in strategies for trial in around]
    return list(dict.fromkeys(trials))


def _ends(override: Override) -> list[str]:
    key, value = override.get_key_element(), override.value()
    if override.is_interval_sweep():
        return [f"{key}={value.start}", f"{key}={value.end}"]  # type: ignore[union-attr]
    if override.is_sweep_override():
        return [f"{key}={text}" for text in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}"]


def _settled(argument: str) -> str:
    """The override as Optuna can take it: not a choice where there is one value, which may then be a list or null."""
    [override] = _parsed([argument])
    if not override.is_sweep_override() or override.is_interval_sweep() or override.is_range_sweep():
        return argument
    if isinstance(override.value(), Glob):
        raise UsageError(f"{argument}: a study needs a choice, a range or an interval")
    if len(texts := {*override.sweep_string_iterator()}) == 1:
        return f"{override.get_key_element()}={texts.pop()}"
    if any(isinstance(value, list | dict) for value in override.sweep_iterator(transformer=Transformer.identity)):
        raise UsageError(f"{argument}: a study can choose among numbers, names, true, false and null only")
    return argument


def _key(override: str) -> str:
    return override.partition("=")[0]


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(overrides))
