"""Every format: its file answers what the network answers, and says what it is; a damaged or foreign one is refused."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from ghostlab.deploy.export.attention import DoublingAttention, SizedAttention
from ghostlab.deploy.export.checksums import split_description
from ghostlab.deploy.export.format import Format
from ghostlab.deploy.export.formats import FORMATS, format_of
from ghostlab.deploy.lean import LeanAttention, lean
from ghostlab.deploy.network import Network
from ghostlab.errors import RunError, UsageError
from ghostlab.models import ghostnet
from ghostlab.models.ghost_blocks import BlockRow
from tests.deploy.networks import network

SIZE = 17
TABLE = ((BlockRow(3, 16, 16, False, 2),), (), (BlockRow(5, 48, 24, True, 2),), (BlockRow(3, 72, 24, False, 1),))
"""The last two have gates, which are enlarged from 2 to 5 and from 1 to 3 pixels."""


@dataclass(frozen=True)
class Exported:
    form: Format
    network: Network
    path: Path

    def parts(self) -> list[Path]:
        """The files that it consists of."""
        files = [self.path] if self.path.is_file() else [file for file in self.path.rglob("*.m*") if file.is_file()]
        siblings = [file for file in self.path.parent.iterdir() if file.is_file() and file != self.path]
        return [*files, *siblings]

    def copied(self, folder: Path) -> Exported:
        shutil.copytree(self.path.parent, folder / "copy")
        return Exported(self.form, self.network, folder / "copy" / self.path.name)


def of_table(size: int, **options: Any) -> Network:
    """A block of each kind; converters take seconds for each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ghostnet, "STAGES", TABLE)
        return network("ghostnetv2", size, **options)


@pytest.fixture(scope="session")
def ghost() -> Network:
    torch.manual_seed(0)
    return of_table(SIZE, width=0.25)


