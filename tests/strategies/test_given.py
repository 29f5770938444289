"""No strategy takes the place of a value that was given: two keys with one meaning agree, or are refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pytest import approx, param
from torch import nn

from ghostlab.errors import UsageError
from ghostlab.runs import compose
from ghostlab.runs.config_checks import ineffective_keys
from ghostlab.runs.identity import to_plain_dict
from ghostlab.runs.run import Run
from ghostlab.runs.settings import Settings, parse
from ghostlab.strategies import STRATEGIES, load
from ghostlab.strategies.droppath import drop_path_rates
from ghostlab.training.build import build_data, build_model, build_optimizer, build_task, change_model
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.history import History
from ghostlab.training.services import default_teacher
from ghostlab.training.stages import Stages
from ghostlab.training.teachers import teacher_sources
from ghostlab.training.trainer import build_trainer
from tests.conftest import Command

SMALL = ("model=efficientnet_b0", "model.name=test_efficientnet")
GIVEN = (
    *("model.drop_rate=0.37", "model.drop_path_rate=0.23", "model.stem_stride=1", "+model.bn_momentum=0.07"),
    *("data.image_size=20", "data.test_size=22", "data.batch_size=48"),
    *("optimizer.lr=0.0123", "optimizer.lr_per=32", "optimizer.weight_decay=0.017"),
    *("trainer.max_epochs=4", "trainer.clip=0.7", "trainer.accumulate=2"),
)
"""A value that nothing has by default for everything that a strategy might reach."""

TEACHER = "strategy.kd.teacher=resnet18"
TWICE: dict[str, tuple[tuple[str, ...], str]] = {
    "droppath.rate": (
        ("strategy=droppath", "model.drop_path_rate=0.3"),
        r"strategy\.droppath\.rate=0\.1: model\.drop_path_rate=0\.3 is another rate",
    ),
    "progressive.size": (
        ("strategy=progressive", "strategy.progressive.size=[10,12,14,16]"),
        r"strategy\.progressive\.size=.*: the last one must be data\.image_size=24",
    ),
    "progressive.round_to": (
        ("strategy=progressive", "strategy.progressive.size=[10,12,14,24]", "strategy.progressive.round_to=2"),
        r"strategy\.progressive\.round_to=2: has no effect on a list, strategy\.progressive\.size=",
    ),
    "progressive.epochs": (
        ("strategy=progressive", "strategy.progressive.epochs=[1,1,1,1]"),
        r"strategy\.progressive\.epochs=.*: must add up to trainer\.max_epochs=10",
    ),
    "progressive.stages": (
        ("strategy=progressive", "strategy.progressive.stages=11"),
        r"strategy\.progressive\.stages=11: must not be above trainer\.max_epochs=10",
    ),
    "progressive.magnitude": (
        ("strategy=progressive+randaugment", "strategy.progressive.magnitude=[1,2,3,4]"),
        r"strategy\.progressive\.magnitude=.*: the last one must be strategy\.randaugment\.magnitude=9",
    ),
    "progressive.mixup": (
        ("strategy=progressive+mixup", "strategy.progressive.mixup=[0,0,0,0]"),
        r"strategy\.progressive\.mixup=.*: the last one must be strategy\.mixup\.alpha=0\.2",
    ),
    "progressive.cutmix": (
        ("strategy=progressive+cutmix", "strategy.progressive.cutmix=[0,0,0,0.5]"),
        r"strategy\.progressive\.cutmix=.*: the last one must be strategy\.cutmix\.alpha=1",
    ),
    "progressive.dropout": (
        ("strategy=progressive", "strategy.progressive.dropout=[0,0.1,0.2,0.4]"),
        r"strategy\.progressive\.dropout=.*: the last one must be model\.drop_rate=0\.2",
    ),
    "progressive.droppath": (
        ("strategy=progressive+droppath", "strategy.progressive.droppath=[0,0.1,0.2,0.2]"),
        r"strategy\.progressive\.droppath=.*: the last one must be model\.drop_path_rate=0\.1",
    ),
    "kd.teacher": (
        ("strategy=kd", TEACHER, "data.teacher.model=resnet50"),
        r"data\.teacher\.model=resnet50: has no effect, as strategy\.kd\.teacher=resnet18",
    ),
    "kd.cache_folder": (
        ("strategy=kd", "strategy.kd.cache_folder=here"),
        r"strategy\.kd\.cache_folder=here: has no effect with cache=false",
    ),
    "kd.cache_k": (("strategy=kd", "strategy.kd.cache_k=3"), r"strategy\.kd\.cache_k=3: has no effect"),
    "kd.tau": (
        ("strategy=kd", "strategy.kd.kind=hard", "strategy.kd.tau=2"),
        r"strategy\.kd\.tau=2\.0: has no effect with kind=hard",
    ),
    "kd.dkd_target": (("strategy=kd", "strategy.kd.dkd_target=2"), r"has no effect with kind=soft"),
    "kd.dkd_others": (("strategy=kd", "strategy.kd.dkd_others=2"), r"has no effect with kind=soft"),
    "kd.dist_inter": (("strategy=kd", "strategy.kd.dist_inter=2"), r"has no effect with kind=soft"),
    "kd.dist_intra": (("strategy=kd", "strategy.kd.dist_intra=2"), r"has no effect with kind=soft"),
    "kd.stages": (("strategy=kd", "strategy.kd.stages=[0]"), r"has no effect with kind=soft"),
    "kd.teacher_weights": (("strategy=kd", "strategy.kd.teacher_weights=[1]"), r"has no effect with one teacher"),
    **{
        f"{name}.warmup_epochs": (
            (f"strategy={name}", f"strategy.{name}.warmup_epochs=11"),
            rf"strategy\.{name}\.warmup_epochs=11: must not be longer than the run, 10 epochs",
        )
        for name in ("cosine", "step", "exponential")
    },
}
"""Knobs that another key may contradict, with a command line that does, and what it is told."""

ALONE = {
    *("progressive.schedule", "reparam.branches", "reparam.scale", "reparam.identity", "reparam.include"),
    *("reparam.exclude", "reparam.init", "reparam.online", "reparam.norm"),
    *("randaugment.magnitude", "randaugment.layers", "randaugment.std", "autoaugment.policy", "autoaugment.std"),
    *("erasing.probability", "erasing.mode", "smoothing.amount", "mixup.alpha", "cutmix.alpha"),
    *("kd.kind", "kd.alpha", "kd.teacher_model", "kd.teacher_size", "kd.teacher_mean", "kd.teacher_std"),
    *("kd.compile", "kd.cache", "cosine.warmup_factor", "cosine.min_factor"),
    *("step.epochs", "step.gamma", "step.warmup_factor"),
    *("exponential.epochs", "exponential.gamma", "exponential.warmup_factor", "ema.decay", "ema.warmup"),
}
"""Knobs whose meaning no other key of a configuration has, or that say by themselves whose value they replace: the
teacher's own architecture, size and colours, and the weights that ``reparam.init=fresh`` draws anew."""


