"""A user's mistakes, through the commands: one line on stderr, the right exit code, nothing left on disk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from pytest import param

from tests.conftest import Command

QUICK = (
    "data.image_size=16",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "model=timm",
    "model.name=test_resnet",
)


def check_refused(command: Command, arguments: Sequence[str], line: str, folder: Path) -> None:
    done = command("train.py", *arguments)
    assert line in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.returncode == 2
    assert not list(folder.rglob("seed*"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        param(["strategy=repram"], "no strategy 'repram'; did you mean 'reparam'?", id="while-composing"),
        param(["-m", "strategy=kd,kd+ema", "strategy.kd.alpha=0.5,2"], "strategy.kd.alpha=2", id="sweep"),
    ],
)
def test_a_process_ends_with_one_line_and_exit_2(
    command: Command, tmp_path: Path, arguments: list[str], line: str
) -> None:
    check_refused(command, arguments, line, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        param(
            ["strategy=kd+repram"],
            "strategy 'kd+repram': no strategy 'repram'; did you mean 'reparam'?",
            id="strategy-joined",
        ),
        param(["strategy=kd+kd"], "'kd' is named twice", id="strategy-twice"),
        param(["data.batch_size=5000"], "data.batch_size=5000", id="before-training"),
        param(["strategy=cosine+step"], "'cosine' and 'step' exclude each other", id="strategy-excluded"),
        param(["strategy=kd", "+strategy=ema"], "strategies are joined by '+'", id="strategy-added"),
        param(["+strategy.kd.alpha=0.3", "strategy=reparam"], "choose it by name", id="strategy-half"),
        param(["model=ghostnetv4"], "no model 'ghostnetv4'; did you mean 'ghostnetv", id="model"),
        param(["model=timm", "model.name=resnet81"], "no model 'resnet81'; did you mean 'resnet", id="timm-model"),
        param(["model=timm"], "model.name must be given", id="timm-model-missing"),
        param(["data=cifar1"], "no data 'cifar1'; did you mean 'cifar10", id="data"),
        param(["trainer.max_epoch=3"], "'trainer' has no key 'max_epoch'; did you mean 'max_epochs'?", id="key"),
        param(["trainer.max_epochs=many"], "trainer.max_epochs", id="type"),
        param(["trainer.max_epochs=0"], "trainer.max_epochs=0: must be at least 1", id="epochs"),
        param(["strategy=reparam", "strategy.reparam.branches=0"], "strategy.reparam.branches=0", id="branches"),
        param(["strategy=kd", "strategy.kd.alpha=1.5"], "strategy.kd.alpha=1.5", id="alpha"),
        param(["strategy=kd", "strategy.kd.tau=0"], "strategy.kd.tau=0", id="tau"),
        param(["strategy=ema", "strategy.ema.decay=1"], "strategy.ema.decay=1", id="decay"),
        param(["model.width=0"], "width", id="width"),
        param(["data=imagefolder", "data.root=nowhere"], "data.root=nowhere", id="no-folder"),
        param(["data=imagefolder"], "data.root must be given", id="root-missing"),
        param(["optimizer=adamm"], "no optimizer 'adamm'; did you mean 'adamw'?", id="optimizer"),
        param(["resume=maybe"], "resume=maybe", id="resume"),
        param(["trainer.accelerator=tpux"], "trainer.accelerator=tpux", id="accelerator"),
        param(["force=flase"], "force=flase: must be true or false", id="force"),
        param(["trainer.devices=0", "trainer.accelerator=cpu"], "trainer.devices=0", id="devices"),
        param(["optimizer.betas=[1]"], "optimizer.betas=[1", id="betas"),
        param(["optimizer.lr_per=0"], "optimizer.lr_per=0: images, at least 1, or null", id="lr-per"),
        param(["strategy=exponential", "strategy.exponential.gamma=2"], "strategy.exponential.gamma=2", id="gamma"),
        param(["strategy=exponential+step"], "'exponential' and 'step' exclude each other", id="two-schedules"),
        param(["model.pretrained=nowhere"], "model.pretrained=nowhere: no such run folder or checkpoint", id="no-run"),
        param(["model.pretrained=/tmp"], "model.pretrained=/tmp: this folder holds no run", id="not-a-run"),
        param(["experiment=efficientnet_b0"], "no experiment 'efficientnet_b0'; did you mean", id="experiment"),
        param(["lr=3"], "no key 'lr'", id="top-level-key"),
        param(["strategy"], "'strategy' is not of the form key=value", id="no-value"),
        param(["-m", "strategy=baseline,kd+repram"], "no strategy 'repram'", id="sweep-name"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(call: Command, tmp_path: Path, arguments: list[str], line: str) -> None:
    check_refused(call, arguments, line, tmp_path)


def image_folder(root: Path, broken: bool = False) -> Path:
    for split in ("train", "val"):
        for name, shade in (("dark", 40), ("light", 200)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(12):
                Image.new("RGB", (20, 20), (shade, shade + i, shade)).save(folder / f"{i}.png")
    if broken:
        file = root / "train" / "dark" / "3.png"
        file.write_bytes(file.read_bytes()[:40])
    return root


FOLDER = ("data=imagefolder", "data.root=images", "data.batch_size=8", *QUICK)


def test_an_empty_folder_is_refused(call: Command, tmp_path: Path) -> None:
    (tmp_path / "images" / "train" / "dark").mkdir(parents=True)
    (tmp_path / "images" / "val" / "dark").mkdir(parents=True)
    done = call("train.py", *FOLDER)
    assert done.returncode == 2
    assert "images" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unreadable_image_is_named(command: Command, tmp_path: Path) -> None:
    image_folder(tmp_path / "images", broken=True)
    done = command("train.py", *FOLDER)
    assert done.returncode == 1
    assert "dark/3.png" in done.stderr
    assert done.stderr.count("\n") == 1


def test_unreadable_images_can_be_skipped_and_are_counted(call: Command, tmp_path: Path) -> None:
    image_folder(tmp_path / "images", broken=True)
    done = call("train.py", *FOLDER, "data.on_error=skip")
    assert done.returncode == 0, done.stderr
    [file] = tmp_path.rglob("result.json")
    assert json.loads(file.read_text())["skipped_images"] == 1


def test_a_teacher_with_other_classes_is_refused(call: Command, tmp_path: Path) -> None:
    image_folder(tmp_path / "images")
    assert call("train.py", *FOLDER).returncode == 0
    [config] = tmp_path.rglob("config.yaml")
    done = call("train.py", "strategy=kd", f"strategy.kd.teacher={config.parent}", *QUICK)
    assert done.returncode == 2
    assert "strategy.kd.teacher" in done.stderr
    assert "a teacher of 2 classes cannot teach 10" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "content",
    [
        param(b"", id="empty"),
        param(b"PK\x03\x04" + b"\0" * 100, id="truncated"),
        param(b"not a checkpoint at all", id="foreign"),
    ],
)
def test_a_bad_checkpoint_is_named(call: Command, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "teacher.pth").write_bytes(content)
    teacher = ("strategy.kd.teacher=teacher.pth", "strategy.kd.teacher_model=resnet10t")
    done = call("train.py", "strategy=kd", *teacher, *QUICK)
    assert done.returncode == 1
    assert "teacher.pth" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pickle_with_code_is_not_executed(call: Command, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"state_dict": Evil()}, tmp_path / "teacher.pth")
    teacher = ("strategy.kd.teacher=teacher.pth", "strategy.kd.teacher_model=resnet10t")
    done = call("train.py", "strategy=kd", *teacher, *QUICK)
    assert done.returncode == 1
    assert not (tmp_path / "executed").exists()


def test_a_nan_loss_stops_the_run_in_one_line(call: Command, tmp_path: Path) -> None:
    diverging = ("optimizer=sgd", "optimizer.lr=1e30", *QUICK)
    done = call("train.py", *diverging)
    assert done.returncode == 1
    assert "loss term" in done.stderr and "not finite at step" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("result.json"))
