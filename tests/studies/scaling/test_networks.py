"""Networks are compared and counted as they are built."""

from __future__ import annotations

import pytest
from torch import nn

from ghostlab.models import count, create_model
from ghostlab.models.scaling import Factors
from ghostlab.studies.scaling.budget import Base, Rules, distinct_candidates
from ghostlab.studies.scaling.networks import Networks
from tests.studies.scaling.nets import macs, stack, stacks


def b0(depth: float, width: float) -> nn.Module:
    return create_model("efficientnet_b0", depth=depth, width=width)


def test_counts_are_those_by_hand() -> None:
    counts = stacks().counts(1.2, 0.8, 6)
    assert counts == (8 + 3 * 64, macs(1.2, 0.8, 6)) == (200, 36 * 200)


def test_a_network_is_built_once() -> None:
    built = []
    networks = Networks(lambda depth, width: built.append((depth, width)) or stack(depth, width))  # type: ignore[func-returns-value]
    for px in (4, 8, 4):
        networks.counts(1, 1, px)
    assert built == [(1, 1)]


@pytest.mark.parametrize("name", ["ghostnetv1", "efficientnet_b0", "mobilenetv1", "resnet18"])
def test_counting_without_batch_norms_changes_no_count(name: str) -> None:
    def build(depth: float, width: float) -> nn.Module:
        return create_model(name, num_classes=10, depth=depth, width=width)

    assert Networks(build).counts(1.5, 0.5, 72) == count(build(1.5, 0.5), 72)


def test_no_depth_up_to_1_25_is_another_b0() -> None:
    """The grid search of the paper cannot tell its depths apart: each stage has the same number of blocks."""
    networks = Networks(b0)
    depths = (1.05, 1.1, 1.15, 1.2, 1.25)
    assert {networks.shapes(depth, 1.1) for depth in depths} == {networks.shapes(1.2, 1.1)}
    solved = [Factors(depth, 1.1, 1.0) for depth in (1.0, *depths, 1.3)]
    shallow, same, deep = distinct_candidates(networks, Base(1, 1, 224), Rules(2.0), solved)
    assert same.params == 9_109_994
    assert {same.factors, *same.equal} == {Factors(depth, 1.1, 1.0) for depth in depths}
    assert same.factors.depth == 1.25
    assert shallow.params < same.params < deep.params
    assert shallow.equal == deep.equal == ()