def settings_of(*overrides: str) -> Settings:
    return parse(compose(overrides))


def test_every_knob_is_in_the_table() -> None:
    knobs = {f"{name}.{field.name}" for name in STRATEGIES for field in fields(load(name))}  # type: ignore[arg-type]
    assert {*TWICE} | ALONE == knobs
    assert not {*TWICE} & ALONE


@pytest.mark.parametrize("knob", TWICE)
def test_two_values_for_one_meaning_are_refused(knob: str) -> None:
    overrides, said = TWICE[knob]
    with pytest.raises(UsageError, match=said):
        settings = settings_of(*overrides)
        task = build_task(settings, build_data(settings))
        for strategy in settings.strategies:
            strategy.lr_factor(task)


JOINED = [
    "baseline",
    "progressive+droppath+reparam+randaugment+erasing+smoothing+mixup+cutmix+kd+cosine+ema",
    "autoaugment+step",
    "exponential",
]


def test_all_strategies_are_joined() -> None:
    assert {name for text in JOINED for name in text.split("+")} == {*STRATEGIES}


@pytest.mark.parametrize("strategy", JOINED)
def test_what_is_given_is_what_a_run_has(strategy: str, tmp_path: Path) -> None:
    rate = ["strategy.droppath.rate=0.23"] if "droppath" in strategy else []
    settings = settings_of(*SMALL, *GIVEN, f"strategy={strategy}", *rate)
    data = build_data(settings)
    task = build_task(settings, data)
    model = change_model(build_model(settings, task), settings, task)
    last = Stages(settings.strategies, task).last
    trainer = build_trainer(settings, History(tmp_path / "metrics.csv"), Checkpoints(Run(tmp_path)))
    optimizer = build_optimizer(settings)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]

    assert model.drop_rate == 0.37
    assert 0.23 * 0.5 <= max(drop_path_rates(model)) <= 0.23
    assert {norm.momentum for norm in norms} == {0.07}
    assert convolutions[0].stride == (1, 1)
    assert (last.image_size, dict(last.strengths)) == (20, task.strengths if len(last.strengths) else {})
    assert next(iter(data.val_dataloader()))[0].shape[-1] == 22
    assert (optimizer.lr, optimizer.weight_decay) == approx((0.0123 * 48 * 2 / 32, 0.017))
    assert (trainer.max_epochs, trainer.gradient_clip_val, trainer.accumulate_grad_batches) == (4, 0.7, 2)
    assert task.epochs == 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        param(SMALL, "efficientnet|test_efficientnet", id="the model's own configuration"),
        param(("model=timm", "model.name=swin_tiny_patch4_window7_224"), "has rates of its own", id="the model's code"),
    ],
)
def test_a_rate_of_the_model_is_not_replaced(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=rf"strategy\.droppath\.rate=0\.1: (model.drop_path_rate=0\.2|.*{said})"):
        settings_of(*overrides, "strategy=droppath")
    settings_of(*overrides, "strategy=droppath", "model.drop_path_rate=0")


