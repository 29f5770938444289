"""Hydra's whole grammar of overrides over every group and kind of key: for each command line, what comes of it.

Nothing is trained: a line is refused at once, is composed into settings, or makes the plan of a sweep.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from pytest import param

from ghostlab.cli.arguments import check_arguments
from ghostlab.cli.guard import guarded
from ghostlab.cli.train import hydra_command
from ghostlab.errors import UsageError
from ghostlab.runs.compose import compose
from ghostlab.runs.messages import exit_code, one_line
from ghostlab.runs.settings import Settings, parse
from ghostlab.studies.jobs import Application
from tests.conftest import Command, as_in_a_new_process

Mistake = (UsageError, HydraException, OmegaConfBaseException)
MUST = "must be one of"


def lines(*table: tuple[str, ...]) -> list[Any]:
    return [param(*row, id=row[0]) for row in table]


def words(line: str) -> list[str]:
    """A command line without a shell: its words are separated by two spaces."""
    return line.split("  ")


def check(error: BaseException, says: str) -> None:
    assert exit_code(error) == 2
    told = one_line(error)
    assert says in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("line", "says"),
    lines(
        # a group set to nothing
        ("model=null", f"model=null: model {MUST} custom, efficientnet_b0, "),
        ("data=null", f"data=null: data {MUST} birdsnap, "),
        ("strategy=null", f"strategy=null: strategy {MUST} autoaugment, "),
        ("optimizer=null", f"optimizer=null: optimizer {MUST} adamw, lamb, rmsprop, sgd"),
        ("trainer=null", f"trainer=null: trainer {MUST} default"),
        ("ablation=null", "ablation=null: leave it out"),
        ("experiment=null", "experiment=null: leave it out"),
        ("hydra/launcher=null", f"hydra/launcher=null: hydra/launcher {MUST}"),
        ("-m  strategy=null,kd", f"strategy=null: strategy {MUST}"),
        ("-m  model=choice(resnet18,null)", "'model=choice(resnet18,null)' is not of the form key=value"),
        ("model=", f"model=: model {MUST}"),
        ("strategy=''", f"strategy=: strategy {MUST}"),
        # ... or to what is no name
        ("model=3", f"model=3: model {MUST}"),
        ("optimizer=true", f"optimizer=True: optimizer {MUST}"),
        ("data=1.5", f"data=1.5: data {MUST}"),
        ("model=[resnet18,resnet50]", f"model=['resnet18', 'resnet50']: model {MUST}"),
        ("strategy=[kd,reparam]", "strategies are joined by '+'"),
        # a group given twice
        (
            "strategy=kd  strategy=reparam",
            "strategy=kd strategy=reparam: strategy is given twice; strategies are joined",
        ),
        ("strategy=kd  strategy=kd", "strategy is given twice"),
        ("model=resnet18  seed=1  model=resnet50", "model=resnet18 model=resnet50: model is given twice; -m compares"),
        ("data=digits  data=cifar10", "data is given twice"),
        ("optimizer=sgd  optimizer=adamw", "optimizer is given twice"),
        ("experiment=tune  experiment=transfer", "experiment is given twice"),
        ("-m  strategy=kd,ema  strategy=cosine", "strategy is given twice"),
        ("-m  hydra/launcher=joblib  hydra/launcher=basic", "hydra/launcher is given twice"),
        # added, forced, deleted
        ("+strategy=ema", "+strategy=ema: strategies are joined by '+'"),
        ("++strategy=ema", "++strategy=ema: strategies are joined by '+'"),
        ("+model=resnet18", "+model=resnet18: has its place already; leave out the '+'"),
        ("++optimizer=sgd", "++optimizer=sgd: has its place already"),
        ("+experiment=transfer", "+experiment=transfer: has its place already"),
        ("~strategy", "~strategy: every key is needed; where it may be empty, strategy=null"),
        ("~optimizer=sgd", "~optimizer=sgd: every key is needed"),
        ("~seed", "~seed: every key is needed"),
        ("~model.width", "~model.width: every key is needed; where it may be empty, model.width=null"),
        ("~data.batch_size=64", "~data.batch_size=64: every key is needed"),
        # what changes nothing
        ("strategy={}", "strategy={}: changes nothing"),
        ("model={}", "model={}: changes nothing"),
        ("optimizer={}", "optimizer={}: changes nothing"),
        ("data.teacher={}", "data.teacher={}: changes nothing"),
        ("objective={}", "objective={}: changes nothing"),
        # where runs are kept
        ("hydra.run.dir=elsewhere", "hydra.run.dir=elsewhere: a run's folder is <outputs>/"),
        ("hydra.run.dir=a b", "use outputs=<folder>"),
        ("hydra.sweep.dir=elsewhere", "hydra.sweep.dir=elsewhere: a run's folder is"),
        ("hydra.sweep.subdir=${hydra.job.num}", "hydra.sweep.subdir=${hydra.job.num}: a run's folder is"),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: runs stay where they are started"),
        ("hydra.output_subdir=.hydra", "hydra.output_subdir=.hydra: the config.yaml in a run's folder"),
        ("+hydra.foo=1", "+hydra.foo=1: no key 'foo'; available: callbacks, "),
        ("++hydra.job.nam=a", "++hydra.job.nam=a: no key 'nam'; did you mean 'name'?"),
        # how many runs
        ("-m  hydra.mode=RUN", "hydra.mode=RUN: contradicts --multirun"),
        ("--run  hydra.mode=MULTIRUN", "hydra.mode=MULTIRUN: contradicts --run"),
        ("-m  -r", "not allowed with argument"),
        ("-m  --cfg  job", "not allowed with argument"),
        ("--info  --run", "not allowed with argument"),
        # flags
        ("--cfg  jobs", "invalid choice: 'jobs'"),
        ("--info  nothing", "invalid choice: 'nothing'"),
        ("--resolve", "--resolve: needs --cfg or --help"),
        ("--package  model", "--package=model: needs --cfg"),
        ("--shell-completion", "needs one of install=<shell>"),
        ("--config-path  /tmp", "--config-path=/tmp: would hide this project's own conf/; --config-dir adds a folder"),
        ("--experimental-rerun  a.pickle", "--experimental-rerun=a.pickle: would unpickle it"),
        ("--strategy=kd", "unrecognized arguments: --strategy=kd"),
        ("-x", "unrecognized arguments: -x"),
        ("--config-name", "expected one argument"),
        # what is no override
        ("seed", "'seed' is not of the form key=value"),
        ("=1", "'=1' is not of the form key=value"),
        ("seed==1", "'seed==1' is not of the form key=value"),
        ("-", "'-' is not of the form key=value"),
        ("seed=1 2=", "is not of the form key=value"),
        ("outputs='a", "is not of the form key=value"),
        ("seed=range(1", "is not of the form key=value"),
        ("seed=choice()", "is not of the form key=value"),
        ("seed=nothing(1)", "Unknown function 'nothing'"),
        ("outputs='it''s'", "is not of the form key=value"),
        ("outputs=é", "is quoted, \"outputs='é'\""),
    ),
)
def test_what_cannot_be_meant_is_refused_at_once(line: str, says: str) -> None:
    with pytest.raises(Mistake) as refused:
        check_arguments(words(line))
    check(refused.value, says)


@pytest.mark.parametrize(
    ("line", "says"),
    lines(
        ("+optimizer.momentum=0.5", "optimizer.momentum=0.5: null leaves it out, adamw takes only betas, eps"),
        (
            "experiment=transfer  optimizer=lamb",
            "optimizer.momentum=0.9: null leaves it out, lamb takes only betas, eps",
        ),
        # keys that nothing reads
        ("++foo=1", "foo: no key 'foo'; available: data, "),
        ("+foo.bar=1", "foo: no key 'foo'"),
        ("+sed=1", "sed: no key 'sed'; did you mean 'seed'?"),
        ("+model@foo=resnet18", "foo: no key 'foo'"),
        ("foo=1", "foo: no key 'foo'"),
        ("optimizer.foo=1", "optimizer.foo: 'optimizer' has no key 'foo'"),
        ("+data.foo=1", "data.foo: no key 'foo'"),
        ("++data.teacher.foo=1", "data.teacher.foo"),
        ("+trainer.foo=1", "trainer.foo: no key 'foo'"),
        ("+objective.foo=1", "objective.foo: no key 'foo'"),
        ("optimizer={lr:0.3,foo:1}", "optimizer.foo: 'optimizer' has no key 'foo'"),
        ("strategy=kd  +strategy.kd.foo=1", "strategy.kd.foo: no key 'foo'"),
        ("+strategy.kd.alpha=0.3", "'baseline' means no strategy and stands alone"),
        ("strategy=ema  +strategy.kd.alpha=0.3", "choose it by name"),
        ("model@data=resnet18", "Could not override 'model@data'"),
        # values
        ("outputs=null", "outputs=null: must be a folder"),
        ("outputs=", "outputs=: must be a folder"),
        ("outputs=' '", "must be a folder"),
        ("outputs=2026", "outputs=2026: is a number; for a folder of that name, outputs=./<name>"),
        ("outputs=1.10", "outputs=1.1: is a number"),
        ("outputs=true", "outputs=True: must be a folder"),
        ("outputs=[a]", "must be a folder"),
        ("objective=null", "objective=null: it has keys"),
        ("seed=null", "seed=null: must be an integer"),
        ("seed=-1", "seed=-1: must be an integer"),
        ("seed=1.5", "seed=1.5: must be an integer"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs"),
        ("data.mean=[0.5]", "data.mean="),
        ("data.flip=maybe", "data.flip"),
        ("outputs=${nowhere}", "Interpolation key 'nowhere' not found"),
        ("outputs=${oc.env:NO_SUCH_VARIABLE}", "NO_SUCH_VARIABLE"),
        ("seed=0,1", "seed=0,1: several values are a sweep, python train.py -m ...; a list is written key=[a,b]"),
        ("seed=choice(0,1)", "several values are a sweep"),
        ("seed=range(0,3)", "several values are a sweep"),
        ("seed=interval(0,1)", "several values are a sweep"),
        ("model=glob(ghost*)", "several values are a sweep"),
    ),
)
def test_what_is_wrong_in_the_configuration_is_one_line(line: str, says: str) -> None:
    with pytest.raises(Mistake) as refused:
        settled(line)
    check(refused.value, says)


def settled(line: str) -> Settings:
    return parse(compose(check_arguments(words(line))))


@pytest.mark.parametrize(
    ("line", "path", "value"),
    lines(
        ("seed=7", "seed", 7),
        ("seed=1  seed=2", "seed", 2),  # of a value, the last one counts
        ("++seed=7", "seed", 7),
        ("seed=${oc.env:GHOSTLAB_SEED}", "seed", 5),
        ("outputs=a b", "outputs", "a b"),
        ("outputs='a,b=c'", "outputs", "a,b=c"),
        (r"outputs='it\'s'", "outputs", "it's"),
        (r"outputs=a\,b", "outputs", "a,b"),
        ("outputs=./2026", "outputs", "./2026"),
        ("outputs='${data.name}'", "outputs", "digits"),
        ("outputs=out_${data.name}_${seed}", "outputs", "out_digits_0"),
        ("outputs='é'", "outputs", "é"),
        ("optimizer.lr=1e-4", "optimizer.lr", 1e-4),
        ("optimizer={lr:0.3,weight_decay:0}", "optimizer.lr", 0.3),
        ("optimizer=sgd  optimizer.momentum=0.5", "optimizer.momentum", 0.5),
        ("optimizer.betas=[0.8,0.9]", "optimizer.betas", [0.8, 0.9]),
        ("trainer.clip=null", "trainer.clip", None),
        ("trainer.devices='1'", "trainer.devices", "1"),
        ("data.flip=TRUE", "data.flip", True),
        ("data.teacher.overrides=['trainer.max_epochs=2']", "data.teacher.overrides", ["trainer.max_epochs=2"]),
        ("data={teacher:{model:resnet50}}", "data.teacher.model", "resnet50"),
        ("strategy=ema+kd  strategy.kd.alpha=0.3", "strategy.kd.alpha", 0.3),
        ("strategy='kd'", "strategy.kd.tau", 1.0),
        ("experiment=transfer", "optimizer.name", "sgd"),
        (
            "experiment=transfer  optimizer=lamb  optimizer.momentum=null  optimizer.nesterov=null",
            "optimizer.name",
            "lamb",
        ),
        ("model=timm  model.name=resnet10t", "model.name", "resnet10t"),
        ("hydra.job.chdir=false", "seed", 0),
        ("hydra.run.dir=.", "seed", 0),
    ),
)
def test_a_value_arrives(line: str, path: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOSTLAB_SEED", "5")
    assert reduce(getitem, path.split("."), settled(line).config) == value  # type: ignore[arg-type]


@dataclass
class _Recorder:
    """A launcher that trains nothing."""

    launched: list[Sequence[str]]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
        self.launched += job_overrides
        return []


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The overrides of the runs that a sweep would have trained."""
    monkeypatch.chdir(tmp_path)
    jobs: list[Sequence[str]] = []
    monkeypatch.setattr(Application, "launcher", lambda self, work: _Recorder(jobs))
    return jobs  # type: ignore[return-value]


