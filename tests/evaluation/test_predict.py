"""A deployed network says the same about an image, whichever of its files is opened, and nothing else is opened."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytest import param
from torch import Tensor, nn

import ghostlab
from ghostlab.data import DataConfig
from ghostlab.data.transforms import eval_transform
from ghostlab.data.walk import LeftOut, LeftOutKind
from ghostlab.deploy.export.onnx import Onnx
from ghostlab.deploy.network import Description, open_network, write_fused
from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.evaluation.predict import Predictor, find_images, open_classifier
from ghostlab.models import count
from tests.reparam.nets import scatter

NAMES = ["cat", "dog", "hen"]
DATA = {
    **{"name": "imagefolder", "root": ".", "image_size": 16, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]},
    **{"crop_pct": 0.8, "interpolation": "nearest"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with what tools/fuse.py and tools/export.py would write beside it."""
    folder = tmp_path_factory.mktemp("run")
    model = scatter(ghostlab.create_model("test_resnet", num_classes=3)).eval()
    config = {"model": {"name": "test_resnet"}, "data": {**DATA, "num_classes": 3, "class_names": NAMES}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "checkpoints").mkdir()
    torch.save({"state_dict": model.state_dict()}, folder / "checkpoints" / "last.ckpt")
    fused, report = ghostlab.fuse(model)
    counts = count(model, 16), count(fused, 16)
    write_fused(folder, fused, report, counts, config, DataConfig(**DATA).preprocessing(), None)
    if importlib.util.find_spec("onnxruntime"):
        Onnx().convert(open_network(folder), folder / "model.onnx")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> str:
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize("file", [".", "checkpoints/last.ckpt", "fused.safetensors", "fused.json", "model.onnx"])
def test_every_form_of_a_network_says_what_it_said_after_training(run: Path, photo: str, file: str) -> None:
    if file == "model.onnx":
        pytest.importorskip("onnxruntime")
    model = ghostlab.load_weights(ghostlab.create_model("test_resnet", num_classes=3), run / "checkpoints/last.ckpt")
    with torch.no_grad(), Image.open(photo) as image:
        shares = model.eval()(eval_transform(DataConfig(**DATA))(image)[None])[0].softmax(0)
    [said] = open_classifier(run / file).predict([photo], top=2)
    order = shares.argsort(descending=True)[:2].tolist()
    assert [name for name, _ in said.top] == [NAMES[index] for index in order]
    assert [share for _, share in said.top] == pytest.approx(shares[order].tolist(), abs=1e-4)
    assert (said.image, said.error) == (photo, "")