def test_the_same_rate_twice_is_said() -> None:
    [strategy] = settings_of(*SMALL, "strategy=droppath", "strategy.droppath.rate=0.2").strategies
    assert strategy.describe() == "rate rising to 0.2, as model.drop_path_rate says, too"


def test_a_command_names_both_keys(call: Command) -> None:
    ended = call("train.py", "model.drop_path_rate=0.3", "strategy=droppath")
    [line] = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert "strategy.droppath.rate=0.1" in line and "model.drop_path_rate=0.3" in line


@pytest.mark.parametrize(
    ("overrides", "key", "other"),
    [
        param(("data=cifar10", "data.stem_stride=2", "model.stem_stride=1"), "data.stem_stride", "model.stem_stride=1"),
        param(
            ("data.stem_stride=2", "model=timm", "model.name=resnet18", "model.stem_stride=1"), "data.stem_stride", ""
        ),
        param(("model.native.train=64",), "model.native.train", "data.image_size=24"),
        param(("data=eurosat", "data.root=x", "model.native.test=96"), "model.native.test", "data.test_size="),
        param(("model.pretrained=true", "+model.checkpoint_path=x.pt"), "model.pretrained", "model.checkpoint_path=x"),
        param(("+model.num_classes=5",), "model.num_classes", "data.num_classes"),
        param(("+model.in_chans=1",), "model.in_chans", "data.mean"),
        param(
            ("strategy=kd", "strategy.kd.teacher=[a,b]", "data.teacher.overrides=[]"), "data.teacher.overrides", "kd"
        ),
        param(("experiment=ghostnetv3", "data.root=x", "data.teacher.model=resnet18"), "data.teacher.model", "beit"),
    ],
)
def test_a_key_that_another_one_passes_over_is_refused(overrides: tuple[str, ...], key: str, other: str) -> None:
    config = to_plain_dict(compose(overrides))
    [found] = ineffective_keys(config)
    assert found.key == key
    assert other in found.other
    if "root" not in str(overrides):
        with pytest.raises(UsageError, match=f"^{key}=.*: has no effect, as"):
            settings_of(*overrides)


