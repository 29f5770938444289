"""Links lead somewhere, and the table of strategies says what classes and cards do."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ghostlab.strategies import RECIPES, STRATEGIES
from ghostlab.strategies.registry import knobs

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
INDEX = (ROOT / "docs" / "strategies" / "index.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
CELLS = [[cell.strip() for cell in row.split("|")] for row in INDEX.splitlines() if row.startswith("| [`")]
ROWS = {row[1].split("`")[1]: row for row in CELLS}


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    code = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", code.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


def test_the_site_is_built_of_every_page_and_of_docstrings_that_render(tmp_path: Path) -> None:
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "fuse.FuseReport.difference64" in (tmp_path / "api" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", re.findall(r"^::: (ghostlab\.[\w.]+)$", API, re.MULTILINE))
def test_the_example_of_what_is_public_runs(name: str) -> None:
    module, _, last = name.rpartition(".")
    found = getattr(importlib.import_module(module), last, None) or importlib.import_module(name)
    for test in doctest.DocTestFinder(recurse=False).find(found, name, globs={}):
        assert doctest.DocTestRunner().run(test).failed == 0


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


def test_the_table_has_every_strategy() -> None:
    assert {*ROWS} == {*STRATEGIES, *RECIPES}


@pytest.mark.parametrize("name", [*STRATEGIES, *RECIPES])
def test_a_row_has_knobs_of_the_class_and_the_cost_of_the_card(name: str) -> None:
    row, known = ROWS[name], knobs(name) if name in STRATEGIES else {}
    told = dict(re.findall(r"`(\w+)`(?: \(([^;,)]*))?", row[3]))
    assert {*told} <= {*known}
    for knob, default in told.items():
        assert not default or default.startswith("the data set") or yaml.safe_load(default) == known[knob], knob
    card = (ROOT / "docs" / "strategies" / f"{name}.md").read_text(encoding="utf-8")
    cost = re.findall(r"^(\d\.\d\d) times the training time and (\d\.\d\d) times the peak memory", card, re.MULTILINE)
    assert cost == [(row[4].rstrip("x"), row[5].rstrip("x"))]
