from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from pytest import param

from ghostlab.data.config import DATASETS, DataConfig, TeacherConfig
from ghostlab.errors import UsageError
from ghostlab.runs.identity import to_plain_dict

CONF = Path(__file__).parents[2] / "conf"
FILES = sorted((CONF / "data").glob("*.yaml"))
CUSTOM = ("factory", "options")
"""Fields of ``data=custom`` alone."""


def read(path: Path) -> dict[str, Any]:
    """The file as a run sees it whose model names no image size."""
    cfg = OmegaConf.create({"data": OmegaConf.load(path), "outputs": "outputs"})
    given = to_plain_dict(cfg.data)
    if path.stem == "custom":
        return {**given, "name": "sets:load", "factory": "sets:load"}
    return {**given, "root": "somewhere"} if given["root"] == "???" else given


def test_every_data_set_has_a_file() -> None:
    assert [path.stem for path in FILES] == sorted([*DATASETS, "custom"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_names_every_field_in_order_and_is_accepted(path: Path) -> None:
    given = read(path)
    assert [key for key in given if key not in CUSTOM] == [f.name for f in fields(DataConfig) if f.name not in CUSTOM]
    assert {*given} >= {*CUSTOM} if path.stem == "custom" else not {*given} & {*CUSTOM}
    cfg = DataConfig(**given)
    assert cfg.name == ("sets:load" if path.stem == "custom" else path.stem)
    assert cfg.stem_stride == (1 if cfg.image_size <= 32 else 2)
    assert (CONF / "model" / f"{cfg.teacher.model}.yaml").exists()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        param({"name": "cifar1"}, "data.name=cifar1: no data set 'cifar1'; did you mean 'cifar10", id="name"),
        param({"crop": "resied"}, "data.crop=resied: no crop 'resied'; did you mean 'resized'", id="crop"),
        param({"interpolation": "cubic"}, "data.interpolation=cubic: .* did you mean 'bicubic'", id="interpolation"),
        param({"on_error": "skp"}, "data.on_error=skp: .* did you mean 'skip'", id="on_error"),
        param({"image_size": 0}, "data.image_size=0: an integer >= 1", id="image_size"),
        param({"test_size": 0}, "data.test_size=0: null or an integer >= 1", id="test_size"),
        param({"batch_size": 0}, "data.batch_size=0: an integer >= 1", id="batch_size"),
        param({"eval_batch_size": -1}, "data.eval_batch_size=-1: an integer >= 1", id="eval_batch_size"),
        param({"workers": -1}, "data.workers=-1: null or an integer >= 0", id="workers"),
        param({"decoded": "False"}, "data.decoded=False: a folder, or null to decode every time", id="decoded_false"),
        param({"decoded": ""}, "data.decoded=: a folder, or null to decode every time", id="decoded_empty"),
        param({"decoded_gib": 0}, "data.decoded_gib=0: GiB above 0", id="decoded_gib"),
        param({"num_classes": 1}, "data.num_classes=1: null or an integer >= 2", id="num_classes"),
        param({"stem_stride": 0}, "data.stem_stride=0: an integer >= 1", id="stem_stride"),
        param({"crop_scale": 0.0}, "data.crop_scale=0.0: above 0 and at most 1", id="crop_scale"),
        param({"crop_pct": 1.5}, "data.crop_pct=1.5: above 0 and at most 1", id="crop_pct"),
        param({"crop_padding": -1}, "data.crop_padding=-1: pixels >= 0", id="crop_padding"),
        param({"mean": [0.5]}, r"data.mean=\(0.5,\): three numbers", id="mean"),
        param({"std": [1, 1, 0]}, r"data.std=\(1.0, 1.0, 0.0\): three numbers above 0", id="std"),
        param({"val_fraction": 1.0}, "data.val_fraction=1.0: above 0 and below 1", id="val_fraction"),
        param({"root": "x"}, "data.root=x: data=digits has no use for it", id="unused-root"),
        param({"download": True}, "data.download=True: data=digits has no use for it", id="unused-download"),
        param({"name": "imagefolder"}, "data.root=null: data=imagefolder needs it", id="needed-root"),
        param(
            {"name": "cifar10", "root": "x", "val_fraction": 0.1},
            "data.val_fraction=0.1: data=cifar10 has no use for it",
            id="unused-fraction",
        ),
        param({"name": "stanfordcars", "root": "x", "download": True}, "data.download=True", id="not-offered"),
        param({"teacher": {"modle": "x"}}, "data.teacher.modle: no such key; did you mean 'model'", id="teacher"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        DataConfig(**{"name": "digits", **options})
    assert "\n" not in str(caught.value)


def test_test_size_falls_back_to_image_size() -> None:
    assert DataConfig("digits", image_size=48).resolved_test_size == 48
    assert DataConfig("digits", image_size=48, test_size=64).resolved_test_size == 64


def test_plain_values_become_typed_ones() -> None:
    cfg = DataConfig("digits", mean=[0, 0, 1], teacher={"model": "resnet18", "overrides": ["seed=1"]})  # type: ignore[arg-type]
    assert cfg.mean == (0.0, 0.0, 1.0)
    assert cfg.teacher == TeacherConfig("resnet18", ["seed=1"])


def test_checking_a_configuration_does_not_wait_for_torch() -> None:
    code = "import sys; from ghostlab.data import DataConfig; DataConfig('digits'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CONF.parent, check=True)
    assert done.stdout.strip() == "False"
