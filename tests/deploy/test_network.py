"""A description survives its travels, and what is not one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest import param

from ghostlab.deploy.network import Description, open_network
from ghostlab.errors import RunError, UsageError

PREPROCESSING = {
    **{"input_size": [3, 64, 64], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]},
    **{"interpolation": "bicubic", "crop_pct": 0.9},
}
FACTS = Description("ghostnetv2 width=0.35", ("Äpfel", "pears"), PREPROCESSING)


def test_it_is_read_as_it_was_written() -> None:
    assert Description.parse(FACTS.text(), "a file") == FACTS
    assert FACTS.image_size == 64


@pytest.mark.parametrize(
    "change",
    [
        param({"class_names": []}, id="no-classes"),
        param({"class_names": "cat"}, id="a-word"),
        param({"class_names": [1, 2]}, id="numbers"),
        param({"preprocessing": {}}, id="nothing-about-images"),
        param({"preprocessing": {**PREPROCESSING, "input_size": [3, 64, 32]}}, id="not-square"),
        param({"preprocessing": {**PREPROCESSING, "std": [0, 1, 1]}}, id="std-of-zero"),
        param({"preprocessing": {**PREPROCESSING, "interpolation": "guess"}}, id="unknown-interpolation"),
        param({"preprocessing": 3}, id="a-number"),
    ],
)
def test_what_is_wrong_with_one_is_said_in_a_line(change: dict[str, object]) -> None:
    text = json.dumps({**json.loads(FACTS.text()), **change})
    with pytest.raises(RunError, match=r"^model\.onnx: no description") as caught:
        Description.parse(text, "model.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "3", '{"class_names": ["a"]}'])
def test_what_is_no_description_is_told(text: str | None) -> None:
    with pytest.raises(RunError, match="no description of a network"):
        Description.parse(text, "model.onnx")


def test_what_is_no_network_is_bad_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a run folder"):
        open_network(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"model": 3}', '{"weights": "../../etc/passwd"}'])
def test_a_damaged_fused_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "fused.json").write_text(text)
    with pytest.raises(RunError, match=r"fused\.json: not what tools/fuse\.py wrote"):
        open_network(tmp_path / "fused.json")
