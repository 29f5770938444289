"""Registry, dataclasses, config files and method cards say the same, and the cards' code runs."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghostlab.strategies import RECIPES, STRATEGIES, load

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "strategy"
CARDS = ROOT / "docs" / "strategies"
HEADINGS = [
    "What it does",
    "When it helps and when it hurts",
    "Knobs",
    "Cost",
    "Functional use",
    "Reference",
]
COST = r"\n## Cost\n\d\.\d\d times the training time and \d\.\d\d times the peak memory [^`]*`.*benchmark.py strat"


def knobs(name: str) -> dict[str, Any]:
    return {field.name: field.default for field in fields(load(name))}


def card(name: str) -> str:
    return (CARDS / f"{name}.md").read_text(encoding="utf-8")


def test_there_is_a_config_and_a_card_for_every_name_and_no_other() -> None:
    names = {*STRATEGIES, *RECIPES}
    assert {path.stem for path in CONF.iterdir()} == names
    assert {path.stem for path in CARDS.iterdir()} == names


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_config_holds_every_knob_with_its_default(name: str) -> None:
    assert MISSING not in knobs(name).values()
    assert yaml.safe_load((CONF / f"{name}.yaml").read_text()) == {name: knobs(name)}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_line_of_a_config_has_its_comment(name: str) -> None:
    lines = (CONF / f"{name}.yaml").read_text().splitlines()
    assert f"Card: docs/strategies/{name}.md" in lines[0]
    assert all(re.search(r"\S +# \S", line) for line in lines[2:])


@pytest.mark.parametrize("name", RECIPES)
def test_the_config_of_a_recipe_is_its_list(name: str) -> None:
    assert yaml.safe_load((CONF / f"{name}.yaml").read_text()) == {"defaults": list(RECIPES[name])}


@pytest.mark.parametrize("name", [*STRATEGIES, *RECIPES])
def test_a_card_has_the_fixed_headings_and_its_measured_cost(name: str) -> None:
    assert re.findall(r"^## (.*)$", card(name), re.MULTILINE) == HEADINGS
    assert card(name).startswith(f"# {name}\n")
    assert re.search(COST, card(name))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_table_of_a_card_has_every_knob_with_its_default(name: str) -> None:
    rows = re.findall(rf"^\| `strategy\.{name}\.(\w+)` \| `([^`]*)` \|", card(name), re.MULTILINE)
    assert {knob: yaml.safe_load(default) for knob, default in rows} == knobs(name)


@pytest.mark.parametrize("name", [*STRATEGIES, *RECIPES])
def test_the_code_of_a_card_runs(name: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", card(name), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], f"{name}.md", "exec"), {})
