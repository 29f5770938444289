"""tools/fuse.py on a real run: what it prints and writes, and that the files open again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch

import ghostlab
from ghostlab.runs.run import open_run
from tests.conftest import Command, run_in
from tests.training_runs import trained_run

QUICK = [
    *("data.image_size=8", "data.val_fraction=0.2", "data.batch_size=256", "model.width=0.1"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=1"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("outputs"), [*QUICK, "strategy=reparam+ema"])


@pytest.fixture(scope="module")
def printed(trained: Path) -> str:
    """What fusing that run prints; it leaves its files beside the run's."""
    done = run_in(trained, "tools/fuse.py", ".")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_fused_with_proof_and_the_accuracy_it_was_reported_with(printed: str, trained: Path) -> None:
    # At this width three primary convolutions have as many outputs as inputs, so they have an identity branch, too.
    assert "68 grown (204 branches, 36 scale, 35 identity), 54 plain; left as they are: 0" in printed
    described = json.loads((trained / "fused.json").read_text())
    result = json.loads((trained / "result.json").read_text())
    assert described["accuracy"]["before"] == pytest.approx(result["top1_ema"])
    assert described["accuracy"]["after"] == pytest.approx(result["top1_ema"], abs=0.3)
    assert described["after"] == {"params": result["params_deploy"], "macs": result["macs_deploy"]}
    assert described["before"]["params"] == result["params_train"]
    assert described["folded"]["difference64"] < 1e-9
    assert described["preprocessing"]["input_size"] == [3, 8, 8]
    assert described["class_names"] == [str(digit) for digit in range(10)]


def test_the_fused_file_opens_again_and_answers_the_same(printed: str, trained: Path) -> None:
    described = json.loads((trained / "fused.json").read_text())
    model = ghostlab.create_model(**described["model"], num_classes=described["num_classes"])
    fused = ghostlab.load_weights(model, trained / "fused.safetensors").eval()
    assert not [name for name, _ in fused.named_modules() if name.endswith("running_mean")]
    images = torch.randn(4, 3, 8, 8)
    original, _ = open_run(trained)
    torch.testing.assert_close(fused(images), original(images), rtol=1e-4, atol=1e-4)


def test_a_checkpoint_of_a_run_is_fused_as_well(call: Command, trained: Path, tmp_path: Path) -> None:
    done = call("tools/fuse.py", str(trained / "checkpoints" / "best.ckpt"), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"fused.safetensors", "fused.json"}
    assert len({file.stat().st_mode for file in (tmp_path / "out").iterdir()}) == 1  # readable by the same people


def test_a_checkpoint_of_another_project_is_fused_by_the_name_of_its_model(call: Command, tmp_path: Path) -> None:
    timm_model = timm.create_model("ghostnetv3_050", num_classes=7).eval()
    torch.save({"state_dict": timm_model.state_dict()}, tmp_path / "v3.pth.tar")
    named = ("--model", "ghostnetv3", "--width", "0.5", "--num-classes", "7")
    done = call("tools/fuse.py", "v3.pth.tar", *named)
    assert done.returncode == 0, done.stderr
    described = json.loads((tmp_path / "fused.json").read_text())
    fused = ghostlab.create_model(**described["model"], num_classes=described["num_classes"])
    ghostlab.load_weights(fused, tmp_path / "fused.safetensors").eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(fused(images), timm_model(images), rtol=1e-4, atol=1e-4)


def broken_copy(trained: Path, folder: Path) -> Path:
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("fused.*"))
    return folder


def test_a_truncated_checkpoint_is_named_and_nothing_is_written(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    folder = broken_copy(trained, tmp_path / "run")
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    done = command("tools/fuse.py", str(folder))
    assert done.returncode == 1
    assert "last.ckpt" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(folder.glob("fused*"))


def test_a_proof_that_fails_writes_nothing(call: Command, trained: Path, tmp_path: Path) -> None:
    folder = broken_copy(trained, tmp_path / "run")
    last = folder / "checkpoints" / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    saved["state_dict_ema"]["conv_stem.weight"][0, 0, 0, 0] = float("nan")
    torch.save(saved, last)
    done = call("tools/fuse.py", str(folder))
    assert done.returncode == 1
    assert "differs from the original" in done.stderr.splitlines()[-1]
    assert not list(folder.glob("fused*"))


def test_what_is_no_run_is_bad_usage(call: Command, tmp_path: Path) -> None:
    done = call("tools/fuse.py", str(tmp_path))
    assert done.returncode == 2
    assert "not a run folder or a checkpoint in one" in done.stderr
