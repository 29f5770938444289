"""Numbers as a reader sees them."""

from __future__ import annotations

import math

import pytest

from ghostlab.reports.html import formats
from ghostlab.statistics.paired import Difference


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.top1(61.4, 0.352, 3), "61.40 ± 0.35 (3)"),
        (formats.top1(61.4), "61.40"),
        (formats.top1(math.nan, 0.1, 3), "-"),
        (formats.both(60, 60.5), "60.00 / 60.50"),
        (formats.both(60, None), "-"),
        (formats.signed(1.3), "+1.30"),
        (formats.signed(-1.3), "\N{MINUS SIGN}1.30"),
        (formats.difference(Difference(1.3, 3, 0.42, 2.18)), "+1.30 [+0.42, +2.18]"),
        (formats.difference(Difference(1.3, 1)), "+1.30"),
        (formats.difference(None), "-"),
        (formats.probability(0.0004), "<0.001"),
        (formats.probability(0.0416), "0.042"),
        (formats.times(1.4), "1.40\N{MULTIPLICATION SIGN}"),
        (formats.count(928_858), "929 k"),
        (formats.count(2_930_016), "2.93 M"),
        (formats.count(4.1e9), "4.10 G"),
        (formats.count(12), "12"),
        (formats.milliseconds(1.234), "1.23"),
        (formats.duration(4800), "1 h 20 min"),
        (formats.duration(161.4), "2 min 41 s"),
        (formats.duration(31), "31 s"),
        (formats.more(4), "4"),
        (formats.more(101), "over 100"),
    ],
)
def test_a_number_is_shown(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    "name", ["signed", "probability", "times", "count", "milliseconds", "duration", "more", "top1"]
)
def test_what_is_not_known_is_a_dash(name: str) -> None:
    assert getattr(formats, name)(None) == "-"
