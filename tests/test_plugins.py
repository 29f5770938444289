"""Strategies from outside: named by module or offered by an installed package, joined with any other."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pytest import param

from ghostlab.data import DataConfig
from ghostlab.data.content import image_hashes
from ghostlab.data.datasets import build
from ghostlab.errors import UsageError
from ghostlab.runs import compose
from ghostlab.runs.command import common_overrides, row_overrides
from ghostlab.runs.identity import config_hash
from ghostlab.runs.settings import parse
from ghostlab.strategies import registry
from ghostlab.strategies.registry import STRATEGIES, StrategyEntry, join
from ghostlab.testing.processes import killed_at
from ghostlab.testing.runs import SmallRuns
from ghostlab.training.run import run
from tests.conftest import ROOT, Command
from tests.data.test_custom import pictures

EXAMPLE = ROOT / "examples" / "plugin"
QUICK = ["model=timm", "model.name=test_resnet", "trainer.max_epochs=1", "data.image_size=8", "data.val_fraction=0.8"]
SOURCE = (EXAMPLE / "ghostlab_noise" / "__init__.py").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder with a module ``noise``; what is registered is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "noise.py").write_text(SOURCE, encoding="utf-8")
    known = dict(STRATEGIES)
    yield tmp_path
    STRATEGIES.clear()
    STRATEGIES.update(known)
    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def written(name: str, old: str, new: str) -> None:
    assert old in SOURCE
    Path(f"{name}.py").write_text(SOURCE.replace(old, new), encoding="utf-8")


def test_it_trains_joined_with_others_and_says_so(call: Command, folder: Path) -> None:
    """With its images made in another process, which finds the module as well."""
    job = ["plugins=[noise]", "strategy=ema+noise", "strategy.noise.std=0.2", "data.workers=1", *QUICK]
    done = call("train.py", *job)
    assert done.returncode == 0, done.stderr
    assert "strategy  ema+noise   order: noise -> ema\n  noise       std 0.2\n" in done.stdout
    assert json.loads(next(folder.rglob("result.json")).read_text())["strategy"] == "ema+noise"
    assert call("train.py", *job).stdout.startswith("finished already")


@pytest.fixture
def page(folder: Path) -> None:
    """The modules of the page on plug-ins, in the working folder."""
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for name, code in re.findall(r"```python\n# (\w+\.py)[^\n]*\n(.*?)```", text, flags=re.DOTALL):
        (folder / name).write_text(code, encoding="utf-8")


def test_the_page_s_modules_train_and_a_main_loss_has_its_name(page: None, call: Command, folder: Path) -> None:
    done = call("train.py", "plugins=[noise,focal]", "strategy=smoothing+focal+noise", "strategy.focal.gamma=1", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "  focal       gamma 1\n" in done.stdout
    header = next(folder.rglob("metrics.csv")).read_text(encoding="utf-8").splitlines()[0].split(",")
    assert "focal" in header and "ce" not in header


def test_the_page_s_data_set_and_logger_train(page: None, call: Command, folder: Path) -> None:
    pictures(folder / "photos")
    lines = [
        f"{half}/{'dl'[i % 2]}{i}.png,{'dl'[i % 2]},{half}"
        for half, n in {"train": 6, "val": 4}.items()
        for i in range(n)
    ]
    (folder / "photos" / "labels.csv").write_text("\n".join(["path,class,split", *lines]), encoding="utf-8")
    data = ["data=custom", "data.factory=sets:table", "data.root=photos", "data.batch_size=4", "data.workers=0"]
    quick = [one for one in QUICK if "val_fraction" not in one]
    logger = ["logger=custom", "logger.factory=tracking:logger", "+logger.options.prefix=mine"]
    done = call("train.py", *data, *logger, *quick)
    assert (done.returncode, done.stderr) == (0, "")
    assert "(6 train / 4 val, 2 classes)" in done.stdout
    [table] = folder.glob("outputs/**/logger/version_0/metrics.csv")
    assert "mine-val_loss" in table.read_text(encoding="utf-8")
    (folder / "photos" / "other.csv").write_text("\n".join(["path,class,split", *lines[6:], "a,d,training"]))
    refused = call("train.py", *data, "+data.options.file=other.csv", *quick)
    assert refused.stderr == "data.factory=sets:table: train.targets: there are no images\n"


def test_the_page_s_pairs_are_any_torch_data_set(page: None, folder: Path) -> None:
    (folder / "fake.py").write_text(
        "from sets import Pairs\n"
        "from torchvision.datasets import FakeData\n"
        "def load(root):\n"
        "    half = FakeData(4, (3, 8, 8), 3)\n"
        "    return [Pairs(half, [label for _, label in half], ['a', 'b', 'c'])] * 2\n"
    )
    train, _ = build(DataConfig("fake:load"))
    assert (train.load(3).size, len(set(image_hashes(train).tolist()))) == ((8, 8), 4)


def test_the_page_s_schedule_excludes_others_and_goes_on_to_the_bit(page: None, folder: Path) -> None:
    with pytest.raises(
        UsageError, match="'polynomial' and 'cosine' exclude each other, both are a learning-rate schedule"
    ):
        compose(["plugins=[schedule]", "strategy=polynomial+cosine"])
    compose(["plugins=[schedule]"])
    assert join("polynomial+ema+kd") == ("kd", "polynomial", "ema")
    runs = SmallRuns(folder, plugins=["schedule"])
    whole, killed = (runs.overrides("polynomial+ema", {"polynomial": {"power": 2}}, folder / k) for k in ("one", "two"))
    run(compose(whole))
    killed_at((1, 3), killed, folder / "killed.txt")
    run(compose(killed))
    one, two = (torch.load(next((folder / k).rglob("last.ckpt")), weights_only=True) for k in ("one", "two"))
    for key in ("state_dict", "state_dict_ema"):
        assert all(torch.equal(two[key][name], tensor) for name, tensor in one[key].items())
    for k in ("one", "two"):
        [metrics] = (folder / k).rglob("metrics.csv")
        rates = [float(row["lr"]) for row in csv.DictReader(metrics.read_text(encoding="utf-8").splitlines())]
        assert rates == pytest.approx([1e-3 * (1 - step / 10) ** 2 for step in (4, 9)])


@pytest.mark.parametrize(
    ("stage", "order"),
    [
        param("model", ("reparam", "noise", "erasing", "kd", "ema"), id="model"),
        param("images", ("reparam", "erasing", "noise", "kd", "ema"), id="images"),
        param("loss", ("reparam", "erasing", "kd", "noise", "ema"), id="loss"),
        param("weights", ("reparam", "erasing", "kd", "ema", "noise"), id="weights"),
    ],
)
def test_its_stage_says_where_it_is_applied(stage: str, order: tuple[str, ...]) -> None:
    written("noise", 'stage = "images"', f'stage = "{stage}"')
    compose(["plugins=[noise]"])
    assert join("+".join(sorted(order))) == order


def test_its_slot_excludes_others() -> None:
    written("noise", 'stage = "images"', 'slot = "learning-rate schedule"')
    with pytest.raises(UsageError, match="'cosine' and 'noise' exclude each other, both are a learning-rate schedule"):
        compose(["plugins=[noise]", "strategy=cosine+noise"])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        param("(Strategy)", "", r"^plugins=\[other\]: no subclass of .*Strategy is defined there$", id="no-strategy"),
        param("@dataclass\n", "", r"^plug-in other \w{8}: other:Noise is no dataclass", id="no-dataclass"),
        param('"noise"', '"ema"', r"^plug-in other \w{8}: a strategy 'ema' is there already, of this", id="taken"),
        param('"images"', '"img"', r"^plug-in other \w{8}: other:Noise has the stage 'img'; stages are", id="stage"),
        param("import torch\n", "import torhc\n", r"^plugins=\[other\]: cannot be imported \(ModuleNot", id="import"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(old: str, new: str, told: str) -> None:
    written("other", old, new)
    with pytest.raises(UsageError, match=told):
        parse(compose(["plugins=[other]", "strategy=noise+ema"]))


def test_a_wrong_knob_is_named(call: Command) -> None:
    done = call("train.py", "plugins=[noise]", "strategy=noise", "strategy.noise.std=-1")
    assert (done.returncode, done.stderr) == (2, "strategy.noise.std=-1.0: must be within [0, inf)\n")
    done = call("train.py", "plugins=[noise]", "strategy=noise", "strategy.noise.sdt=1")
    assert done.returncode == 2
    assert done.stderr.startswith("strategy.noise.sdt: ")


def test_a_file_of_the_users_has_other_defaults(folder: Path) -> None:
    (folder / "conf" / "strategy").mkdir(parents=True)
    (folder / "conf" / "strategy" / "noise.yaml").write_text("noise:\n  std: 0.3\n")
    cfg = compose(["plugins=[noise]", "strategy=noise+ema"], [f"file://{folder}/conf"])
    assert cfg.strategy.noise.std == 0.3


def test_its_version_is_part_of_a_runs_identity() -> None:
    overrides = ["plugins=[noise]", "strategy=noise"]
    first = compose(overrides)
    kept, before = parse(first).config, config_hash(first)
    assert kept["plugged"]["noise"].startswith("noise ")
    STRATEGIES["noise"] = StrategyEntry("noise:Noise", plugin="noise 2.0")
    assert config_hash(compose(overrides[1:])) != before
    assert config_hash(kept) == before
    assert config_hash(compose(["plugins=[]"])) == config_hash(compose([]))


def test_the_command_of_its_run_names_it() -> None:
    config = parse(compose(["plugins=[noise]", "strategy=noise", "strategy.noise.std=0.5"])).config
    assert row_overrides(config) == ["strategy=noise", "plugins=[noise]", "strategy.noise.std=0.5"]


def test_a_run_without_it_is_compared_with_it_however_it_was_started() -> None:
    started = [parse(compose([*plugins, "strategy=ema"])).config for plugins in ([], ["plugins=[noise]"])]
    assert len({str((common_overrides(config), row_overrides(config))) for config in started}) == 1


def test_an_installed_one_whose_name_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as taken:
        registry.add("kd", StrategyEntry("their.module:Kd", plugin="their-kd 1.0"))
    monkeypatch.setattr(registry, "REFUSED", (taken.value,))
    with pytest.raises(UsageError, match=r"^plug-in their-kd 1\.0: a strategy 'kd' is there already, of this package$"):
        join("ema")


def test_an_installed_package_needs_no_plugins(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    source, packages = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packages")
    shutil.copytree(EXAMPLE, source / "plugin")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(packages), str(source / "plugin")], check=True, capture_output=True)
    path = os.pathsep.join([str(packages), str(ROOT)])

    def ghostlab(*arguments: str) -> str:
        command, environment = [sys.executable, "-m", "ghostlab", *arguments], {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "[from ghostlab-noise 1.0]\n               std=0.1 (float)\n" in ghostlab("strategies", "noise")
    parts = {"data": "sets:shapes", "model": "nets:tiny", "logger": "tracking:lines"}
    own = [line for key, name in parts.items() for line in (f"{key}=custom", f"{key}.factory=ghostlab_noise.{name}")]
    at_once = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    quick = ["data.image_size=24", "data.workers=1", "trainer.max_epochs=1"]
    printed = ghostlab("sweep", "strategy=baseline,noise", *own, *quick, *at_once)
    assert "strategy=noise" in printed and "what it says: " in printed
    results = list(tmp_path.rglob("result.json"))
    assert len(results) == 2
    for result in results:
        logged = [json.loads(line) for line in (result.parent / "logger" / "lines.jsonl").read_text().splitlines()]
        assert logged[0]["settings"]["plugged"]["ghostlab_noise.sets:shapes"] == "ghostlab-noise 1.0"
        assert logged[-1]["result/top1"] == json.loads(result.read_text())["top1"]
    assert "shapes" in ghostlab("report", "outputs")


@pytest.fixture
def experiment(folder: Path) -> Path:
    """A folder of the user's with an experiment that names the plug-in, and joins it."""
    file = folder / "mine" / "experiment" / "noisy.yaml"
    file.parent.mkdir(parents=True)
    head = "# @package _global_\ndefaults:\n  - override /strategy: noise+ema\n  - override /model: timm\n"
    file.write_text(f"{head}plugins: [noise]\nmodel: {{name: test_resnet}}\n", encoding="utf-8")
    return folder / "mine"


