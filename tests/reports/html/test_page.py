"""The page as text; what it does in a browser is in test_page_browser.py."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import ghostlab.reports.html.page as module
from ghostlab.reports.html.page import render_page
from ghostlab.reports.html.style import TIMES
from ghostlab.reports.summary import Effect, Report
from tests.reports.reports import complete, effect, line, report, run, section, typical

EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\"'&amp;"


class Page(HTMLParser):
    """The elements of a page with their attributes, and all text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._last = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._last = tag

    def handle_endtag(self, tag: str) -> None:
        self._last = ""
        self.text += " " if tag in ("td", "th") else ""

    def handle_data(self, data: str) -> None:
        if self._last == "script":
            self.scripts.append(data)
        elif self._last != "style":
            self.text += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag and attributes.items() <= found.items()]

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


@pytest.fixture(autouse=True)
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its five million characters say nothing here."""
    monkeypatch.setattr(module, "get_plotlyjs", lambda: "var Plotly;")


def shown(one: Report, refresh: int | None = None) -> Page:
    return Page(render_page(one, refresh))


def rows(found: Page) -> list[str]:
    """The lines of the first table by their place in the plan."""
    return [row["data-row"] or "" for row in found.all("tbody") if str(row.get("id")).startswith("s1-")]


def test_nothing_is_loaded_from_anywhere() -> None:
    text = render_page(complete())
    assert not re.search(r"\bsrc=|@import|url\(|https?:", text)
    assert {link["href"] for link in Page(text).all("link")} == {"data:,"}


def test_the_policy_allows_the_scripts_of_the_page_and_no_other() -> None:
    found = shown(complete())
    policy = found.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"] or ""
    code = [text for text in found.scripts if not text.startswith("{")]
    assert policy.startswith("default-src 'none'; ")
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in code]
    assert len(code) == 2
    assert re.findall(r"sha256-([^']+)", policy) == digests
    assert "unsafe" not in policy.split("style-src")[0]


def test_the_head_says_what_was_compared_how_and_how_far_it_is() -> None:
    words = shown(complete()).words
    for said in (
        "What each strategy adds",
        "12 of 13 runs finished",
        "python train.py -m strategy=kd,ema seed=0,1,2",
        "paired t-test by seed, Holm-corrected over each table",
        "eurosat ghostnetv2",
        "Compared with baseline. All runs: data=eurosat model=ghostnetv2",
        "1 of 13 runs failed.",
        "eurosat/ghostnetv2/kd/seed0-0123abcd",
    ):
        assert said in words


def test_a_live_page_reloads_itself_and_says_so() -> None:
    live, still = shown(typical(), refresh=20), shown(typical())
    assert live.all("meta", **{"http-equiv": "refresh"}) == [{"http-equiv": "refresh", "content": "20"}]
    assert "Live: reloads every 20 s" in live.words
    assert not still.all("meta", **{"http-equiv": "refresh"})
    assert "Live" not in still.words


@pytest.mark.parametrize("said", ["▲ helps", "▼ hurts", "○ undecided", f"{TIMES} one seed", "◆ reference"])
def test_a_verdict_is_a_sign_and_a_word(said: str) -> None:
    assert said in shown(typical()).words


def test_what_helps_most_is_first_and_the_reference_at_zero() -> None:
    assert rows(shown(typical())) == ["2", "4", "3", "0", "1"]


def test_what_is_lost_without_a_strategy_is_its_own_merit() -> None:
    lines = [line("all", 68), *(line(f"without {name}", 68 + gain, found) for name, gain, found in REMOVED)]
    found = shown(report(section(lines, reference="all"), kind="leave_one_out"))
    assert "What is lost without each strategy" in found.words
    assert "▲ reparam helps" in found.words
    assert "▼ mixup hurts" in found.words
    assert rows(found) == ["2", "0", "1"]
    assert found.all("th", **{"aria-sort": "ascending"})


REMOVED = [
    ("mixup", 1.6, effect("mixup", 1.6, "hurts", removed=True)),
    ("reparam", -1.3, effect("reparam", -1.3, "helps", removed=True)),
]


def test_a_row_holds_its_figures() -> None:
    words = shown(typical()).words
    figures = f"63.00 ± 0.10 +3.00 [+2.50, +3.50] 0.020 ▲ helps - 1.60{TIMES} 1.10{TIMES} 929 k 2.93 M"
    assert f"kd {figures}" in words


def test_columns_that_no_row_has_a_value_in_are_left_out() -> None:
    one = typical().sections[0]
    without, latency = shown(report(one)), [replace(one.lines[0], latency_ms=1.234, top1_ema=60.5), *one.lines[1:]]
    assert "latency" not in without.words
    assert "raw / EMA" not in without.words
    found = shown(report(replace(one, lines=latency))).words
    assert "2.93 M 1.23 ms" in found
    assert "60.00 / 60.50" in found
    assert "2.93 M - " in found


def test_a_row_opens_into_its_configuration_and_runs() -> None:
    found = shown(complete())
    button, detail = found.all("button", **{"class": "open"})[0], found.all("tr", **{"class": "detail"})[0]
    assert button["aria-controls"] == detail["id"]
    assert (button["aria-expanded"], "hidden" in detail) == ("false", True)
    assert "strategy.kd.tau - 4" in found.words
    assert "seed 1 finished top-1 63.10 · 1 min 31 s" in found.words
    assert "python train.py data=eurosat strategy=kd seed=1" in found.words
    assert "seed 0 failed outputs/eurosat/ghostnetv2/kd+ema/seed0 loss is not finite" in found.words


def test_a_link_leads_from_the_page_to_its_run() -> None:
    links = [link["href"] for link in shown(complete()).all("a", **{"class": "folder"})]
    assert "../../eurosat/ghostnetv2/kd/seed1/" in links
    assert "../../eurosat/ghostnetv2/kd%2Bema/seed0/" in links


def test_a_folder_is_shown_without_detours() -> None:
    far = replace(run("kd", 0), folder=typical().folder / "../../digits/kd/seed0")
    found = shown(report(section([line("kd", runs=[far])])))
    assert "outputs/digits/kd/seed0" in found.words
    assert [link["href"] for link in found.all("a", **{"class": "folder"})] == ["../../digits/kd/seed0/"]


def test_a_run_that_is_not_there_has_no_link() -> None:
    missing = [run("kd", 0, state="missing")]
    assert not shown(report(section([line("kd", runs=missing)]))).all("a", **{"class": "folder"})


def test_no_folder_makes_a_link_of_another_scheme() -> None:
    evil = replace(run("kd", 0), folder=typical().folder / "javascript:alert(1)")
    found = shown(report(section([line("kd", runs=[evil])])))
    assert [link["href"] for link in found.all("a", **{"class": "folder"})] == ["javascript%3Aalert%281%29/"]


def test_names_from_outside_stay_text() -> None:
    found, harmless = shown(hostile(EVIL)), shown(hostile("harmless"))
    assert [tag for tag, _ in found.tags if tag != "wbr"] == [tag for tag, _ in harmless.tags if tag != "wbr"]
    assert found.text.count(EVIL) == harmless.text.count("harmless") > 15
    assert not any("<" in script for script in found.scripts if script.startswith("{"))
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)


def hostile(name: str) -> Report:
    """A report with ``name`` wherever text comes from outside."""
    one = complete().sections[0]
    found = Effect(name, name, name, False, effect("kd", 1.0, "helps").difference, 0.02, "helps")
    runs = [
        replace(run(name, 0, error=name), command=name, folder=Path(name)),
        replace(run(name, 1, state="failed", error=name), command=name),
    ]
    rows = [line(name), replace(line(name, found=found, runs=runs), changes=[(name, name, name)])]
    interactions = [replace(one.interactions[0], strategies=(name, name))]
    table = replace(
        one,
        title=name,
        overrides=[name],
        reference=name,
        lines=rows,
        direct=[found],
        interactions=interactions,
        others=[name],
        notes=[name],
    )
    return replace(report(table, table), kind=name, command=name)


def test_comparisons_beside_the_table_are_shown() -> None:
    words = shown(complete()).words
    assert "Paired t-test over seeds." in words
    assert (
        "On average over all others row difference p corrected verdict kd +2.90 [+2.10, +3.70] 0.004 ▲ kd helps"
        in words
    )
    assert "kd against ema +2.80 [+2.00, +3.60] 0.006 ▲ better" in words
    assert "kd with ema +0.70 [+0.20, +1.20] 0.020 ▲ more together" in words


def test_several_tables_have_a_table_of_contents() -> None:
    one = typical().sections[0]
    found = shown(report(one, replace(one, title="eurosat  mobilenetv1")))
    assert [link["href"] for link in found.all("a")][1:3] == ["#s1", "#s2"]
    assert f"eurosat mobilenetv1 ▲ helps 1 ▼ hurts 1 ○ undecided 1 {TIMES} one seed 1" in found.words
    assert not shown(typical()).all("nav")


def test_ids_are_not_given_twice() -> None:
    one = complete().sections[0]
    ids = [found["id"] for _, found in shown(report(one, one)).tags if "id" in found]
    assert len(ids) == len(set(ids))


def test_without_a_finished_run_the_page_says_what_it_needs() -> None:
    unfinished = Effect("kd", "baseline", "kd", False, None, None, "no seeds")
    rows = [
        line("baseline", runs=[run("baseline", 0, state="running")]),
        line("kd", found=unfinished, runs=[run("kd", 0, state="missing")]),
    ]
    found = shown(report(section(rows), finished=0, total=2))
    assert "Nothing can be compared yet" in found.words
    assert "kd 1 missing - - … no seed yet" in found.words
    assert not found.all("figure")


@pytest.mark.parametrize("count", [1, 60])
def test_any_number_of_rows_is_shown(count: int) -> None:
    lines = [line("baseline"), *(line(f"kd{i}", 60 + i, effect(f"kd{i}", i, "helps")) for i in range(1, count))]
    found = shown(report(section(lines)))
    assert len(rows(found)) == count
    assert ("and 49 more in the table" in found.words) == (count == 60)


def test_a_row_that_nothing_is_compared_with_is_no_reference() -> None:
    found = shown(report(section([line("baseline"), line("kd", found=effect("kd", 1.0, "helps")), line("ema")])))
    assert "ema 60.00 ± 0.10 - - · not compared" in found.words


def test_another_reference_than_the_table_s_is_named() -> None:
    other = replace(effect("kd", 1.0, "helps"), reference="ema")
    found = shown(
        report(section([line("baseline"), line("ema", found=effect("ema", 1.0, "helps")), line("kd", found=other)]))
    )
    assert found.words.count("against ema") == 1


def test_a_report_without_tables_says_so() -> None:
    assert "There is no table in this ablation." in shown(report(finished=0, total=0)).words


def test_the_parts_of_the_page_are_packaged() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    patterns: Sequence[str] = project["tool"]["setuptools"]["package-data"]["ghostlab"]
    package = Path(module.__file__).parents[2]
    packaged = {file for pattern in patterns for file in package.glob(pattern)}
    assert {module.PARTS / name for name in (*module.SCRIPTS, "page.html", "page.css")} <= packaged
