"""Which tests ``pytest --fast`` leaves out: ``python tests/slow.py <junit.xml>`` writes ``slow.txt`` anew."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("slow.txt")
SECONDS = 0.2
"""A function is left out from here on, with all its cases: one of these may be shorter."""


def keep_fast(items: list[pytest.Item], config: pytest.Config) -> None:
    """Leave the functions of ``slow.txt`` out of ``items``; in place."""
    slow = set(LIST.read_text(encoding="utf-8").split("\n"))
    left_out = [item for item in items if item.nodeid.partition("[")[0] in slow]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def slow_functions(report: Path) -> list[str]:
    """The node ids, without those of their cases, of what took long in a run with ``--junitxml``."""
    found = set()
    for case in ET.parse(report).iter("testcase"):
        if float(case.attrib["time"]) >= SECONDS:
            parts = case.attrib["classname"].split(".")
            split = next(i for i, part in enumerate(parts) if part.startswith("test_"))
            file, classes = "/".join(parts[: split + 1]) + ".py", parts[split + 1 :]
            found.add("::".join([file, *classes, case.attrib["name"].partition("[")[0]]))
    return sorted(found)


if __name__ == "__main__":
    LIST.write_text("\n".join([*slow_functions(Path(sys.argv[1])), ""]), encoding="utf-8")
