"""Labels beside a chart."""

from __future__ import annotations

import pytest

from ghostlab.benchmarks.scatter import spread_labels


@pytest.mark.parametrize(
    ("heights", "moved"),
    [
        ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]),
        ([0.1, 0.1, 0.2], [0.1, 0.3, 0.5]),
        ([0.8, 0.9, 1.0], [0.6, 0.8, 1.0]),
    ],
    ids=["apart", "up", "down"],
)
def test_labels_do_not_overlap(heights: list[float], moved: list[float]) -> None:
    assert spread_labels(heights, 0.2) == pytest.approx(moved)
