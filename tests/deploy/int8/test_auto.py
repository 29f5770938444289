"""The search for the fewest layers in float32, on made-up accuracies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ghostlab.deploy.int8.quantize import PrecisionTrial, fewest_float_layers
from ghostlab.errors import RunError

RANKING = [f"layer{number}" for number in range(20)]


def needs(count: int) -> Callable[[Sequence[str]], float]:
    """Top-1 90 with the first ``count`` layers in float32, one point less for each that is missing."""
    return lambda kept: 90.0 - max(0, count - len(kept))


def tried(trials: list[PrecisionTrial]) -> list[int]:
    return [len(trial.kept) for trial in trials]


@pytest.mark.parametrize("count", range(len(RANKING) + 1))
def test_the_shortest_beginning_that_holds_is_found(count: int) -> None:
    chosen, trials = fewest_float_layers(RANKING, needs(count), 90.0)
    assert chosen == PrecisionTrial(tuple(RANKING[:count]), 90.0)
    assert len(set(tried(trials))) == len(trials) <= 10


def test_nothing_is_kept_where_int8_loses_little_enough() -> None:
    assert tried(fewest_float_layers(RANKING, needs(3), 87.0)[1]) == [0]


def test_the_steps_grow_and_then_halve() -> None:
    assert tried(fewest_float_layers(RANKING, needs(6), 90.0)[1]) == [0, 1, 2, 4, 8, 6, 5]


def test_a_bound_that_not_even_float_holds_is_refused() -> None:
    with pytest.raises(RunError, match=r"--max-drop: top-1 90\.00 with all 20 layers in float32, below the 90\.50"):
        fewest_float_layers(RANKING, needs(5), 90.5)


def test_a_network_without_layers_is_float_already() -> None:
    assert fewest_float_layers([], needs(0), 90.0)[0].kept == ()