@pytest.mark.parametrize(
    ("option", "reason"),
    [("layout=deployed", "a run trains in that layout"), ("features_only=true", "a run needs logits")],
)
def test_what_a_run_decides_itself_is_refused(option: str, reason: str) -> None:
    key = option.partition("=")[0]
    with pytest.raises(UsageError, match=f"^model.{key}=.*: {reason}"):
        settings_of(f"+model.{option}")


EXPERIMENTS = sorted(file.stem for file in (Path(__file__).parents[2] / "conf/experiment").glob("*.yaml"))


@pytest.mark.parametrize(
    "overrides",
    [
        *(param((f"experiment={name}", "data.root=x"), id=name) for name in EXPERIMENTS),
        param(("data=cifar10", "model.stem_stride=2"), id="another stem than the data's default"),
        param(("data=imagenet", "data.root=x", "data.image_size=192"), id="another size than the model's own"),
        param(("data=imagenet", "data.root=x", "data.test_size=288"), id="another size of validation"),
        param(("strategy=kd", TEACHER), id="a teacher in place of the data's default"),
        param(("strategy=kd", "data.teacher.model=resnet50"), id="another default teacher"),
        param(
            ("strategy=kd", "strategy.kd.teacher=[null,resnet50]", "data.teacher.model=resnet50"), id="both teachers"
        ),
        param(("data.teacher.model=resnet50",), id="a teacher for other runs of a sweep"),
        param(("+model.in_chans=3",), id="as many colours as the data has"),
        param(("strategy=smoothing+mixup+cutmix",), id="smoothing and mixing"),
    ],
)
def test_what_only_takes_the_place_of_a_default_is_fine(overrides: tuple[str, ...]) -> None:
    assert [*ineffective_keys(to_plain_dict(compose(overrides)))] == []


@pytest.mark.parametrize(
    ("override", "refused"),
    [("data.image_size=32", True), ("data=cifar10", True), ("outputs=x", True), ("data.batch_size=8", False)],
)
def test_what_a_teacher_has_of_its_student_cannot_be_given_to_it(override: str, refused: bool) -> None:
    student = parse(compose(["strategy=kd", f"data.teacher.overrides=['{override}']"]))
    if not refused:
        assert default_teacher(student).data.batch_size == 8
        return
    with pytest.raises(UsageError, match=rf"data\.teacher\.overrides: {override} has no effect"):
        default_teacher(student)


@pytest.mark.parametrize(
    ("sources", "models", "refused"),
    [
        param(["resnet18"], ["resnet50"], True, id="of timm"),
        param(["run"], ["resnet50"], True, id="a run"),
        param(["weights.pt"], ["resnet50"], False, id="a checkpoint"),
        param(["weights.pt", "run"], ["resnet50", "resnet50"], False, id="one for all, of which one needs it"),
        param(["weights.pt", "run"], ["resnet50", "resnet18"], True, id="one each"),
        param(["weights.pt", "run"], ["resnet50", None], False, id="for the one that needs it"),
    ],
)
def test_the_architecture_of_a_teacher_that_says_its_own_is_refused(
    sources: list[str], models: list[Any], refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.pt").touch()
    Path("run").mkdir()
    Path("run/config.yaml").touch()
    if refused:
        with pytest.raises(
            UsageError, match=r"strategy\.kd\.teacher_model=.*: has no effect, as strategy\.kd\.teacher="
        ):
            teacher_sources(sources, models)
    else:
        teacher_sources(sources, models)
