"""The page in a real browser, without its window.

A browser reads five million characters of Plotly for every page: what does not need one of its own shares one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from ghostlab.reports.html.page import render_page
from tests.reports.reports import FOLDER, complete, effect, line, report, run, section

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE = 20
"""Seconds in which the browser must have done something."""

ROWS = "[...document.querySelectorAll('#s1 .results > tbody')].map(one => one.querySelector('.open').innerText.trim())"
LABELS = "[...document.querySelectorAll('#s1-forest .ytick text')].map(one => one.textContent)"
CURVES = "document.querySelectorAll('#s1-top1 .scatterlayer .trace').length"
FOCUS = "document.activeElement"
EVIL = "<img src=x onerror=document.title='broken'>"

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS.split())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens a page where its report is kept; in the end nothing may have been requested but files."""
    folder, requests = tmp_path_factory.mktemp("pages"), []

    def visit(text: str, width: int = 1200) -> Any:
        file = folder / FOLDER / "report.html"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        size, permissions = {"width": width, "height": 800}, ["clipboard-read", "clipboard-write"]
        found = browser.new_page(viewport=size, permissions=permissions)
        found.set_default_timeout(PATIENCE * 1000)
        found.complaints = []
        found.on("console", lambda said: found.complaints.append(said.text))
        found.on("pageerror", lambda error: found.complaints.append(str(error)))
        found.on("request", lambda request: requests.append(request.url))
        found.goto(file.as_uri())
        wait_for_plots(found)
        return found

    yield visit
    assert requests
    assert [url for url in requests if not url.startswith(folder.as_uri())] == []


@pytest.fixture(scope="module")
def shared(opened: Open) -> Any:
    return opened(render_page(complete()))


def wait_for_plots(found: Any) -> None:
    for plot in found.query_selector_all(".plot"):
        found.wait_for_selector(f"#{plot.get_attribute('id')} .main-svg", state="attached")


def becomes(found: Any, expression: str, expected: object) -> bool:
    """Whether an expression has a value soon; the page's policy does not let it wait for that itself."""
    end = time.monotonic() + PATIENCE
    while found.evaluate(expression) != expected:
        if time.monotonic() > end:
            return False
        found.wait_for_timeout(20)
    return True


def test_a_click_on_a_title_sorts_the_table_and_the_plot(shared: Any) -> None:
    shared.click("#s1 .sort >> text=train time")
    assert shared.evaluate(ROWS) == ["kd", "reparam", "ema", "mixup", "baseline", "kd+ema"]
    assert becomes(shared, LABELS, ["kd", "reparam", "ema", "mixup", "baseline"])
    shared.click("#s1 .sort >> text=train time")
    assert shared.evaluate(ROWS) == ["baseline", "mixup", "ema", "reparam", "kd", "kd+ema"]
    assert becomes(shared, LABELS, ["baseline", "mixup", "ema", "reparam", "kd"])
    assert shared.eval_on_selector_all("[aria-sort]", "all => all.map(one => one.ariaSort)") == ["ascending"]


def test_the_keyboard_sorts_and_opens(shared: Any) -> None:
    shared.focus("#s1 .sort")
    shared.keyboard.press("Enter")
    assert shared.evaluate(ROWS) == ["baseline", "ema", "kd", "kd+ema", "mixup", "reparam"]
    shared.focus("#s1-r2 .open")
    shared.keyboard.press("Space")
    assert shared.get_attribute("#s1-r2 .open", "aria-expanded") == "true"
    assert shared.is_visible("text=python train.py data=eurosat strategy=kd seed=1")
    assert shared.evaluate(f"getComputedStyle({FOCUS}).outlineStyle") == "solid"
    shared.keyboard.press("Enter")
    assert shared.is_hidden("#s1-r2-detail")


def test_curves_are_switched_on_and_off(shared: Any) -> None:
    assert shared.evaluate(CURVES) == 5 * 4
    shared.focus("#s1-c2")
    shared.keyboard.press("Space")
    assert becomes(shared, CURVES, 16)
    shared.click("#s1 [data-all=false]")
    assert becomes(shared, CURVES, 0)
    shared.click("#s1 [data-all=true]")
    assert becomes(shared, CURVES, 20)


def test_a_command_is_copied(shared: Any) -> None:
    shared.click("header .copy")
    assert becomes(shared, "document.querySelector('header .copy').textContent", "Copied")
    assert shared.evaluate("navigator.clipboard.readText()") == "python train.py -m strategy=kd,ema seed=0,1,2"


def test_a_link_of_the_summary_opens_its_row(shared: Any) -> None:
    shared.click(".glance >> text=mixup")
    assert becomes(shared, "document.getElementById('s1-r1-detail').hidden", False)
    assert shared.evaluate(f"{FOCUS}.innerText.trim()") == "mixup"


