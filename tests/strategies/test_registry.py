"""Names of strategies: joining them, and what is refused at once."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.strategies import STRATEGIES, join, load


@pytest.mark.parametrize(
    ("text", "names"),
    [
        param("kd", ("kd",), id="one"),
        param("kd+reparam", ("reparam", "kd"), id="in-the-order-of-the-table"),
        param("ema+mixup+droppath", ("droppath", "mixup", "ema"), id="three"),
        param("ghostnetv3", ("reparam", "randaugment", "erasing", "kd", "cosine", "ema"), id="recipe"),
    ],
)
def test_names_become_an_ordered_list(text: str, names: tuple[str, ...]) -> None:
    assert join(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        param("kd+repram", "strategy 'kd+repram': no strategy 'repram'; did you mean 'reparam'?", id="nearest"),
        param("kd+kd", "'kd' is named twice", id="twice"),
        param("kd+", "no strategy ''", id="empty-part"),
        param("cosine+step", "'cosine' and 'step' exclude each other, both are a learning-rate schedule", id="slot"),
    ],
)
def test_what_cannot_be_joined_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        join(text)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_entry_loads_a_class_of_that_name(name: str) -> None:
    assert load(name).name == name


def test_a_mistyped_name_is_answered_without_torch() -> None:
    code = "import sys, ghostlab.strategies as s; s.join('kd+ema'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
