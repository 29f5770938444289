"""Latency: who is slower, what the first call costs, and figures worked out by hand from the turns."""

from __future__ import annotations

import functools
import statistics
import time

import numpy as np
import pytest
from torch import Tensor

from ghostlab.benchmarks.deployables import Deployable, LoadedNetwork, deployable
from ghostlab.benchmarks.timing import Conditions, measure
from ghostlab.errors import UsageError


class Sleeper:
    """Takes ``seconds`` an image, and ``late`` more in its first call."""

    def __init__(self, seconds: float, late: float = 0) -> None:
        self.seconds, self.late, self.calls = seconds, late, 0

    def __call__(self, images: Tensor) -> None:
        assert images.shape[1:] == (3, 8, 8)
        self.calls += 1
        time.sleep(self.seconds * len(images) + (self.late if self.calls == 1 else 0))


def ready(seconds: float, late: float = 0) -> LoadedNetwork:
    return LoadedNetwork(Sleeper(seconds, late), "fused", 8, 10, 100, load=0.25)


def test_contestants_are_measured_against_the_first_of_each_round() -> None:
    slow, fast = (
        Deployable(name, functools.partial(ready, *arguments))
        for name, arguments in {"slow": (0.04, 0.5), "fast": (0.01,)}.items()
    )
    rows = measure([slow, fast], Conditions(batches=(1, 2), threads=1, rounds=5))
    assert [(row.name, row.runtime, row.threads, row.form, row.image_size) for row in rows] == [
        ("slow", "eager", 1, "fused", 8),
        ("fast", "eager", 1, "fused", 8),
    ]
    assert {(row.params, row.macs, row.load) for row in rows} == {(10, 100, 0.25)}
    assert rows[0].first_call >= 0.54 > rows[1].first_call
    for k, batch in enumerate((1, 2)):
        first, second = (row.times[k] for row in rows)
        assert (first.ratio, first.low, first.high) == (1, 1, 1)
        assert second.ratio < 0.9
        assert first.batch == batch
        assert min(first.seconds) >= 0.04 * batch
        assert max(first.seconds) < 0.5  # the first call stands apart
        ratios = [one / other for one, other in zip(second.seconds, first.seconds, strict=True)]
        assert (second.ratio, second.low, second.high) == (statistics.median(ratios), min(ratios), max(ratios))
        assert second.mean == pytest.approx(sum(second.seconds) / 5)
        assert second.median == sorted(second.seconds)[2]
        assert second.p95 == np.percentile(second.seconds, 95)
        assert second.images_per_second == pytest.approx(5 * batch / sum(second.seconds))


def test_what_is_wrong_with_a_contestant_is_said() -> None:
    with pytest.raises(UsageError, match="no model 'ghostnetv9'"):
        measure([deployable("ghostnetv9")], Conditions((1,), 1, 1))
    with pytest.raises(UsageError, match="'resnet18' is named twice"):
        measure([deployable("resnet18")] * 2, Conditions((1,), 1, 1))


@pytest.mark.parametrize(
    ("option", "given"), [("batch", ((1, 0), 1, 1)), ("threads", ((1,), 0, 1)), ("repeats", ((1,), 1, 0))]
)
def test_conditions_that_cannot_be_are_refused(option: str, given: tuple[tuple[int, ...], int, int]) -> None:
    with pytest.raises(UsageError, match=f"--{option} 0: must be at least 1"):
        Conditions(*given)
