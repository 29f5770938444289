"""Whatever trains is deployed, with batch norms or without: opened, fused, exported, asked and published."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from pytest import param

from ghostlab.benchmarks.contestants import export as exported_for_timing
from ghostlab.benchmarks.contestants import file_deployable
from ghostlab.benchmarks.deployables import find_folded
from ghostlab.deploy.export.formats import FORMATS
from ghostlab.deploy.network import Network, fold, open_network, write_fused
from ghostlab.models import count, create_model
from ghostlab.publish.target import open_saved, save_for_timm, timm_network
from tests.conftest import Command
from tests.deploy.fake_format import Fake
from tests.reparam.nets import scatter
from tests.runs.test_run import write_run

NETWORKS = [
    param("test_byobnet", 32, {}, True, id="RepVGG-like"),
    param("test_coatnet", 64, {"img_size": 64}, True, id="CoAtNet"),
    param("test_convnext", 32, {}, False, id="ConvNeXt"),
    param("test_convnext3", 32, {}, False, id="ConvNeXtV2"),
    param("test_efficientnet_evos", 32, {}, False, id="EvoNorm"),
    param("test_efficientnet_gn", 32, {}, False, id="GroupNorm"),
    param("test_efficientnet_ln", 32, {}, False, id="LayerNorm"),
    param("test_mambaout", 32, {}, False, id="MambaOut"),
    param("test_nfnet", 32, {}, False, id="NFNet"),
    param("test_vit", 32, {"img_size": 32}, False, id="ViT"),
    param("test_vit3", 32, {"img_size": 32}, False, id="ViT-registers"),
    param("test_vit_relpos", 32, {"img_size": 32}, False, id="ViT-relative"),
]


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def run_of(folder: Path, name: str, size: int, options: dict[str, Any]) -> tuple[Path, torch.nn.Module]:
    model = scatter(create_model(name, num_classes=4, **options)).eval()
    data = {"name": "digits", "num_classes": 4, "image_size": size, "class_names": list("abcd")}
    data |= {"mean": [0.5] * 3, "std": [0.25] * 3}
    return write_run(folder, model, config={"model": {"name": name, **options}, "data": data}), model


@pytest.mark.parametrize(("name", "size", "options", "folds"), NETWORKS)
def test_a_run_is_opened_fused_and_published(
    name: str, size: int, options: dict[str, Any], folds: bool, images: torch.Tensor, tmp_path: Path
) -> None:
    run, model = run_of(tmp_path / "run", name, size, options)
    images = images[..., :size, :size]
    expected = model(images).detach()
    close = {"rtol": 0, "atol": 1e-4 * expected.abs().max().item()}
    network = open_network(run)
    assert network.folded == folds
    torch.testing.assert_close(network.model(images), expected, **close)
    _, report = fold(model, images)
    counts = count(model, size), count(network.model, size)
    config = {"model": {"name": name, **options}, "data": {"num_classes": 4}}
    how = network.description.preprocessing
    again = open_network(write_fused(tmp_path / "fused", network.model, report, counts, config, how, None))
    assert again.folded == folds
    torch.testing.assert_close(again.model(images), network.model(images), rtol=0, atol=0)
    target = timm_network(run, config, images)
    save_for_timm(target, tmp_path / "published", how, list("abcd"), "mit")
    torch.testing.assert_close(open_saved(tmp_path / "published")(images), expected, **close)


@pytest.mark.parametrize(
    ("name", "size", "options", "form"),
    [
        param("test_vit_relpos", 32, {"img_size": 32}, "onnx", id="ViT-with-a-mask-onnx"),
        param("test_vit", 48, {}, "torch_export", id="ViT-resized-torch_export"),
    ],
)
def test_it_is_exported_and_answers_the_same(
    name: str, size: int, options: dict[str, Any], form: str, tmp_path: Path
) -> None:
    pytest.importorskip(FORMATS[form].packages[-1])
    network: Network = open_network(run_of(tmp_path / "run", name, size, options)[0])
    file = tmp_path / f"model{FORMATS[form].files[0]}"
    FORMATS[form].convert(network, file)
    expected = network.model(network.example).detach()
    found = FORMATS[form].open(file)(network.example)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_what_a_command_says_comes_next_works(call: Command, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "photos/one.png")
    model = ("model=timm", "model.name=test_efficientnet_gn", "data.image_size=32", "data.val_fraction=0.8")
    trained = call("train.py", *model, "trainer.max_epochs=1", "trainer.accelerator=cpu", "outputs='my runs'")
    assert trained.returncode == 0, trained.stderr
    python, script, *arguments = shlex.split(trained.stdout.splitlines()[-1].removeprefix("next: "))
    assert python == "python"
    done = call(script, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing to fold, as there are no branches and no batch norms: written as it was")
    [run] = (file.parent for file in (tmp_path / "my runs").rglob("result.json"))
    assert json.loads((run / "fused.json").read_text())["folded"] is None
    for source in (run, run / "fused.safetensors"):
        seen = call("tools/predict.py", str(source), "photos", "--top", "1")
        assert (seen.returncode, seen.stderr) == (0, "")
        assert seen.stdout.startswith("photos/one.png\t")
    published = call("tools/publish.py", str(run), "--out", "hub", "--licence", "mit")
    assert published.returncode == 0, published.stderr


def test_its_latency_is_measured_as_it_was_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "fake", Fake())
    found = find_folded("test_convnext", 32)
    assert found.build()[1] == "as built"
    exported_for_timing(found, "fake", tmp_path / "model")
    ready = file_deployable(str(tmp_path / "model.fake")).prepare()
    assert (ready.params, ready.macs) == count(create_model("test_convnext"), 32)