def run(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch, as_in_a_new_process(patch):
        patch.setattr(sys, "argv", ["train.py"])
        return guarded(lambda: hydra_command(lambda settings: settings, words(line)))


@pytest.mark.parametrize(
    ("line", "runs"),
    lines(
        ("-m  seed=0,1", ["seed=0", "seed=1"]),
        ("--multi  seed=choice(0,1)", ["seed=0", "seed=1"]),
        ("seed=range(0,5,step=2)  -m  optimizer=sgd", [f"seed={n} optimizer=sgd" for n in (0, 2, 4)]),
        ("hydra.mode=MULTIRUN  seed=sort(2,1)", ["seed=1", "seed=2"]),
        ("-m  seed=tag(a,choice(1,1,2))", ["seed=1", "seed=2"]),
        ("-m  seed=3", ["seed=3"]),
        ("-m  model=glob(ghostnet*,exclude=*3)", ["model=ghostnetv1", "model=ghostnetv2"]),
        ("-m  outputs='a,b','c d'", ["outputs='a,b'", "outputs='c d'"]),
        ("-m  outputs=${hydra:runtime.choices.optimizer}", [r"outputs=$\{hydra\:runtime.choices.optimizer\}"]),
        ("-m  strategy=ema,kd  strategy.kd.alpha=0.3", ["strategy=ema", "strategy=kd strategy.kd.alpha=0.3"]),
        ("-m  +hydra.sweeper.params.seed='4,5'  model=resnet18", ["seed=4 model=resnet18", "seed=5 model=resnet18"]),
        ("-m  hydra.sweeper.max_batch_size=1  seed=0,1", ["seed=0", "seed=1"]),
    ),
)
def test_a_sweep_has_the_runs_that_it_names(
    line: str, runs: list[str], launched: list[Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(line, monkeypatch)
    assert [" ".join(one) for one in launched] == runs


@pytest.mark.parametrize(
    ("line", "says"),
    lines(
        ("-m  seed=interval(0,1)", "seed=interval(0,1): an interval is for a study"),
        ("-m  ++foo=1,2", "foo: no key 'foo'"),
        ("-m  outputs=null,a", "outputs=null: must be a folder"),
        ("-m  outputs=${hydra:job.num}", "${hydra:job.num}: is not known before a run begins"),
        ("-m  hydra/launcher=basic,joblib", "Sweeping over Hydra's configuration is not supported"),
        ("-m  hydra.run={dir:x}", "hydra.run.dir=x: a run's folder is"),
        ("-m  ablation=list  strategy=kd,ema  +ablation.base=kd", "ablation.base=kd: ablation=list has no use for it"),
        ("ablation=add_one", "an ablation is a sweep"),
        ("hydra.run={dir:x}", "hydra.run.dir=x: a run's folder is"),
        ("outputs=${hydra:job.num}", "${hydra:job.num}: is not known before a run begins"),
        ("+hydra.sweeper.params.seed=1", "hydra.sweeper.params={'seed': '1'}: is of a sweep"),
        ("hydra.sweeper.params={seed:1}", "hydra.sweeper.params.seed: 'hydra.sweeper.params' has no key 'seed'; '+'"),
        ("--config-dir  nowhere", "nowhere' not found"),
        ("--config-name  nowhere", "Cannot find primary config 'nowhere'"),
    ),
)
def test_a_mistake_is_one_line_before_the_first_run(
    line: str, says: str, launched: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line, monkeypatch) == 2
    told = capsys.readouterr().err
    assert says in told
    assert told.count("\n") == 1
    assert not launched


@pytest.mark.parametrize(
    ("line", "shows"),
    lines(
        ("--cfg  job  --package  trainer", "max_epochs: 10"),
        ("seed=4  --cfg  job  --resolve  optimizer=sgd", "seed: 4"),
        ("hydra/launcher=basic  --cfg  hydra  --package  hydra.launcher", "BasicLauncher"),
        ("--info  searchpath", "plus://strategy"),
        ("--help  seed=4", "experiment: ablation, "),
        ("-sc  install=bash", "hydra_bash_completion"),
        ("--version", "Hydra "),
    ),
)
def test_what_only_shows_something_trains_nothing(call: Command, tmp_path: Path, line: str, shows: str) -> None:
    done = call("train.py", *words(line))
    assert not done.returncode, done.stderr
    assert shows in done.stdout
    assert not list(tmp_path.iterdir())
