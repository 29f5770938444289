"""Runs on data sets of the user's own: trained, gone on with, compared, folded and asked like any others."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ghostlab.data.manifest import Manifest, clear_manifest_cache
from ghostlab.errors import UsageError
from ghostlab.runs import compose
from ghostlab.runs.command import common_overrides
from ghostlab.runs.identity import config_hash
from ghostlab.runs.settings import parse
from ghostlab.training.run import run
from ghostlab.training.services import default_teacher
from tests.conftest import Command
from tests.data.test_custom import pictures, write

OWN = ["data=custom", "data.factory=sets:files", "data.root=pictures"]
DRAWN = ["data=custom", "data.factory=sets:drawn"]
QUICK = [
    *("data.image_size=8", "data.batch_size=4", "data.workers=0", "trainer.accelerator=cpu"),
    *("model=timm", "model.name=test_resnet", "trainer.max_epochs=1"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with the module ``sets`` and ``pictures`` for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    write()
    pictures(tmp_path / "pictures", 8)
    yield tmp_path
    sys.modules.pop("sets", None)
    clear_manifest_cache()


def test_a_run_goes_from_training_to_predictions(call: Command, folder: Path) -> None:
    """With its images made in other processes; wherever they lie, it is the same run."""
    done = call("train.py", *OWN, *QUICK, "data.workers=1", "strategy=reparam+ema")
    assert done.returncode == 0, done.stderr
    assert "data sets:files (8 train / 4 val, 2 classes)" in done.stdout
    [place] = [file.parent.relative_to(folder) for file in folder.rglob("result.json")]
    assert place.parts[:4] == ("outputs", "sets_files", "test_resnet", "ema+reparam")
    assert [*Path("outputs/decoded/sets_files").glob("*/pixels.bin")]
    config, kept = yaml.safe_load((place / "config.yaml").read_text()), Manifest.read(place)
    assert kept is not None and config["images"] == kept.digest
    assert config["plugged"]["sets:files"].startswith("sets ")
    assert (config["data"]["num_classes"], config["data"]["class_names"]) == (2, ["dark", "light"])
    assert " on 4 images" in call("tools/fuse.py", str(place)).stdout
    assert call("tools/predict.py", str(place), "pictures/val/l1.png").stdout.startswith("pictures/val/l1.png\t")
    shutil.move("pictures", "moved")
    assert call("train.py", *OWN, *QUICK, "data.root=moved", "strategy=ema+reparam").stdout.startswith(
        "finished already"
    )


def test_images_that_have_changed_are_told_with_the_command_that_goes_on(call: Command) -> None:
    assert call("train.py", *OWN, *QUICK).returncode == 0
    shutil.copy("pictures/train/l1.png", "pictures/train/l9.png")
    Path("pictures/train/d0.png").unlink()
    grown = call("train.py", *OWN, *QUICK)
    assert grown.stdout.startswith("images    1 of 8 training images gone since outputs/sets_files/test_resnet/")
    first = grown.stdout.splitlines()[0]
    assert (
        " train.py data=custom data.factory=sets:files model=timm model.name=test_resnet data.root=pictures " in first
    )


def test_an_interrupted_run_on_other_images_is_refused() -> None:
    run(compose([*OWN, *QUICK]))
    [result] = Path("outputs").rglob("result.json")
    result.unlink()
    Path("pictures/train/d0.png").unlink()
    with pytest.raises(UsageError, match=r"^data\.root=pictures: 1 of 8 training images gone since .* cannot go on"):
        run(compose([*OWN, *QUICK]))


def test_a_run_that_knows_its_validation_images_is_refused() -> None:
    run(compose([*DRAWN, *QUICK, "outputs=first", "+data.options.first=1000", "+data.options.count=4"]))
    [result] = Path("first").rglob("result.json")
    with pytest.raises(UsageError, match=r"^model\.pretrained=first.*has learned from 66\.67% of the 6 validation"):
        run(compose([*DRAWN, *QUICK, f"model.pretrained={result.parent}"]))


def test_answers_of_its_teacher_are_cached() -> None:
    run(compose([*DRAWN, *QUICK, "outputs=first"]))
    [teacher] = Path("first").rglob("result.json")
    kd = ["strategy=kd", f"strategy.kd.teacher={teacher.parent}", "strategy.kd.cache=true", "strategy.kd.cache_k=2"]
    result = run(compose([*DRAWN, *QUICK, *kd]))
    assert result["val_leaked"] == 0
    assert len([*Path("outputs/teachers/caches/sets_drawn").glob("*/answers.bin")]) == 1


def test_the_default_teacher_learns_from_the_same_images() -> None:
    teacher = default_teacher(parse(compose([*DRAWN, "+data.options.count=6", "strategy=kd"])))
    assert (teacher.data.name, teacher.data.options) == ("sets:drawn", {"count": 6})
    assert teacher.folder.parts[:3] == ("outputs", "teachers", "sets_drawn")


def test_its_function_its_options_its_images_and_its_text_are_the_runs_identity() -> None:
    first = parse(compose([*DRAWN, "+data.options.count=6"]))
    assert common_overrides(first.config) == [
        *("data=custom", "data.factory=sets:drawn", "model=ghostnetv2", "+data.options.count=6")
    ]
    named = config_hash(compose(DRAWN))
    assert len({named, first.config_hash, config_hash(compose([*DRAWN[:1], "data.factory=sets:memory"]))}) == 3
    assert config_hash(first.config) == first.config_hash
    write("# changed")
    assert config_hash(compose(DRAWN)) != named


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["data=custom"], "data.factory must be given, as in data.factory=my_project.sets:load"),
        (["data=custom", "data.factory=sets"], "data.factory=sets: must be <module>:<function>"),
        (
            ["data=custom", "data.factory=stes:drawn"],
            "data.factory=stes:drawn: cannot be imported (ModuleNotFoundError",
        ),
        ([*DRAWN, "+data.cuont=3"], "data.cuont: no key 'cuont'"),
        ([*DRAWN, "+data.options.cuont=3"], "data.factory=sets:drawn: got an unexpected keyword argument 'cuont'"),
        ([*OWN, "data.root=nowhere"], "data.factory=sets:files: fails (FileNotFoundError: "),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(call: Command, overrides: list[str], line: str) -> None:
    done = call("train.py", *overrides, *QUICK)
    assert done.returncode == 2
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1
    assert not Path("outputs").exists()
