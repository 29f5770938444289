"""Run folders that are cut off, empty, of wrong types or of other versions, given to every command that reads one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from tests.conftest import Command
from tests.training_runs import trained_run

JOB = [
    *("model=timm", "model.name=test_resnet", "trainer.max_epochs=1", "trainer.accelerator=cpu"),
    *("data.image_size=8", "data.batch_size=256", "data.val_fraction=0.8"),
]
COMMANDS = {
    "train": ["train.py", *JOB],
    "pretrained": ["train.py", *JOB, "seed=1", "model.pretrained={run}"],
    "teacher": ["train.py", *JOB, "strategy=kd", "strategy.kd.teacher={run}"],
    "fuse": ["tools/fuse.py", "{run}", "--out", "out"],
    "export": ["tools/export.py", "{run}", "--to", "torch_export", "--out", "out"],
    "publish": ["tools/publish.py", "{run}", "--out", "out", "--licence", "mit"],
    "predict": ["tools/predict.py", "{run}", "image.png"],
    "cam": ["tools/cam.py", "image.png", "{run}", "--out", "cam.png"],
    "latency": ["tools/benchmark.py", "latency", "{run}", "--repeats", "1", "--batch", "1"],
    "report": ["tools/report.py", "outputs"],
}

Damage = Callable[[Path], object]


def text(file: str, content: str | bytes) -> Damage:
    encoded = content if isinstance(content, bytes) else content.encode()
    return lambda run: (run / file).write_bytes(encoded)


def cut(file: str) -> Damage:
    return lambda run: (run / file).write_bytes((run / file).read_bytes()[: (run / file).stat().st_size // 2])


def folder(file: str) -> Damage:
    def damage(run: Path) -> None:
        (run / file).unlink()
        (run / file).mkdir()

    return damage


def config(key: str, value: Any) -> Damage:
    def damage(run: Path) -> None:
        content = yaml.safe_load((run / "config.yaml").read_text())
        *parents, name = key.split(".")
        node = content
        for parent in parents:
            node = node[parent]
        if value is None:
            del node[name]
        else:
            node[name] = value
        (run / "config.yaml").write_text(yaml.safe_dump(content))

    return damage


def result(**values: Any) -> Damage:
    return lambda run: (run / "result.json").write_text(
        json.dumps({**json.loads((run / "result.json").read_text()), **values})
    )


def unfinished(then: Damage) -> Damage:
    def damage(run: Path) -> None:
        (run / "result.json").unlink()
        then(run)

    return damage


def checkpoint(content: Any) -> Damage:
    return unfinished(lambda run: torch.save(content, run / "checkpoints" / "last.ckpt"))


def without(key: str) -> Damage:
    def damage(run: Path) -> None:
        file = run / "checkpoints" / "last.ckpt"
        content = torch.load(file, weights_only=True)
        del content[key]
        torch.save(content, file)

    return unfinished(damage)


LAST = "checkpoints/last.ckpt"
CONFIGS = {
    "config-empty": text("config.yaml", ""),
    "config-cut": cut("config.yaml"),
    "config-no-text": text("config.yaml", b"\xff\xfe\x00"),
    "config-a-list": text("config.yaml", "- 1"),
    "config-a-number": text("config.yaml", "3"),
    "config-a-folder": folder("config.yaml"),
    "config-python": text("config.yaml", "model: !!python/object/apply:os.system [true]"),
    "model-a-number": config("model", 3),
    "no-model": config("model", None),
    "name-a-list": config("model.name", [1]),
    "model-of-another-version": config("model.name", "ghostnetv9"),
    "option-of-another-version": config("model.swish", True),
    "width-a-word": config("model.drop_rate", "wide"),
    "data-a-word": config("data", "digits"),
    "data-of-another-version": config("data.name", "digitz"),
    "data-key-of-another-version": config("data.cutout", 4),
    "no-mean": config("data.mean", None),
    "mean-a-word": config("data.mean", "grey"),
    "size-a-word": config("data.image_size", "big"),
    "no-size": config("data.image_size", None),
    "classes-a-word": config("data.num_classes", "ten"),
    "classes-negative": config("data.num_classes", -10),
    "classes-too-few": config("data.class_names", ["0"]),
    "classes-other": config("data.class_names", list("abcdefghij")),
    "no-strategy": config("strategy", None),
    "strategy-of-another-version": config("strategy", {"newest": {"a": 1}}),
    "strategy-a-word": config("strategy", "kd"),
    "seed-a-word": config("seed", "one"),
    "no-trainer": config("trainer", None),
}
RESULTS = {
    "result-empty": text("result.json", ""),
    "result-cut": cut("result.json"),
    "result-no-text": text("result.json", b"\xff\xfe\x00"),
    "result-a-list": text("result.json", "[1]"),
    "result-nothing-in-it": text("result.json", "{}"),
    "result-a-folder": folder("result.json"),
    "top1-nan": result(top1=float("nan")),
    "top1-a-word": result(top1="high"),
    "seconds-null": result(seconds=None),
    "remarks-null": result(remarks=None),
    "versions-a-word": result(versions="2"),
    "hash-a-list": result(config_hash=[1]),
}
CHECKPOINTS = {
    "last-empty": unfinished(text(LAST, "")),
    "last-cut": unfinished(cut(LAST)),
    "last-no-archive": unfinished(text(LAST, "weights")),
    "last-a-folder": unfinished(folder(LAST)),
    "last-a-list": checkpoint([1]),
    "last-of-another-network": checkpoint({"epoch": 0, "state_dict": {"a": torch.zeros(1)}}),
    "last-without-optimizer": without("optimizer_states"),
    "last-without-epoch": without("epoch"),
    "last-without-callbacks": without("callbacks"),
    "last-missing": unfinished(lambda run: (run / LAST).unlink()),
}
OTHERS = {
    "metrics-no-text": text("metrics.csv", b"\xff\x00\n1"),
    "metrics-a-folder": folder("metrics.csv"),
    "images-cut": cut("images.npz"),
    "images-no-archive": text("images.npz", "images"),
    "error-a-folder": lambda run: (run / "error.txt").mkdir(),
    "nothing": lambda run: None,
    "unfinished": unfinished(lambda run: None),
}
DAMAGES: dict[str, Damage] = {**CONFIGS, **RESULTS, **CHECKPOINTS, **OTHERS}
OPENING = ("pretrained", "teacher", "export", "publish", "predict", "cam", "latency")
"""Commands that open the network of a run as ``fuse`` does, so that not each has to meet every damage."""
NO_RUN = ("config-empty", "config-a-list", "config-a-folder", "no-model", "data-a-word", "classes-too-few")
"""Damages after which nothing says what the run is."""
UNFINISHED = ("last-without-optimizer", "last-without-epoch", "last-without-callbacks", "unfinished")
"""Damages after which the weights are there, of which a line says that they are those of now."""
PAIRS = [
    *((command, damage) for damage in CONFIGS for command in ("fuse", "report")),
    *((command, damage) for damage in ("config-a-list", "no-mean") for command in OPENING),
    *(("train", damage) for damage in (*CONFIGS, *RESULTS, *CHECKPOINTS, *OTHERS)),
    *((command, damage) for damage in RESULTS for command in ("publish", "report")),
    *(("fuse", damage) for damage in CHECKPOINTS),
    *((command, damage) for damage in OTHERS for command in ("fuse", "report")),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("whole") / "outputs"
    return trained_run(outputs, JOB)


@pytest.mark.parametrize(("command", "damage"), list(dict.fromkeys(PAIRS)))
def test_a_damaged_run_is_one_line(trained: Path, call: Command, command: str, damage: str) -> None:
    """What would be a traceback is raised by ``call``."""
    run = damaged(trained, damage)
    done = call(*(part.format(run=run) for part in COMMANDS[command]))
    told = done.returncode != 0 or (command == "fuse" and damage in UNFINISHED)
    assert len(done.stderr.splitlines()) == told, done.stderr
    assert done.returncode in (0, 1, 2)
    if damage in NO_RUN and command != "report":
        assert done.returncode in (1, 2) and str(run) in done.stderr


def damaged(trained: Path, damage: str) -> Path:
    """The folder of a damaged copy below the working folder."""
    shutil.copytree(trained.parents[3], "outputs")
    [run] = (path.parent for path in Path("outputs").rglob("config.yaml"))
    Image.new("RGB", (8, 8)).save("image.png")
    DAMAGES[damage](run)
    return run
