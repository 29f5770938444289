"""A run's folder and hash are functions of its configuration and of its images, however both are written down."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from pytest import param

from ghostlab.data.manifest import clear_manifest_cache
from ghostlab.runs import compose, config_hash, run_folder
from ghostlab.runs.identity import config_difference, identity, identity_values, to_plain_dict


@cache
def composed(*overrides: str) -> DictConfig:
    return compose(overrides)


def changed(given: dict[str, Any], *overrides: str) -> DictConfig:
    """A composed configuration with other values, without composing it again."""
    cfg = composed(*overrides).copy()
    with open_dict(cfg):
        for key, value in given.items():
            OmegaConf.update(cfg, key, value)
    return cfg


def images(root: Path, names: dict[str, str]) -> Path:
    """A folder with a file, of that text, for each name below it."""
    for name, text in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    clear_manifest_cache()
    return root


SPLIT = {f"{half}/{name}/{i}.png": f"{half}{name}{i}" for half in ("train", "val") for name in "ab" for i in range(3)}


def of_folder(root: object, **data: Any) -> str:
    given = {f"data.{key}": value for key, value in {"root": str(root), **data}.items()}
    return config_hash(changed(given, "data=imagefolder"))


def test_a_default_run_has_no_hash_in_its_folder() -> None:
    cfg = compose(["strategy=reparam+kd", "data=cifar10", "model=efficientnet_b0", "seed=3"])
    assert run_folder(cfg) == Path("outputs/cifar10/efficientnet_b0/kd+reparam/seed3")


@pytest.mark.parametrize("options", [["model=efficientnetv2_s", "data=food101"], ["strategy=progressive"]])
def test_every_option_alone_is_a_default(options: list[str]) -> None:
    assert run_folder(compose(options)).name == "seed0"


def test_any_other_value_adds_the_hash_of_the_configuration() -> None:
    cfg = changed({"strategy.kd.alpha": 0.7, "seed": 1}, "strategy=kd")
    assert run_folder(cfg) == Path(f"outputs/digits/ghostnetv2/kd/seed1-{config_hash(cfg)}")
    assert len(config_hash(cfg)) == 8
    assert run_folder(compose(["optimizer=sgd"])).name.startswith("seed0-")


def test_a_timm_model_given_by_name_has_its_own_folder() -> None:
    assert run_folder(compose(["model=timm", "model.name=resnet10t"])).parts[2:] == ("resnet10t", "baseline", "seed0")


@pytest.mark.parametrize(
    "given",
    [
        param({"seed": 5}, id="seed"),
        param({"outputs": "elsewhere"}, id="outputs"),
        param({"data.workers": 7}, id="workers"),
        param({"force": True}, id="force"),
        param({"resume": "never"}, id="resume"),
        param({"model.native.train": 192}, id="native-size"),
        param({"objective.metric": "tradeoff"}, id="objective"),
        param({"ablation.design": "add_one"}, id="ablation"),
        param({"data.on_error": "skip"}, id="what-is-done-about-unreadable-images"),
        param({"data.teacher.model": "resnet50"}, id="the-teacher-of-a-run-that-has-none"),
        param({"data.crop_scale": 0.5}, id="a-crop-that-is-not-taken"),
        param({"data.test_size": 24}, id="the-size-that-it-has-anyhow"),
        param({"trainer.devices": "1"}, id="number-as-text"),
        param({"data.flip": False}, id="given-and-default"),
        param({"trainer.max_epochs": 10.0}, id="whole-number-as-float"),
        param({"data.mean": ["0.3055", 0.3055, 0.30550]}, id="list-of-numbers-as-text"),
    ],
)
def test_what_does_not_change_a_runs_numbers_does_not_change_its_folder(given: dict[str, Any]) -> None:
    cfg = changed(given)
    assert config_hash(cfg) == config_hash(composed())
    assert run_folder(cfg).relative_to(cfg.outputs).parent == Path("digits/ghostnetv2/baseline")
    assert run_folder(cfg).name == f"seed{cfg.seed}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        param({"data.mean": [0, 0, 0]}, {"data.mean": [0.0, 0.0, 0.0]}, id="zeros"),
        param({"optimizer.lr": 1}, {"optimizer.lr": 1.0}, id="whole-number"),
        param({"model.pretrained": "outputs/run/"}, {"model.pretrained": "./outputs//run"}, id="trailing-slash"),
        param({"model.pretrained": "a/b"}, {"model.pretrained": str(Path.cwd() / "a/b")}, id="absolute"),
        param({"trainer.devices": 2}, {"trainer.devices": "2"}, id="devices"),
    ],
)
def test_the_same_value_is_the_same_run_however_it_is_written(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert config_hash(changed(one)) == config_hash(changed(other)) != config_hash(composed())


@pytest.mark.parametrize(
    "given",
    [
        param({"trainer.max_epochs": 11}, id="epochs"),
        param({"optimizer.lr": 0.5}, id="lr"),
        param({"data.batch_size": 7}, id="batch-size"),
        param({"data.crop_padding": 3}, id="the-crop-that-is-taken"),
        param({"data.split_seed": 1}, id="split"),
        param({"model.width": 1.3}, id="width"),
        param({"model.depth": 1.3}, id="depth"),
        param({"outputs_of": 1}, id="begins-like-another"),
    ],
)
def test_what_changes_a_runs_numbers_changes_its_hash(given: dict[str, Any]) -> None:
    assert config_hash(changed(given)) != config_hash(composed())


def test_the_default_teacher_counts_where_it_teaches() -> None:
    other = {"data.teacher.model": "resnet50"}
    assert config_hash(changed(other, "strategy=kd")) != config_hash(composed("strategy=kd"))
    named = {"strategy.kd.teacher": "resnet18"}
    assert config_hash(changed(named | other, "strategy=kd")) == config_hash(changed(named, "strategy=kd"))
    several = {"strategy.kd.teacher": ["resnet18", None]}
    assert config_hash(changed(several | other, "strategy=kd")) != config_hash(changed(several, "strategy=kd"))


def test_one_teacher_is_one_in_a_list_or_not() -> None:
    listed = [changed({"strategy.kd.teacher": teacher}, "strategy=kd") for teacher in ("resnet18", ["resnet18"])]
    assert len({*map(config_hash, listed)}) == 1


def test_a_models_own_image_sizes_are_the_default_ones() -> None:
    given = ("data=imagenet", "data.root=null", "model=efficientnetv2_s")
    sizes = {"data.image_size": 300, "data.test_size": 384}
    assert config_hash(changed(sizes, *given)) == config_hash(composed(*given))
    assert config_hash(changed({"data.image_size": 224}, *given)) != config_hash(composed(*given))


@pytest.mark.parametrize(
    "key", ["strategy.reparam.norm", "trainer.clip", "data.interpolation", "optimizer.weight_decay"]
)
def test_a_key_that_a_run_on_disk_does_not_have_yet_has_its_default_value(key: str) -> None:
    now = composed("strategy=reparam")
    before = now.copy()
    with open_dict(before):
        parent, _, name = key.rpartition(".")
        del OmegaConf.select(before, parent)[name]
    assert config_hash(before) == config_hash(now)
    assert config_difference(to_plain_dict(now), to_plain_dict(before)) is None
    assert run_folder(before) == run_folder(now)
    other = changed({key: "nearest"}, "strategy=reparam")
    assert config_hash(other) != config_hash(before)
    assert str(config_difference(to_plain_dict(other), to_plain_dict(before))).startswith(f"{key}=nearest here, ")


def test_the_order_in_which_strategies_are_joined_does_not_change_the_hash() -> None:
    assert config_hash(compose(["strategy=kd+ema"])) == config_hash(compose(["strategy=ema+kd"]))


def test_the_difference_of_two_runs_names_the_first_key() -> None:
    one, two = to_plain_dict(changed({"optimizer.lr": 0.5})), to_plain_dict(composed())
    assert config_difference(one, one) is None
    assert config_difference(one, two) == f"optimizer.lr=0.5 here, {two['optimizer']['lr']} there"


def test_a_configuration_of_another_version_has_an_identity(tmp_path: Path) -> None:
    foreign = {"data": {"name": "new"}, "model": {"name": "newer"}, "strategy": {"newest": {"a": 1}}, "seed": 0}
    assert identity(foreign)["strategy.newest.a"] == 1
    assert config_hash(foreign) != config_hash({**foreign, "strategy": {"newest": {"a": 2}}})


def test_a_folder_is_known_by_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images(tmp_path / "data", SPLIT)
    digits = of_folder("data")
    assert {of_folder(root) for root in ("data/", "./data", tmp_path / "data", f"{tmp_path}/data/.")} == {digits}
    assert of_folder("data", val_fraction=0.3, split_seed=5) == digits  # it has a split of its own
    shutil.copytree("data", "moved")
    assert of_folder("moved") == digits
    Path("moved/train/a/0.png").rename("moved/train/a/00.png")  # the same images in the same order
    clear_manifest_cache()
    assert of_folder("moved") == digits


@pytest.mark.parametrize(
    "names",
    [
        param({"train/a/3.png": "more"}, id="an-image-more"),
        param({"train/a/0.png": "other"}, id="an-image-replaced"),
        param({"train/a/0.png": "traina9"}, id="an-image-replaced-by-one-of-its-size"),
        param({"val/a/0.png": "other"}, id="another-to-validate"),
        param({"train/c/0.png": "c", "val/c/0.png": "d"}, id="a-class-more"),
    ],
)
def test_other_images_are_another_run(tmp_path: Path, names: dict[str, str]) -> None:
    root = images(tmp_path / "data", SPLIT)
    before = of_folder(root)
    images(root, names)
    assert of_folder(root) != before


def test_how_a_folder_is_split_counts_where_it_is_split(tmp_path: Path) -> None:
    root = images(tmp_path / "data", {f"{name}/{i}.png": f"{name}{i}" for name in "ab" for i in range(20)})
    assert len({of_folder(root), of_folder(root, val_fraction=0.5), of_folder(root, split_seed=1)}) == 3


def test_a_folder_is_looked_at_once_until_it_is_asked_for_anew(tmp_path: Path) -> None:
    root = images(tmp_path / "data", SPLIT)
    before = of_folder(root)
    (root / "train/a/3.png").write_text("more")
    assert of_folder(root) == before
    clear_manifest_cache()
    assert of_folder(root) != before


def test_where_a_set_is_kept_that_is_downloaded_does_not_count() -> None:
    assert run_folder(changed({"data.root": "/elsewhere"}, "data=cifar10")).name == "seed0"


def test_the_configuration_of_a_run_tells_its_identity_without_the_images(tmp_path: Path) -> None:
    root = images(tmp_path / "data", SPLIT)
    cfg = changed({"data.root": str(root)}, "data=imagefolder")
    kept = {**to_plain_dict(cfg), "images": identity(cfg)["images"]}
    shutil.rmtree(root)
    clear_manifest_cache()
    assert config_hash(kept) == config_hash({**kept, "data": {**kept["data"], "root": "elsewhere"}})
    assert config_difference(kept, {**kept, "images": "0" * 16}) == f"images={kept['images']} here, {'0' * 16} there"
    assert identity_values(kept)["data.root"] == str(root)
    assert config_hash(cfg) != config_hash(kept)  # the folder is not there: its place is all that is known