@pytest.fixture(scope="session", params=FORMATS)
def exported(request: pytest.FixtureRequest, ghost: Network, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Converted once, whatever the number of pytest's processes: that takes seconds."""
    form = FORMATS[request.param]
    missing = [name for name in form.packages if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "formats" / form.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "files" / f"model{form.files[0]}"
    with FileLock(folder / "lock"):
        if not path.parent.exists():
            path.parent.mkdir()
            form.convert(ghost, path)
    return Exported(form, ghost, path)


def test_the_file_answers_what_the_network_answers_whatever_the_batch(exported: Exported) -> None:
    if not exported.form.runs_here:
        with pytest.raises(UsageError, match="runs on macOS only"):
            exported.form.open(exported.path)
        return
    runner = exported.form.open(exported.path, threads=1)
    for batch in (1, 3):
        images = torch.randn(batch, 3, SIZE, SIZE)
        expected = exported.network.model(images).detach()
        torch.testing.assert_close(runner(images), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_the_file_says_what_it_is(exported: Exported) -> None:
    assert exported.form.describe(exported.path) == exported.network.description
    assert format_of(exported.path) is exported.form
    written = {path.name for path in exported.path.parent.iterdir()}
    assert written == {f"model{suffix}" for suffix in exported.form.files}


def test_files_that_are_open_with_other_threads_do_not_disturb_each_other(exported: Exported) -> None:
    if not exported.form.runs_here:
        pytest.skip("cannot be opened here")
    first, second = exported.form.open(exported.path), exported.form.open(exported.path, 1)
    expected = first(exported.network.example)
    for runner in (second, first, second):
        torch.testing.assert_close(runner(exported.network.example), expected)


def test_nothing_is_printed_when_it_is_opened(exported: Exported, capfd: pytest.CaptureFixture[str]) -> None:
    if exported.form.runs_here:
        exported.form.open(exported.path, 1)(exported.network.example)
    assert "".join(capfd.readouterr()) == ""


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda content: None,
    "empty": lambda content: b"",
    "half": lambda content: content[: len(content) // 2],
    "short": lambda content: content[:-8],
    "zeros": lambda content: bytes(len(content)),
    "noise": lambda content: bytes((i * 7919 + 13) % 251 for i in range(len(content))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_with_a_damaged_part_is_refused(exported: Exported, damage: str, tmp_path: Path) -> None:
    damaged = exported.copied(tmp_path)
    for part in damaged.parts():
        content = part.read_bytes()
        part.unlink()
        if (changed := DAMAGES[damage](content)) is not None:
            part.write_bytes(changed)
        _assert_refused(damaged)
        part.write_bytes(content)
    assert damaged.form.describe(damaged.path) == damaged.network.description


def test_a_file_of_another_program_is_refused(exported: Exported, tmp_path: Path) -> None:
    foreign = exported.copied(tmp_path)
    STRIPPED[foreign.form.name](foreign.path)
    _assert_refused(foreign)


def _assert_refused(damaged: Exported) -> None:
    for read in (damaged.form.describe, damaged.form.open):
        with pytest.raises(RunError) as caught:
            read(damaged.path)
        assert damaged.path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def _strip_onnx(path: Path) -> None:
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)


def _strip_torch_export(path: Path) -> None:
    graph = torch.export.load(path)
    torch.export.save(graph, path)


def _strip_openvino(path: Path) -> None:
    path.write_text(path.read_text().replace("<ghostlab>", "<another>").replace("</ghostlab>", "</another>"))


def _strip_appended(path: Path) -> None:
    path.write_bytes(split_description(path)[0])


def _strip_coreml(path: Path) -> None:
    from ghostlab.deploy.export.coreml import read_spec, write_spec

    spec = read_spec(path)
    spec.description.metadata.userDefined.clear()
    write_spec(path, spec)


STRIPPED: dict[str, Callable[[Path], Any]] = {
    "onnx": _strip_onnx,
    "torch_export": _strip_torch_export,
    "openvino": _strip_openvino,
    "ncnn": lambda path: path.with_name("model.ncnn.json").unlink(),
    "executorch": _strip_appended,
    "litert": _strip_appended,
    "coreml": _strip_coreml,
}


@pytest.mark.parametrize("exported", ["onnx"], indirect=True)
def test_an_onnx_file_cannot_read_files_outside_of_its_folder(exported: Exported, tmp_path: Path) -> None:
    import onnx

    attack = exported.copied(tmp_path)
    model = onnx.load(attack.path)
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    (tmp_path / "secret").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    attack.path.write_bytes(model.SerializeToString())
    _assert_refused(attack)


@pytest.mark.parametrize("sides", [(33, 33), (7, 10), (64, 97), (1, 1), (1, 5)])
def test_doubled_gates_are_the_enlarged_ones_bit_by_bit(ghost: Network, sides: tuple[int, int]) -> None:
    modules = [m for m in lean(ghost.model).modules() if isinstance(m, LeanAttention)]
    assert modules
    for attention in modules:
        images = torch.randn(2, attention[0].in_channels, *sides)
        torch.testing.assert_close(DoublingAttention(attention)(images), attention(images), rtol=0, atol=0)


@pytest.mark.parametrize("side", [1, 2, 3, 8, 9])
def test_gates_for_ncnn_are_the_enlarged_ones_bit_by_bit(ghost: Network, side: int) -> None:
    for attention in [m for m in lean(ghost.model).modules() if isinstance(m, LeanAttention)]:
        images = torch.randn(2, attention[0].in_channels, side, side)
        torch.testing.assert_close(SizedAttention(attention)(images), attention(images), rtol=0, atol=0)


@pytest.mark.parametrize(("size", "width", "stem"), [(8, 0.25, 2), (4, 0.35, 1)])
def test_ncnn_takes_ghostnets_down_to_maps_of_one_pixel(size: int, width: float, stem: int, tmp_path: Path) -> None:
    pytest.importorskip("pnnx"), pytest.importorskip("ncnn")
    small = of_table(size, width=width, stem_stride=stem)
    assert small.model.forward_features(small.example).shape[-2:] == (1, 1)
    FORMATS["ncnn"].convert(small, tmp_path / "model.ncnn.param")
    expected = small.model(small.example).detach()
    found = FORMATS["ncnn"].open(tmp_path / "model.ncnn.param", 1)(small.example)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


def test_what_is_missing_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"--to onnx: onnxscript is not installed; pip install 'ghostlab\[onnx\]'"):
        FORMATS["onnx"].require()
    FORMATS["ncnn"].require()
