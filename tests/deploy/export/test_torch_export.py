"""PyTorch executes what it finds in a .pt2 file; this package reads only files in which there is nothing to execute."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.deploy.export.torch_export import TorchExport
from ghostlab.deploy.network import Network
from ghostlab.errors import RunError
from tests.deploy.networks import network

GRAPH, INPUTS = "models/model.json", "data/sample_inputs/model.pt"
WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
Entries = dict[str, bytes]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.fixture(scope="module")
def resnet() -> Network:
    return network("test_resnet", 16)


@pytest.fixture(scope="module")
def written(resnet: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "model.pt2"
    TorchExport().convert(resnet, path)
    return path


def pickled_input(entries: Entries, folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save(((Bomb(folder),), {}), buffer)
    entries[INPUTS] = buffer.getvalue()


def pickled_weight(entries: Entries, folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Bomb(folder), buffer)
    config = json.loads(entries[WEIGHTS])
    weight = next(iter(config["config"].values()))
    weight["use_pickle"] = True
    entries[WEIGHTS] = json.dumps(config).encode()
    entries[f"data/weights/{weight['path_name']}"] = buffer.getvalue()


def evaluated_size(entries: Entries, folder: Path) -> None:
    graph = json.loads(entries[GRAPH])
    for symbol in _under(graph, "as_expr"):
        symbol["expr_str"] = f"__import__('os').mkdir({str(folder)!r}) or {symbol['expr_str']}"
        break
    entries[GRAPH] = json.dumps(graph).encode()


class Padded(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return F.pad(images, (1, 1), mode="constant", value=1.0)


def test_a_network_that_pads_by_name_is_read(resnet: Network, tmp_path: Path) -> None:
    padded, path = replace(resnet, model=nn.Sequential(Padded(), resnet.model).eval()), tmp_path / "model.pt2"
    TorchExport().convert(padded, path)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(TorchExport().open(path)(images), padded.model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("attack", [pickled_input, pickled_weight, evaluated_size])
def test_a_file_that_would_execute_something_is_refused(
    written: Path, tmp_path: Path, attack: Callable[[Entries, Path], None]
) -> None:
    bomb, path = tmp_path / "executed", tmp_path / "model.pt2"
    _rewrite(written, path, lambda entries: attack(entries, bomb))
    with pytest.raises(RunError, match=r"model\.pt2: not read, as .*(pickle|may execute)"):
        TorchExport().open(path)
    assert not bomb.exists()
    try:
        torch.export.load(path)
    except Exception:  # what was executed is no tensor
        assert bomb.exists()
    assert bomb.exists()


def _target(entries: Entries, target: str) -> None:
    graph = json.loads(entries[GRAPH])
    graph["graph_module"]["graph"]["nodes"][0]["target"] = target
    entries[GRAPH] = json.dumps(graph).encode()


def _replaced(entry: str, old: bytes, new: bytes) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        assert old in entries[entry]
        entries[entry] = entries[entry].replace(old, new)

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda entries: _target(entries, "torch.os.system"), id="a function of another module"),
        pytest.param(lambda entries: _target(entries, "torch.ops.aten._foo.default"), id="a private operator"),
        pytest.param(lambda entries: _target(entries, "_operator.attrgetter"), id="attributes"),
        pytest.param(_replaced(GRAPH, b'"torch_version": "', b'"torch_version": "\\nimport os'), id="code as a name"),
        pytest.param(_replaced(GRAPH, b"builtins.tuple", b"collections.defaultdict"), id="another class"),
        pytest.param(_replaced(GRAPH, b'"guards_code": []', b'"guards_code": ["f() == 1"]'), id="a guard with a call"),
        pytest.param(lambda entries: entries.update({"data/constants/custom_obj_0": b""}), id="an object"),
        pytest.param(lambda entries: entries.update({"data/aotinductor/model/a.so": b""}), id="machine code"),
    ],
)
def test_nothing_is_read_but_tensors_operators_and_arithmetic(
    written: Path, tmp_path: Path, change: Callable[[Entries], None]
) -> None:
    _rewrite(written, tmp_path / "model.pt2", change)
    with pytest.raises(RunError, match="not read, as"):
        TorchExport().open(tmp_path / "model.pt2")


def test_the_rewritten_file_itself_is_read(resnet: Network, written: Path, tmp_path: Path) -> None:
    _rewrite(written, tmp_path / "model.pt2", lambda entries: None)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(TorchExport().open(tmp_path / "model.pt2")(images), resnet.model(images))


def test_sizes_of_every_kind_are_read(tmp_path: Path) -> None:
    ghost = network("ghostnetv2", 64, width=0.1, depth=0.1)
    TorchExport().convert(ghost, tmp_path / "model.pt2", dynamic_size=True)
    runner = TorchExport().open(tmp_path / "model.pt2")
    for size in [(3, 3, 64, 64), (1, 3, 96, 150)]:
        images = torch.randn(*size)
        torch.testing.assert_close(runner(images), ghost.model(images), rtol=1e-4, atol=1e-5)


def test_no_path_of_the_machine_that_wrote_it_is_in_it(written: Path) -> None:
    with zipfile.ZipFile(written) as archive:
        texts = [name for name in archive.namelist() if "/weight_" not in name]  # random numbers spell anything
        everything = b"".join(map(archive.read, texts))
    assert b"site-packages" not in everything
    assert b".py" not in everything


def _under(value: Any, key: str) -> list[Any]:
    if isinstance(value, dict):
        return [*([value[key]] if key in value else []), *(x for item in value.values() for x in _under(item, key))]
    return [x for item in value for x in _under(item, key)] if isinstance(value, list) else []


def _rewrite(source: Path, path: Path, change: Callable[[Entries], None]) -> None:
    with zipfile.ZipFile(source) as archive:
        root = archive.namelist()[0].split("/")[0]
        entries = {name.removeprefix(f"{root}/"): archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{root}/{name}", content)
