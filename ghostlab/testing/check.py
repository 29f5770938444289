"""Checks of a strategy by itself and joined with every other; each raises ``AssertionError`` saying what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from ghostlab.strategies import STRATEGIES, join, load
from ghostlab.strategies.base import Strategy
from ghostlab.strategies.registry import knobs, register_modules
from ghostlab.testing.runs import SmallRuns, check_killed, check_two_processes, groups, joins
from ghostlab.testing.settings import SETTINGS, TASK
from ghostlab.testing.tiny import BATCH, build, load_batch, training_step

__all__ = ["HEADINGS", "check_card", "check_class", "check_config", "check_joined", "check_step", "check_strategy"]

HEADINGS = ("What it does", "When it helps and when it hurts", "Knobs", "Cost", "Functional use", "Reference")
"""Of a method card, in their order."""


def check_strategy(
    strategy: type[Strategy],
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    card: Path | None = None,
) -> None:
    """All checks: about two minutes, with runs in processes of their own whose files are kept below ``folder``.

    ``settings`` are the knobs to try, those that have no default among them. ``strategy`` is one of a module that can
    be imported or of an installed package. Raises ``AssertionError`` in one line, and whatever the strategy raises.
    """
    settings = dict(settings or {})
    plugins = _register(strategy)
    check_class(strategy, settings)
    check_joined(strategy.name, settings)
    if config is not None:
        check_config(strategy.name, config)
    if card is not None:
        check_card(strategy.name, card)
    runs = SmallRuns(folder, plugins=plugins)
    for text, known in groups(strategy.name):
        chosen = {**known, strategy.name: settings}
        check_killed(text, chosen, runs)
        check_two_processes(text, chosen, runs)


def check_class(strategy: type[Strategy], settings: Mapping[str, Any]) -> None:
    """It is found by its name, is made of its settings and says in one line what it does."""
    found = load(strategy.name)
    assert found.__qualname__ == strategy.__qualname__, f"strategy={strategy.name} is {found}, not {strategy}"
    said = strategy(**settings).describe()
    assert said and "\n" not in said, f"describe() of {strategy.name} gives {said!r}, not one line for the run's header"
    plain = yaml.safe_load(yaml.safe_dump({**knobs(strategy.name), **settings}))
    assert plain == {**knobs(strategy.name), **settings}, f"knobs of {strategy.name} are no plain values: {plain}"


def check_joined(name: str, settings: Mapping[str, Any]) -> None:
    """A step of it alone and with every strategy that it does not exclude."""
    for text in (name, *(f"{name}+{other}" for other in STRATEGIES if other not in (name, "baseline"))):
        if joins(text):
            check_step(text, {**SETTINGS, name: settings})


def check_step(text: str, settings: Mapping[str, Mapping[str, Any]], outputs: Path = Path("nowhere")) -> set[str]:
    """One training step of a tiny model: shapes and types, probabilities of mixed targets, finite gradients of all
    parameters, and nothing in it that a GPU would be waited for. Returns the names of the loss terms."""
    strategies = [load(name)(**settings[name]) for name in join(text)]
    model = build(strategies, outputs)
    images = load_batch(strategies)
    assert images.dtype == torch.float32, f"{text}: images are {images.dtype}, not torch.float32"
    step, loss, terms = training_step(strategies, model, images)
    shapes, expected = {tuple(images.shape), tuple(step.images.shape)}, (BATCH, 3, TASK.image_size, TASK.image_size)
    assert shapes == {expected}, f"{text}: images have the shapes {shapes}, not {expected}"
    assert tuple(step.targets.shape) in [(BATCH,), (BATCH, TASK.num_classes)], f"{text}: targets {step.targets.shape}"
    if step.targets.ndim == 2:
        sums = step.targets.sum(1)
        assert torch.allclose(sums, torch.ones(BATCH)), f"{text}: probabilities of targets add up to {sums.tolist()}"
    loss.backward()
    modules = (model, *(companion for s in strategies if (companion := s.companion()) is not None))
    bad = [name for module in modules for name, gradient in _gradients(module) if not _finite(gradient)]
    assert not bad, f"{text}: no finite gradient for {', '.join(bad)}"
    _check_waits(text, strategies, modules, images)
    return set(terms)


def _check_waits(text: str, strategies: Sequence[Strategy], modules: Sequence[nn.Module], images: Tensor) -> None:
    """A step on the meta device, where there are no values: what asks for one fails, as it would wait for a GPU."""
    for module in modules:
        module.to("meta")
    try:
        _, loss, _ = training_step(strategies, modules[0], images, "meta")
        loss.backward()
    except (NotImplementedError, RuntimeError) as error:
        cause = " ".join(str(error).split())[:120]
        raise AssertionError(f"{text}: its step asks for a value, which a GPU would be waited for ({cause})") from error


def check_config(name: str, file: Path) -> None:
    """``conf/strategy/<name>.yaml`` holds every knob with its default, each with a comment."""
    text, expected = file.read_text(encoding="utf-8"), {name: knobs(name)}
    found = yaml.safe_load(text)
    assert found == expected, f"{file} has {found}, the class {expected}"
    bare = [line for line in text.splitlines()[2:] if not re.search(r"\S +# \S", line)]
    assert not bare, f"{file}: no comment in {bare[0]!r}"


def check_card(name: str, file: Path) -> None:
    """The method card has all headings, a table of every knob with its default, and code that runs."""
    text = file.read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n"), f"{file} does not begin with '# {name}'"
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [*HEADINGS], f"{file} has the headings {headings}, not {[*HEADINGS]}"
    rows = re.findall(rf"^\| `strategy\.{name}\.(\w+)` \| `([^`]*)` \|", text, re.MULTILINE)
    table, expected = {knob: yaml.safe_load(default) for knob, default in rows}, _knobs_of_card(name)
    assert table == expected, f"{file} has the knobs {table}, the class {expected}"
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, f"{file} has {len(blocks)} blocks of Python, not 1"
    exec(compile(blocks[0], str(file), "exec"), {})


def _knobs_of_card(name: str) -> dict[str, Any]:
    """None for a recipe, whose strategies have cards of their own."""
    return knobs(name) if name in STRATEGIES else {}


def _register(strategy: type[Strategy]) -> Sequence[str]:
    """The modules that a run must name for the strategy to be known."""
    entry = STRATEGIES.get(strategy.name)
    if entry and entry.location.partition(":")[0] == strategy.__module__:
        return ()
    register_modules([strategy.__module__])
    return (strategy.__module__,)


def _gradients(module: nn.Module) -> Iterator[tuple[str, Tensor | None]]:
    return ((name, parameter.grad) for name, parameter in module.named_parameters() if parameter.requires_grad)


def _finite(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all())
