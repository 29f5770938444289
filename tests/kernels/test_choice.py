"""The way of a shape is measured once, kept for other processes, and taken again by a run that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ghostlab.kernels import choice, native
from ghostlab.kernels.choice import Choices
from ghostlab.kernels.function import Way
from ghostlab.kernels.geometry import Geometry

pytestmark = pytest.mark.skipif(native.kernels(torch.float32) is None, reason="there is no C++ compiler")
GEOMETRY = Geometry((1, 5), (1, 1), (0, 2), (1, 1), 64)
WEIGHT = torch.zeros(64, 1, 1, 5)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Way]:
    """What measuring finds, one after the other; those that are left were not asked for."""
    ways = [Way.BACKWARD, Way.PYTORCH, Way.BOTH]
    monkeypatch.setattr(choice, "fastest", lambda *_: ways.pop(0))
    return ways


def images(batch: int, side: int = 2) -> Tensor:
    return torch.zeros(batch, 64, side, side).contiguous(memory_format=torch.channels_last)


def way(choices: Choices, x: Tensor) -> Way:
    return choices.of(x, WEIGHT, None, GEOMETRY)


@pytest.mark.usefixtures("cache")
def test_a_shape_is_measured_once_for_all_processes(measured: list[Way]) -> None:
    assert way(Choices(), images(64)) is Way.BACKWARD
    assert way(Choices(), images(64)) is way(Choices(), images(33)) is Way.BACKWARD
    assert len(measured) == 2


@pytest.mark.usefixtures("cache")
def test_other_shapes_layouts_and_threads_are_measured_apart(measured: list[Way]) -> None:
    choices = Choices()
    assert [way(choices, images(64)), way(choices, images(65))] == [Way.BACKWARD, Way.PYTORCH]
    assert way(choices, images(64).contiguous()) is Way.BOTH
    assert not measured


def test_a_run_goes_on_as_it_began_whatever_became_of_the_file(cache: Path, measured: list[Way]) -> None:
    begun = Choices()
    assert way(begun, images(64)) is Way.BACKWARD
    [file] = cache.glob("*.json")
    file.unlink()
    assert way(Choices(), images(64)) is Way.PYTORCH
    resumed = Choices()
    resumed.restore(json.loads(json.dumps(begun.state())))
    assert way(resumed, images(64)) is Way.BACKWARD
    assert len(measured) == 1


@pytest.mark.usefixtures("cache", "measured")
def test_what_another_machine_took_is_measured_here() -> None:
    choices = Choices()
    way(choices, images(64))
    elsewhere = Choices()
    elsewhere.restore({**choices.state(), "machine": "another"})
    assert not elsewhere.taken


def test_where_nothing_can_be_kept_nothing_is_measured(cache: Path, measured: list[Way]) -> None:
    cache.write_text("a file where the folder should be")
    assert way(Choices(), images(64)) is Way.BOTH
    assert len(measured) == 3


def test_a_damaged_file_is_written_anew(cache: Path, measured: list[Way]) -> None:
    way(Choices(), images(64))
    [file] = cache.glob("*.json")
    file.write_text('{"half a li')
    assert way(Choices(), images(64)) is Way.PYTORCH
    assert list(json.loads(file.read_text()).values()) == ["pytorch"]
    assert len(measured) == 1


def test_measuring_draws_no_random_numbers_and_leaves_no_gradients() -> None:
    x, weight = images(8).requires_grad_(), WEIGHT.clone().requires_grad_()
    before = torch.get_rng_state()
    with torch.no_grad():
        assert choice.fastest(x, weight, None, GEOMETRY) in Way
    assert torch.equal(torch.get_rng_state(), before)
    assert x.grad is weight.grad is None


def test_the_fastest_way_is_the_one_with_the_shortest_round(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {Way.PYTORCH: [9, 2.0, 2.2, 2.4, 2.2], Way.BACKWARD: [9, 2.6, 1.9, 2.5, 2.6], Way.BOTH: [9, 3, 3, 3, 3]}
    monkeypatch.setattr(choice, "_seconds", lambda way, *_: seconds[way].pop(0))
    assert choice.fastest(images(1), WEIGHT, None, GEOMETRY) is Way.BACKWARD
    assert not any(seconds.values())
    seconds |= {Way.PYTORCH: [9, 2.0], Way.BACKWARD: [9, 3.0], Way.BOTH: [9, 3.0]}
    assert choice.fastest(images(1), WEIGHT, None, GEOMETRY) is Way.PYTORCH  # clear after one round
    assert not any(seconds.values())
