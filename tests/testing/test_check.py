"""What is offered to authors of strategies passes a good one and says what is wrong with others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest import param

from ghostlab.strategies import STRATEGIES
from ghostlab.strategies.registry import load, register_modules
from ghostlab.testing import SmallRuns, check_card, check_config, check_joined, check_killed, check_strategy, runs
from ghostlab.testing.check import HEADINGS

GROUP = ("reparam+erasing+cosine+kd", {})
SOURCE = '''
from dataclasses import dataclass
import torch
from ghostlab.strategies.base import Strategy

@dataclass
class Scaled(Strategy):
    """Images times a number."""
    name = "scaled"
    stage = "images"
    by: float = 2.0

    def tensor_transforms(self, task):
        return [lambda image: image * self.by]

    def describe(self):
        return f"by {self.by:g}"
'''
TRANSFORM = """tensor_transforms(self, task):
        return [lambda image: image * self.by]"""
DOUBLED = """change_targets(self, targets, task):
        return torch.nn.functional.one_hot(targets, 4) * self.by"""
ITEM = """loss_terms(self, step):
        return {"scaled": step.logits.mean() * max(1.0, step.logits.max().item())}"""
CARD = "# scaled\n" + "".join(f"## {heading}\n" for heading in HEADINGS)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, below which modules are found; what is registered is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(runs, "GROUPS", (GROUP,))
    known = dict(STRATEGIES)
    yield tmp_path
    STRATEGIES.clear()
    STRATEGIES.update(known)
    sys.modules.pop("scaled", None)


def written(old: str = "", new: str = "") -> type:
    assert old in SOURCE
    Path("scaled.py").write_text(SOURCE.replace(old, new), encoding="utf-8")
    register_modules(["scaled"])
    return load("scaled")


def test_a_good_one_passes_by_its_class_alone(folder: Path) -> None:
    Path("scaled.py").write_text(
        SOURCE.replace("lambda image: image * self.by", "self.scale") + SCALE, encoding="utf-8"
    )
    from scaled import Scaled  # type: ignore[import-not-found]

    (folder / "scaled.yaml").write_text("# Scales. Card: scaled.md\nscaled:\n  by: 2.0  # a number\n", encoding="utf-8")
    table, code = "| `strategy.scaled.by` | `2.0` | a number |\n", "```python\nimport scaled\n```\n"
    (folder / "scaled.md").write_text(CARD + table + code, encoding="utf-8")
    check_strategy(Scaled, folder / "runs", {"by": 0.5}, config=folder / "scaled.yaml", card=folder / "scaled.md")
    assert len(list((folder / "runs").rglob("result.json"))) == 4  # a teacher, whole, killed, in two processes


SCALE = """
    def scale(self, image):
        return image * self.by
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        param("image * self.by", "image.double()", "scaled: images are torch.float64", id="type"),
        param("image * self.by", "image[:, :8]", r"scaled: images have the shapes {\(6, 3, 8, 16\)}", id="shape"),
        param(TRANSFORM, DOUBLED, r"scaled: probabilities of targets add up to \[2.0, 2.0", id="targets"),
        param("image * self.by", "image * float('nan')", "scaled: no finite gradient for stem.weight", id="nan"),
        param(TRANSFORM, ITEM, "scaled: its step asks for a value, which a GPU would be waited for", id="waits"),
    ],
)
def test_a_step_that_is_wrong_is_said(old: str, new: str, told: str) -> None:
    written(old, new)
    with pytest.raises(AssertionError, match=told):
        check_joined("scaled", {})


def test_what_a_kill_changes_is_said(folder: Path) -> None:
    written("return [lambda image: image * self.by]", COUNTED)
    with pytest.raises(AssertionError, match=r"scaled: after a kill other weights: model.conv_stem.weight"):
        check_killed("scaled", {}, SmallRuns(folder / "runs", plugins=["scaled"]))


COUNTED = """
        self.count = 0
        def transform(image):
            self.count += 1
            return image * self.count
        return [transform]
"""


def test_a_config_or_a_card_of_other_knobs_is_said(folder: Path) -> None:
    written()
    file = folder / "scaled.yaml"
    file.write_text("# Scales\nscaled:\n  by: 3.0  # a number\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"scaled.yaml has {'scaled': {'by': 3.0}}, the class"):
        check_config("scaled", file)
    file.write_text("# Scales\nscaled:\n  by: 2.0\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"scaled.yaml: no comment in '  by: 2.0'"):
        check_config("scaled", file)
    card = folder / "scaled.md"
    card.write_text(CARD, encoding="utf-8")
    with pytest.raises(AssertionError, match=r"scaled.md has the knobs {}, the class {'by': 2.0}"):
        check_card("scaled", card)
    card.write_text("# scaled\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"scaled.md has the headings \[\], not"):
        check_card("scaled", card)
