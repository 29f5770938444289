"""A report as one HTML file that needs no network: what helps, by how much, how sure that is."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ghostlab.reports.html import formats
from ghostlab.reports.html.figures.curves import stroke
from ghostlab.reports.html.figures.style import rgb
from ghostlab.reports.html.verdicts import mark, rows_words, words
from ghostlab.reports.html.view import states, view
from ghostlab.reports.summary import Report

__all__ = ["page"]

PARTS = Path(__file__).with_name("parts")
SCRIPTS = ("labels.js", "plots.js", "table.js", "copy.js", "memory.js", "main.js")
TITLES = {
    "add_one": "What each strategy adds",
    "leave_one_out": "What is lost without each strategy",
    "factorial": "Strategies in every combination",
    "list": "Ways of training, side by side",
}


def page(report: Report, refresh: int | None = None) -> str:
    """The page, to be kept in ``report.folder``: the links to its runs are relative to that.

    With ``refresh`` it reloads itself every so many seconds, and says so.
    """
    scripts = [_script(get_plotlyjs()), _script(_own_script())]
    template = _templates().get_template("page.html")
    return template.render(
        report=report,
        title=TITLES.get(report.kind, report.kind),
        views=[view(section, number) for number, section in enumerate(report.sections)],
        refresh=refresh,
        policy=_policy(scripts),
        style=Markup(_read("page.css")),
        scripts=[Markup(script) for script in scripts],
    )


def _link(folder: Path, start: Path) -> str:
    """A relative link from a page in ``start`` to a folder, in which nothing can be taken for another scheme."""
    return quote(Path(os.path.relpath(folder, start)).as_posix())


@cache
def _templates() -> Environment:
    found = Environment(loader=FileSystemLoader(PARTS), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    found.filters.update({name: getattr(formats, name) for name in formats.__all__})
    found.filters.update(link=_link, data=_data, states=states, mark=mark, words=words, rows_words=rows_words)
    found.filters.update(rgb=rgb, dashes=stroke, normal=os.path.normpath, breaks=_breaks)
    return found


def _data(value: Any) -> Markup:
    """JSON that may stand in a ``<script>``."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _breaks(name: str) -> Markup:
    """A joined name, which may go on in another line after each "+"."""
    return Markup("+<wbr>").join(name.split("+"))


def _policy(scripts: list[str]) -> str:
    """A content security policy: nothing is loaded from anywhere, and no script runs but these."""
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    hashes = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _script(text: str) -> str:
    """A script as it may stand in a page."""
    return text.replace("</script", "<\\/script")


def _own_script() -> str:
    body = "\n".join(_read(name) for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{body}}})();'


@cache
def _read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")
