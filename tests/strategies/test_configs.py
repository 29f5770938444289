"""Registry, dataclasses, config files and method cards say the same, and the cards' code runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ghostlab.strategies import RECIPES, STRATEGIES
from ghostlab.strategies.registry import knobs
from ghostlab.testing import check_card, check_config

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf" / "strategy"
CARDS = ROOT / "docs" / "strategies"
COST = r"\n## Cost\n\d\.\d\d times the training time and \d\.\d\d times the peak memory [^`]*`.*benchmark.py strat"


def test_there_is_a_config_and_a_card_for_every_name_and_no_other() -> None:
    names = {*STRATEGIES, *RECIPES}
    assert {path.stem for path in CONF.iterdir()} == names
    assert {path.stem for path in CARDS.iterdir()} == {*names, "index"}


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_config_holds_every_knob_with_its_default_and_a_comment(name: str) -> None:
    assert "???" not in knobs(name).values()
    check_config(name, CONF / f"{name}.yaml")
    assert f"Card: docs/strategies/{name}.md" in (CONF / f"{name}.yaml").read_text().splitlines()[0]


@pytest.mark.parametrize("name", RECIPES)
def test_the_config_of_a_recipe_is_its_list(name: str) -> None:
    assert yaml.safe_load((CONF / f"{name}.yaml").read_text()) == {"defaults": list(RECIPES[name])}


@pytest.mark.parametrize("name", [*STRATEGIES, *RECIPES])
def test_a_card_has_the_fixed_headings_and_code_that_runs_and_its_measured_cost(name: str) -> None:
    check_card(name, CARDS / f"{name}.md")
    assert re.search(COST, (CARDS / f"{name}.md").read_text(encoding="utf-8"))
