"""A file is put in its place only when its answers are PyTorch's, and what it is stands beside it."""

from __future__ import annotations

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import pytest
import torch
from torch import nn

from ghostlab.deploy.export.check import Reference
from ghostlab.deploy.export.export import Int8, export, export_int8
from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.export.staging import staged
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError, UsageError

FACTS = Description(
    "net",
    ("cat", "dog"),
    {"input_size": [3, 8, 8], "mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear", "crop_pct": 1.0},
)


@dataclass(frozen=True)
class Pretended(Format):
    """Two files: what runs answers ``factor`` times what the network does."""

    name = "pretended"
    files = (".one", ".two")
    extra = "onnx"
    packages = ("pytest",)
    factor: float = 1.0
    here: bool = True

    @property
    def runs_here(self) -> bool:
        return self.here

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        torch.save(network.model.state_dict(), path)
        path.with_suffix(".two").write_text(network.description.text())

    def describe(self, path: Path) -> Description:
        return Description.parse(path.with_suffix(".two").read_text(), path)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        model = net()
        model.load_state_dict(torch.load(path, weights_only=True))
        return Runner(lambda images: self.factor * model(images))

    def check_structure(self, path: Path, network: Network) -> str:
        return f"{path.name} looks right"


def net() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))


@pytest.fixture
def network() -> Network:
    return Network(net(), FACTS, None)


def test_what_agrees_is_put_in_its_place_and_noted(network: Network, tmp_path: Path) -> None:
    written = export(Pretended(), network, Reference(network, None), tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"model.one", "model.two", "export.json", ".lock"}
    noted = json.loads((tmp_path / "out/export.json").read_text())["formats"]["pretended"]
    assert noted["file"] == written.file == "model.one"
    assert noted["bytes"] == sum((tmp_path / "out" / f"model{suffix}").stat().st_size for suffix in Pretended.files)
    assert noted["difference"] == 0
    assert noted["runtime"].startswith("pytest ")
    assert Pretended().describe(tmp_path / "out/model.one") == FACTS


@pytest.mark.parametrize("factor", [1.01, float("nan")])
def test_what_differs_is_refused_and_the_last_good_file_stays(network: Network, tmp_path: Path, factor: float) -> None:
    reference = Reference(network, None)
    export(Pretended(), network, reference, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(RunError, match=r"pretended: its answers differ .* nothing written"):
        export(Pretended(factor), network, reference, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_cannot_be_run_here_is_looked_at(network: Network, tmp_path: Path) -> None:
    written = export(Pretended(here=False), network, Reference(network, None), tmp_path)
    assert (written.difference, written.top1, written.remark) == (None, None, "model.one looks right")


def test_files_that_are_gone_are_noted_no_longer(network: Network, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Other(Pretended):
        name = "other"
        files = (".three",)

    reference = Reference(network, None)
    export(Pretended(), network, reference, tmp_path)
    export(Other(), network, reference, tmp_path)
    assert set(json.loads((tmp_path / "export.json").read_text())["formats"]) == {"pretended", "other"}
    (tmp_path / "model.one").unlink()
    export(Other(), network, reference, tmp_path)
    assert set(json.loads((tmp_path / "export.json").read_text())["formats"]) == {"other"}


def test_int8_needs_images(network: Network, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--int8: needs the run's images"):
        export_int8(Pretended(), network, Reference(network, None), tmp_path, Int8())
    assert not list(tmp_path.iterdir())


def test_a_bound_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(UsageError, match="--max-drop -1"):
        Int8(max_drop=-1)
    with pytest.raises(UsageError, match="--calibration 0"):
        Int8(images=0)


def test_what_is_not_installed_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--to pretended: pytest is not installed; pip install 'ghostlab\[onnx\]'"):
        Pretended().require()


def test_exports_at_once_note_all_their_files(tmp_path: Path) -> None:
    ready = Barrier(8)

    def written(number: int) -> None:
        for again in range(4):
            with staged(Pretended(), tmp_path, f"int{number}.{again}") as place:
                for suffix in Pretended.files:
                    place.path.with_suffix(suffix).write_text("x")
                ready.wait(10)
                place.commit()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(written, range(8)))
    assert len(json.loads((tmp_path / "export.json").read_text())["formats"]) == 32
