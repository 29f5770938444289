"""tools/distill_cache.py on a real teacher: built, killed, gone on with, checked and listed."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from ghostlab.distill import AnswerCache
from ghostlab.runs import compose
from ghostlab.training.run import run
from tests.conftest import ROOT, Command

QUICK = [
    *("model=timm", "model.name=test_resnet", "trainer.accelerator=cpu"),
    *("data.image_size=8", "data.val_fraction=0.8", "data.batch_size=128"),
]
IMAGES = 359
JOB = [*QUICK, "strategy=kd+randaugment+mixup"]
JOB += ["strategy.kd.cache=true", "strategy.kd.cache_folder=cache"]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = tmp_path_factory.mktemp("outputs")
    run(compose([*QUICK, "trainer.max_epochs=1", f"outputs={outputs}"]))
    [result] = outputs.rglob("result.json")
    return result.parent


def job(teacher: Path, epochs: int) -> list[str]:
    return [*JOB, f"strategy.kd.teacher={teacher}", f"trainer.max_epochs={epochs}"]


def opened(folder: Path) -> AnswerCache:
    cache = AnswerCache.open(folder)
    assert cache is not None
    return cache


def test_a_cache_is_built_checked_used_and_listed(call: Command, teacher: Path, tmp_path: Path) -> None:
    built = call("tools/distill_cache.py", "build", *job(teacher, 2), "data.workers=2")
    assert built.returncode == 0, built.stderr
    assert "2 epochs of 359 images" in built.stdout
    assert (tmp_path / "cache" / "answers.bin").stat().st_size == 2 * IMAGES * 44
    checked = call("tools/distill_cache.py", "check", *job(teacher, 2), "--samples", "300")
    assert checked.returncode == 0, checked.stderr
    assert "answers asked again, 718 kept: largest difference" in checked.stdout
    listed = call("tools/distill_cache.py", "list", ".")
    assert "cache   top-10, 2 epochs of 359 images, 0.0 MB; randaugment+mixup; teacher test_resnet" in listed.stdout
    trained = call("train.py", *job(teacher, 2))
    assert trained.returncode == 0, trained.stderr
    assert "cache     answers to" not in trained.stdout


def test_another_augmentation_is_refused_and_other_answers_do_not_pass(
    call: Command, teacher: Path, tmp_path: Path
) -> None:
    assert call("tools/distill_cache.py", "build", *job(teacher, 1)).returncode == 0
    cache = opened(tmp_path / "cache")
    index = np.arange(IMAGES)
    entries = cache.read(0, index)
    entries["classes"] = np.roll(entries["classes"], 1, axis=1)
    cache.write(0, index, entries, cache.done)
    done = call("tools/distill_cache.py", "check", *job(teacher, 1))
    assert done.returncode == 1
    assert "largest difference of a probability" in done.stderr
    assert done.stderr.count("\n") == 1
    done = call("train.py", *job(teacher, 1), "strategy.randaugment.magnitude=5")
    assert done.returncode == 2
    assert done.stderr == (
        "strategy.kd.cache_folder=cache: built for another run:"
        " strategies.randaugment.magnitude is 9.0 there, 5.0 here\n"
    )


KILLED_BEFORE_THE_THIRD_EPOCH_COUNTS = f"""
import os, runpy, signal
import ghostlab.distill.cache as cache

def write_text(file, text, original=cache.write_text):
    if file.name == cache.DONE and int(text) == 3 * {IMAGES}:
        os.kill(os.getpid(), signal.SIGKILL)
    original(file, text)

cache.write_text = write_text
runpy.run_path({str(ROOT / "tools" / "distill_cache.py")!r}, run_name="__main__")
"""


def test_a_killed_build_goes_on_where_it_was(command: Command, call: Command, teacher: Path, tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED_BEFORE_THE_THIRD_EPOCH_COUNTS)
    killed = command(str(script), "build", *job(teacher, 3))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert opened(tmp_path / "cache").done == 2 * IMAGES
    again = call("tools/distill_cache.py", "build", *job(teacher, 3))
    assert again.returncode == 0, again.stderr
    assert f"answers to {IMAGES} images" in again.stdout
    resumed = opened(tmp_path / "cache")
    shutil.move(tmp_path / "cache", tmp_path / "resumed")
    assert call("tools/distill_cache.py", "build", *job(teacher, 3)).returncode == 0
    whole, index = opened(tmp_path / "cache"), np.arange(IMAGES)
    resumed.folder = tmp_path / "resumed"
    for epoch in range(3):
        assert np.array_equal(resumed.read(epoch, index), whole.read(epoch, index))


def test_a_run_without_distillation_has_no_cache(call: Command) -> None:
    done = call("tools/distill_cache.py", "build", "strategy=ema", *QUICK)
    assert done.returncode == 2
    assert "strategy.kd: 'strategy' has no key 'kd'" in done.stderr


def test_what_is_not_there_cannot_be_checked(call: Command, teacher: Path, tmp_path: Path) -> None:
    done = call("tools/distill_cache.py", "check", *job(teacher, 1))
    assert (done.returncode, done.stderr) == (2, "cache: holds no cache of this run; build it first\n")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["list", "nowhere"], "nowhere: no caches here"),
        (["list"], "outputs/teachers/caches: no caches here"),
        (["check", "strategy=kd", "--samples", "0"], "--samples=0: must be a whole number, at least 1"),
        (["check", "strategy=kd", "--tolerance", "nan"], "--tolerance=nan: must be within [0, 1]"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(call: Command, arguments: list[str], line: str) -> None:
    done = call("tools/distill_cache.py", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{line}\n")
