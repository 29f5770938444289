"""Runs whose validation images another network has learned from, which they start from or are taught by."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from pytest import param

from ghostlab.data.content import content_hashes
from ghostlab.data.split import split_fraction
from ghostlab.errors import UsageError
from ghostlab.runs import compose
from ghostlab.runs.identity import to_plain_dict
from ghostlab.runs.settings import parse
from ghostlab.training.build import build_data
from ghostlab.training.image_checks import LeakCheck
from ghostlab.training.run import run
from tests.conftest import Command

TINY = [
    *("model=timm", "model.name=test_resnet", "trainer.max_epochs=1", "trainer.accelerator=cpu"),
    *("data.image_size=8", "data.batch_size=256", "data.val_fraction=0.5"),
]
KEYS = ("model.pretrained", "strategy.kd.teacher")


def learner(*overrides: str) -> LeakCheck:
    settings = parse(compose([*TINY, *overrides]))
    return LeakCheck(settings, build_data(settings))


def untrained(folder: Path, *overrides: str) -> Path:
    """The folder of a run of an earlier version, as far as it says what it is."""
    folder.mkdir()
    config = to_plain_dict(compose([*TINY, *overrides]))
    config["data"]["num_classes"] = config["data"]["num_classes"] or 2
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained on another split."""
    outputs = tmp_path_factory.mktemp("other")
    run(compose([*TINY, "data.split_seed=1", f"outputs={outputs}"]))
    [result] = outputs.rglob("result.json")
    return result.parent


@pytest.mark.parametrize("known", [param(True, id="written-down"), param(False, id="of-an-earlier-version")])
@pytest.mark.parametrize("key", KEYS)
def test_a_network_that_knows_the_validation_images_is_refused(
    other: Path, tmp_path: Path, key: str, known: bool, call: Command
) -> None:
    source = Path(shutil.copytree(other, "other")) / "checkpoints" / "best.ckpt"
    if not known:
        Path("other/images.npz").unlink()
    refused = call("train.py", *TINY, "strategy=kd", f"{key}={source}")
    share, _, rest = refused.stderr.removeprefix(f"{key}={source}: has learned from ").partition("% of the 899 ")
    assert rest == "validation images, so that top-1 would be too high; split both alike, or data.allow_leak=true\n"
    assert 45 < float(share) < 55
    assert refused.returncode == 2
    assert not Path("outputs").exists()


def test_where_that_is_allowed_the_result_and_the_report_say_it(other: Path, call: Command) -> None:
    given = [*TINY, "strategy=baseline,kd", f"strategy.kd.teacher={other}", "data.allow_leak=true"]
    assert call("train.py", "-m", *given).returncode == 0
    [file] = Path("outputs").rglob("kd/*/result.json")
    result = json.loads(file.read_text())
    share = f"{result['val_leaked']:.2%}"
    assert 0.45 < result["val_leaked"] < 0.55
    assert result["remarks"][0].startswith(f"{share} of the validation images were learned from")
    assert f"Validation images that were learned from before, so that top-1 is too high: kd ({share})" in " ".join(
        call("tools/report.py", "outputs").stdout.split()
    )


def test_the_same_split_is_no_leak(tmp_path: Path) -> None:
    own = learner()
    own.learn_from("strategy.kd.teacher", untrained(tmp_path / "a", "data.split_seed=0"))
    assert (own.manifest.leaked, len(own.manifest.seen)) == (0, 0)


def test_what_a_source_has_learned_from_others_counts(tmp_path: Path) -> None:
    own, source = learner(), untrained(tmp_path / "a")
    own.manifest.having_seen(own.manifest.val.hashes[:9]).write(source)
    with pytest.raises(UsageError, match=r"^model.pretrained=.*/a: has learned from 1.00% of the 899 "):
        own.learn_from("model.pretrained", source)


def test_images_are_compared_by_content(tmp_path: Path) -> None:
    noise, names = np.random.default_rng(0), ("cat", "dog")
    for half, start in (("train", 0), ("val", 10)):
        for name in names:
            for i in range(start, start + 10):
                (tmp_path / "one" / half / name).mkdir(parents=True, exist_ok=True)
                (tmp_path / "one" / half / name / f"{i}.png").write_bytes(noise.bytes(50))
    for name in names:  # one of the ten validation images of each class was renamed and trained on
        shutil.copytree(tmp_path / "one" / "train" / name, tmp_path / "two" / "train" / name)
        shutil.copytree(tmp_path / "one" / "val" / name, tmp_path / "two" / "val" / name)
        shutil.copy(tmp_path / "one" / "val" / name / "10.png", tmp_path / "two" / "train" / name / "x.png")
    folder = ["data=imagefolder", "data.batch_size=4"]
    source = untrained(tmp_path / "run", *folder, f"data.root={tmp_path / 'two'}")
    with pytest.raises(UsageError, match=r"has learned from 10.00% of the 20 validation images"):
        learner(*folder, f"data.root={tmp_path / 'one'}").learn_from("strategy.kd.teacher", source)


def test_folders_were_split_by_index_before_that_was_written_down(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(20):
            (tmp_path / "images" / name / f"{i}.png").write_bytes(f"{name} {i}".encode())
    folder = ["data=imagefolder", "data.batch_size=4", f"data.root={tmp_path / 'images'}"]
    own = learner(*folder, "data.allow_leak=true")
    own.learn_from("strategy.kd.teacher", untrained(tmp_path / "run", *folder))
    hashes = content_hashes(sorted(map(str, (tmp_path / "images").rglob("*.png"))))
    train, _ = split_fraction(np.repeat([0, 1], 20), 0.5, seed=0)
    assert own.manifest.leaked == np.isin(own.manifest.val.hashes, hashes[train]).mean()


def test_what_is_not_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = untrained(tmp_path / "run", "data=imagefolder", "data.root=gone")
    learner().learn_from("strategy.kd.teacher", source)
    said = f"images    strategy.kd.teacher={source}: not compared, as those that it was trained on are not known\n"
    assert capsys.readouterr().out == said
    learner().learn_from("strategy.kd.teacher", "resnet18")  # one of timm's
    assert capsys.readouterr().out == ""
