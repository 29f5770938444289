"""What a search may be asked for, and the runs that it makes of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from pytest import param

from ghostlab.errors import UsageError
from ghostlab.models import count, create_model
from ghostlab.runs import compose, run_folder
from ghostlab.studies.scaling.budget import Rules
from ghostlab.studies.scaling.runs import Search, SearchConfig, families, open_search
from tests.studies.scaling.nets import candidate

OVERRIDES = ("model.width=0.5", "data.image_size=16", "trainer.max_epochs=1")


def wanted(*overrides: str, **options: Any) -> SearchConfig:
    rules = Rules(**{"budget": 2.0, **options.pop("rules", {})})
    return SearchConfig(
        **{"family": "resnet18", "rules": rules, "seeds": 1, "exponent": -0.07, **options}, overrides=overrides
    )


@pytest.fixture(scope="module")
def opened() -> Search:
    return open_search(wanted(*OVERRIDES))


def test_the_overrides_define_the_base(opened: Search) -> None:
    assert dataclasses.astuple(opened.base) == (1.0, 0.5, 16)
    assert (opened.name, opened.data, opened.epochs) == ("resnet18", "digits", 1)


def test_a_run_has_the_sizes_of_its_candidate_and_all_other_overrides(opened: Search) -> None:
    cfg = opened.configured(candidate(1.5, 0.6, 24), seed=2)
    assert (cfg.model.depth, cfg.model.width, cfg.data.image_size, cfg.seed) == (1.5, 0.6, 24, 2)
    assert cfg.trainer.max_epochs == 1


def test_the_base_is_the_run_that_the_same_overrides_make_in_train_py(opened: Search) -> None:
    ours = opened.configured(candidate(1, 0.5, 16), seed=0)
    assert run_folder(ours) == run_folder(compose(["model=resnet18", *OVERRIDES]))


def test_the_command_makes_the_same_run(opened: Search) -> None:
    python, script, *arguments = opened.command(1.5, 0.6, 24).split()
    assert (python, script) == ("python", "train.py")
    assert run_folder(compose(arguments)) == run_folder(opened.configured(candidate(1.5, 0.6, 24), seed=0))


def test_the_folder_depends_on_what_is_searched_and_not_on_the_seeds(opened: Search) -> None:
    assert opened.folder.parts[:4] == ("outputs", "scaling", "digits", "resnet18")
    assert open_search(wanted(*OVERRIDES, seeds=3)).folder == opened.folder
    others = [wanted(*OVERRIDES, rules={"step": 0.2}), wanted(*OVERRIDES, "optimizer.lr=0.1")]
    assert len({opened.folder, *(open_search(one).folder for one in others)}) == 3


def test_a_family_with_branches_is_counted_as_it_is_deployed() -> None:
    counts = open_search(wanted("model.width=0.1", family="ghostnetv3")).networks.counts(1, 0.1, 32)
    plain = create_model("ghostnetv2", num_classes=10, width=0.1, stem_stride=1)
    assert counts.macs == count(plain, 32).macs


def test_families_are_the_models_that_have_a_depth_and_a_width() -> None:
    assert {"ghostnetv2", "efficientnet_b0", "resnet50", "mobilenetv2"} <= set(families())
    assert "mobilenetv3" not in families()


@pytest.mark.parametrize(
    ("options", "overrides", "line"),
    [
        param(
            {"family": "ghostnetv9"},
            [],
            "--family=ghostnetv9: no model 'ghostnetv9'; did you mean 'ghostnetv",
            id="name",
        ),
        param(
            {"family": "mobilenetv3"}, [], "--family=mobilenetv3: it cannot be scaled; those that can: ", id="family"
        ),
        param({"rules": {"step": 0}}, [], "--step=0: must be within", id="step"),
        param({"rules": {"solve": "depth"}}, [], "--solve=depth: no choice 'depth'", id="solve"),
        param({"rules": {"multiple": 0}}, [], "--multiple=0: must be a whole number", id="multiple"),
        param({"rules": {"tolerance": float("nan")}}, [], "--tolerance=nan: must be within", id="tolerance"),
        param({"seeds": 0}, [], "--seeds=0: must be a whole number", id="seeds"),
        param({"exponent": 0.07}, [], "--exponent=0.07: must be within", id="exponent"),
        param({}, ["seed=3"], "seed=3: the search sets seed itself; use --seeds", id="seed"),
        param({}, ["model=ghostnetv1"], "model=ghostnetv1: the search sets model itself; use --family", id="model"),
    ],
)
def test_what_is_not_allowed_is_named(options: dict[str, Any], overrides: list[str], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        wanted(*overrides, **options)
    assert str(caught.value).startswith(line)


@pytest.mark.parametrize(
    ("family", "overrides", "line"),
    [
        ("timm", [], "model.name must be given"),
        ("timm", ["model.name=vgg11", "data.stem_stride=2"], "model.name=vgg11: model 'vgg11' cannot be scaled"),
        ("resnet18", ["data.test_size=32"], "data.test_size=32: candidates are validated at their own size"),
        ("resnet18", ["model.pretrained=true"], "model.pretrained=true: there are no weights for scaled networks"),
        ("resnet18", ["trainer.devices=2"], "trainer.devices=2: a search trains on one device"),
        ("resnet18", ["force=true"], "force=true: would train every run again"),
        ("resnet18", ["data=imagefolder", "data.root=nowhere"], "data.root=nowhere: no such folder"),
    ],
)
def test_a_base_that_cannot_be_scaled_is_said_before_anything_is_trained(
    family: str, overrides: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        open_search(wanted(*overrides, family=family))
    assert str(caught.value).startswith(line)
    assert not list(tmp_path.iterdir())