def test_a_file_of_the_users_may_name_plugins(call: Command, experiment: Path, folder: Path) -> None:
    done = call("train.py", "--config-dir", str(experiment), "experiment=noisy", *QUICK[2:])
    assert done.returncode == 0, done.stderr
    assert [file.parts[-3] for file in folder.rglob("result.json")] == ["ema+noise"]


def test_a_module_in_such_a_file_that_is_not_there_is_named(call: Command, experiment: Path) -> None:
    (experiment / "experiment" / "noisy.yaml").write_text("# @package _global_\nplugins: [nose]\n", encoding="utf-8")
    done = call("train.py", "--config-dir", str(experiment), "experiment=noisy", *QUICK)
    assert (done.returncode, done.stderr) == (
        2,
        "plugins=[nose]: cannot be imported (ModuleNotFoundError: No module named 'nose')\n",
    )


def test_processes_of_a_launcher_know_the_plugins(fresh_command: Command, experiment: Path, folder: Path) -> None:
    """Whether they were named in a file or on the command line."""
    at_once = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *QUICK]
    named = fresh_command("train.py", "-m", "plugins=[noise]", "strategy=noise,ema+noise", *at_once)
    assert named.returncode == 0, named.stderr
    filed = fresh_command("train.py", "-m", "--config-dir", "mine", "experiment=noisy", "seed=1,2", *at_once)
    assert filed.returncode == 0, filed.stderr
    assert len([*folder.rglob("result.json")]) == 4