class Mean(nn.Module):
    """The logits are the mean red, green and blue."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


def classifier(model: nn.Module, size: int = 8) -> Predictor:
    how = {
        "input_size": [3, size, size],
        "mean": [0.0] * 3,
        "std": [0.1] * 3,
        "interpolation": "bilinear",
        "crop_pct": 1.0,
    }
    return Predictor("net", model, Description("mean", ("red", "green", "blue"), how))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "1", "I;16", "CMYK"])
def test_an_image_may_have_any_mode(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("L", (9, 12), 255).convert(mode).save(tmp_path / f"white.{suffix}")
    [said] = classifier(Mean()).predict([str(tmp_path / f"white.{suffix}")])
    assert sum(share for _, share in said.top) == pytest.approx(1)
    assert said.error == ""


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    class Top(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images[:, :, 0].mean(2)

    upright = Image.new("RGB", (16, 16), "blue")
    upright.paste("red", (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    upright.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png", exif=exif)
    [said] = classifier(Top()).predict([str(tmp_path / "turned.png")], top=1)
    assert said.top[0][0] == "red"


def test_images_are_answered_in_their_order_in_batches_and_unreadable_ones_are_said(tmp_path: Path) -> None:
    seen: list[int] = []

    class Counting(Mean):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(len(images))
            return super().forward(images)

    for k, color in enumerate(["red", "blue", "green", "blue"]):
        Image.new("RGB", (8, 8), color).save(tmp_path / f"{k}.png")
    (tmp_path / "1.png").write_text("text")
    images = [str(tmp_path / f"{k}.png") for k in range(4)]
    said = [*classifier(Counting()).predict(images, top=1, batch=3)]
    assert [(one.image, one.top[0][0] if one.top else one.error) for one in said] == list(
        zip(images, ["red", "not an image", "green", "blue"], strict=True)
    )
    assert seen == [2, 1]


def test_more_classes_than_there_are_is_all_of_them(photo: str) -> None:
    [said] = classifier(Mean()).predict([photo], top=50)
    assert {name for name, _ in said.top} == {"red", "green", "blue"}
    assert [share for _, share in said.top] == sorted((share for _, share in said.top), reverse=True)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        param(lambda images: torch.zeros(len(images), 4), "net: answers 1 x 4 numbers; expected 1 x 3", id="classes"),
        param(
            lambda images: torch.full((1, 3), torch.nan), "net: answers 1 x 3 numbers; expected 1 x 3 finite", id="nan"
        ),
        param(lambda images: images.view(5, 5), "net: its network cannot be run: shape", id="crash"),
    ],
)
def test_a_network_that_does_not_do_what_it_says_is_an_error(photo: str, answer: Any, line: str) -> None:
    class Wrong(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return answer(images)

    with pytest.raises(RunError, match=line):
        list(classifier(Wrong()).predict([photo]))


def test_folders_are_searched_at_any_depth(tmp_path: Path) -> None:
    names = ["b/2.JPG", "b/1.png", "a.webp", "b/c/3.jpeg", "b/notes.txt", "b/.hidden.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = str(tmp_path)
    left_out = LeftOut()
    found, empty = find_images([f"{root}/b/notes.txt", root, f"{root}/a.webp"], left_out)
    assert found == [f"{root}/{name}" for name in ("b/notes.txt", "a.webp", "b/1.png", "b/2.JPG", "b/c/3.jpeg")]
    assert not empty
    assert dict(left_out.counts) == {LeftOutKind.HIDDEN_IMAGES: 1, LeftOutKind.AGAIN: 1}


def test_what_is_not_there_and_folders_without_images_do_not_cost_the_others_their_answer(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    red, gone, empty = (str(tmp_path / name) for name in ("red.png", "gone.png", "empty"))
    images, others = find_images([gone, empty, red], LeftOut())
    assert [(one.image, one.error[:27]) for one in others] == [(empty, "no images in this folder; r")]
    said = [*classifier(Mean()).predict(images, top=1)]
    assert [(one.image, one.error, one.top[:1] and one.top[0][0]) for one in said] == [
        (gone, "No such file or directory", ()),
        (red, "", "red"),
    ]
    with pytest.raises(UsageError, match=r"gone\.png': no such file or folder"):
        find_images([gone], LeftOut())
    with pytest.raises(UsageError, match=r"empty': no images in this folder; read are \.jpg"):
        find_images([empty], LeftOut())


ODD = {
    "1x65500": Image.new("RGB", (1, 65500), "red"),
    "65500x1": Image.new("RGB", (65500, 1), "red"),
    "floats": Image.fromarray(np.full((8, 8), 0.5, np.float32)),
    "integers": Image.fromarray(np.full((8, 8), 100, np.int32)),
}


def test_odd_images_are_answered_or_said_and_the_others_answered(tmp_path: Path) -> None:
    for name, image in ODD.items():
        image.save(tmp_path / f"{name}.tif")
    (tmp_path / "text.png").write_text("text")
    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (30, 30), "red").save(tmp_path / "ok.png")
    images, _ = find_images([str(tmp_path)], LeftOut())
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 500 * 2**20, hard))
    try:
        said = [*classifier(Mean(), size=224).predict(images, top=1)]
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    answered = {Path(one.image).stem: one.top[0][0] for one in said if one.top}
    assert answered == {"1x65500": "red", "65500x1": "red", "ok": "red"}
    assert {Path(one.image).stem: one.error[:12] for one in said if one.error} == {
        "floats": "floats of 32",
        "integers": "integers of ",
        "text": "not an image",
    }


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("content", ["pickle", "text", "truncated"])
@pytest.mark.parametrize("name", ["fused.safetensors", "model.onnx", "checkpoints/last.ckpt"])
def test_damaged_and_foreign_files_are_one_line_and_nothing_in_them_is_executed(
    run: Path, tmp_path: Path, name: str, content: str
) -> None:
    if name == "model.onnx":
        pytest.importorskip("onnxruntime")
    folder, made = tmp_path / "run", tmp_path / "made"
    shutil.copytree(run, folder)
    whole = (run / name).read_bytes()
    contents = {"pickle": pickle.dumps(Harmful(str(made))), "text": b"hello", "truncated": whole[: len(whole) // 2]}
    (folder / name).write_bytes(contents[content])
    with pytest.raises(RunError) as raised:
        open_classifier(folder / name)
    assert name.rpartition("/")[2] in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not made.exists()


@pytest.mark.parametrize(
    "change",
    [{"model": {"name": "test_resnet", "checkpoint_path": "x.pt"}}, {"preprocessing": {}}, {"model": []}],
)
def test_a_description_that_was_changed_is_refused(run: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    shutil.copy(run / "fused.safetensors", tmp_path)
    (tmp_path / "fused.json").write_text(json.dumps({**json.loads((run / "fused.json").read_text()), **change}))
    with pytest.raises(GhostlabError, match=r"fused\.json"):
        open_classifier(tmp_path / "fused.safetensors")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("none.onnx", "'.*none.onnx': no such file"),
        (
            "notes.txt",
            r"'.*notes.txt': not a network; expected a file that ends in .*\.onnx.*, a fused.safetensors, or a",
        ),
    ],
)
def test_what_is_no_network_is_refused(tmp_path: Path, name: str, line: str) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UsageError, match=line):
        open_classifier(tmp_path / name)