def test_page_and_plots_follow_from_light_to_dark_and_to_paper(shared: Any) -> None:
    colours = (
        "[getComputedStyle(document.documentElement).backgroundColor,"
        "document.querySelector('#s1-forest .main-svg').style.backgroundColor,"
        "document.querySelector('#s1-forest .ytick text').style.fill]"
    )
    paper, night = "rgb(253, 253, 251)", "rgb(21, 23, 27)"
    assert becomes(shared, colours, [paper, paper, "rgb(27, 29, 33)"])
    shared.emulate_media(color_scheme="dark")
    assert becomes(shared, colours, [night, night, "rgb(236, 234, 229)"])
    shared.emulate_media(color_scheme="dark", media="print")
    assert becomes(shared, colours, ["rgb(255, 255, 255)", "rgb(255, 255, 255)", "rgb(27, 29, 33)"])
    shared.emulate_media(color_scheme="light", media="screen")


def test_nothing_of_all_this_was_complained_of(shared: Any) -> None:
    assert shared.complaints == []


@pytest.fixture(scope="module")
def hostile(opened: Open) -> Any:
    """A page with names that are markup or without end, points at one place, and a script that is not its own."""
    long = "+".join(["randaugment"] * 9)
    evil = line(EVIL, 63, effect(EVIL, 3.0, "helps"), 2.0, [run("kd", 0, error=EVIL), run("kd", 1)])
    twins = [line(name, 61, effect(name, 1.0, "helps")) for name in ("one", "two", long)]
    lines = [line("baseline"), evil, *twins]
    one = replace(section(lines, title=EVIL), notes=[EVIL, "x" * 300])
    text = render_page(replace(report(one), command=f"</script>{EVIL}"))
    return opened(text.replace("</body>", "<script>document.title = 'broken'</script></body>"), width=360)


def test_names_from_outside_stay_text_and_no_other_script_runs(hostile: Any) -> None:
    assert hostile.evaluate(ROWS)[0] == EVIL
    assert hostile.evaluate(LABELS)[0] == "<img src=…broken'>"
    assert hostile.query_selector("img") is None
    assert hostile.title() == f"What each strategy adds: {EVIL}"
    assert len(hostile.complaints) == 1
    assert "Content Security Policy" in hostile.complaints[0]


def test_a_narrow_window_is_wide_enough(hostile: Any) -> None:
    for button in hostile.query_selector_all(".open"):
        button.click()
    assert hostile.evaluate("document.documentElement.scrollWidth") == 360
    assert hostile.evaluate("document.querySelector('.sheet .command').getBoundingClientRect().right") < 360
    hostile.set_viewport_size({"width": 800, "height": 800})
    assert becomes(hostile, "document.documentElement.scrollWidth", 800)


@pytest.fixture(scope="module")
def phone(opened: Open) -> Any:
    """Everything that a section may hold, with a row of a long name, in the window of a phone."""
    one, long = complete().sections[0], "cosine+ema+randaugment+reparam+smoothing"
    more = line(long, 62.2, effect(long, 2.2, "helps"), 1.9)
    return opened(render_page(report(replace(one, lines=[*one.lines, more]))), width=390)


def test_on_a_phone_no_plot_is_cut_off(phone: Any) -> None:
    cut = """[...document.querySelectorAll('.plot')].flatMap(plot => {
        const room = plot.getBoundingClientRect();
        return [...plot.querySelectorAll('text')].filter(text => {
            const box = text.getBoundingClientRect();
            return box.width && (box.left < room.left - 1 || box.right > room.right + 1);
        }).map(text => plot.id + ': ' + text.textContent)})"""
    assert becomes(phone, cut, [])
    for plot in ("s1-main", "s1-forest", "s1-interaction"):
        ticks = [text.bounding_box() for text in phone.query_selector_all(f"#{plot} .xtick text")]
        titles = [text.bounding_box() for text in phone.query_selector_all(f"#{plot} .g-xtitle text")]
        assert ticks
        assert not any(touch(tick, title) for tick in ticks for title in titles), plot


def test_on_a_phone_only_the_results_scroll_sideways(phone: Any) -> None:
    assert phone.evaluate("document.documentElement.scrollWidth") == 390
    wide = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth)"
    assert phone.evaluate(f"{wide}.map(one => one.ariaLabel)") == ["Results: eurosat  ghostnetv2"]


def test_every_epoch_has_one_tick(phone: Any) -> None:
    ticks = "[...document.querySelectorAll('#s1-top1 .xtick text')].map(one => one.textContent)"
    assert phone.evaluate(ticks) == ["1", "2", "3", "4", "5", "6", "7", "8"]


def test_names_of_points_do_not_overlap(hostile: Any) -> None:
    texts = "[...document.querySelectorAll('#s1-cost .textpoint text')]"
    boxes = [box for text in hostile.evaluate_handle(texts).get_properties().values() if (box := text.bounding_box())]
    assert len(boxes) > 2
    assert not any(touch(one, other) for one, other in combinations(boxes, 2))


def touch(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


def test_a_live_page_keeps_what_its_reader_did(opened: Open) -> None:
    found = opened(render_page(complete(), refresh=600))
    found.keyboard.press("Tab")
    assert found.evaluate(f"{FOCUS}.className") == "skip"
    found.click("#s1 .sort >> text=row")
    found.click("#s1-r1 .open")
    found.uncheck("#s1-c2")
    found.reload()
    wait_for_plots(found)
    assert becomes(found, CURVES, 16)
    assert found.evaluate(ROWS)[0] == "baseline"
    assert found.is_visible("#s1-r1-detail")
    assert found.evaluate(f"{FOCUS}.id") == "s1-c2"
    assert found.complaints == []
