"""A published folder is what timm opens, answers as the run does, and says of it what was measured."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import yaml
from PIL import Image
from pytest import param

import ghostlab
from ghostlab.data.transforms import eval_transform
from ghostlab.deploy.network import data_module
from ghostlab.errors import RunError, UsageError
from ghostlab.publish import Evidence, folder, publish
from ghostlab.publish.card import _ablation
from ghostlab.publish.facts import Facts, find_ablation, read_latencies, run_command
from ghostlab.publish.target import open_saved, save_for_timm, timm_network
from ghostlab.runs import compose, config_hash
from ghostlab.runs.identity import to_plain_dict
from ghostlab.runs.run import open_run
from tests.conftest import Command
from tests.reparam.nets import scatter
from tests.reports.runs import write_run as fabricated
from tests.runs.test_run import write_run
from tests.training_runs import trained_run

QUICK = [
    *("data.image_size=16", "data.val_fraction=0.8", "model=timm", "model.name=test_resnet"),
    *("trainer.accelerator=cpu", "trainer.max_epochs=1", "strategy=reparam+ema", "strategy.reparam.branches=2"),
]
PREPROCESSING = {"input_size": [3, 33, 33], "mean": [0.5] * 3, "std": [0.2] * 3, "interpolation": "bicubic"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("outputs"), QUICK)


@pytest.fixture(scope="module")
def latency_file(trained: Path) -> Path:
    """As ``tools/benchmark.py latency`` writes it: this run, another network, and one of the same size."""
    result = json.loads((trained / "result.json").read_text())
    size = {"params": result["params_deploy"], "macs": result["macs_deploy"], "form": "lean", "image_size": 16}
    times = [{"batch": 1, "mean": 0.0021, "median": 0.002, "p95": 0.003}]
    names = {
        "a file": size,
        "another": {**size, "params": 5},
        "/".join(trained.resolve().parts[-4:]): {**size, "macs": 1},
    }
    rows = [{"name": name, **fields, "times": times} for name, fields in names.items()]
    file = trained.parent / "latency.json"
    file.write_text(json.dumps({"conditions": {"threads": 1}, "processor": "a processor", "rows": rows}))
    return file


@pytest.fixture(scope="module")
def published(trained: Path, latency_file: Path) -> tuple[Path, Facts]:
    out = trained.parent / "ghostnet digits"
    return out, publish(trained, out, "cc-by-4.0", Evidence(latency_file))


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


def test_timm_opens_the_folder_and_answers_as_the_run_does(published: tuple[Path, Facts], trained: Path) -> None:
    opened = timm.create_model(f"local-dir:{published[0]}", pretrained=True).eval()
    original, config = open_run(trained)
    images = torch.randn(4, 3, 16, 16)
    torch.testing.assert_close(opened(images), original(images), rtol=1e-4, atol=1e-4)
    assert sum(p.numel() for p in opened.parameters()) == published[1].counts.params
    assert opened.pretrained_cfg["label_names"] == config["data"]["class_names"] == [str(n) for n in range(10)]
    assert {file.name for file in published[0].iterdir()} == {"README.md", "config.json", "model.safetensors"}


def test_timm_prepares_an_image_as_the_run_does(published: tuple[Path, Facts], trained: Path) -> None:
    opened = timm.create_model(f"local-dir:{published[0]}")
    theirs = timm.data.create_transform(**timm.data.resolve_model_data_config(opened), is_training=False)
    ours = eval_transform(data_module(open_run(trained)[1]["data"]).cfg)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 61, 3), dtype=np.uint8))
    torch.testing.assert_close(theirs(image), ours(image), rtol=0, atol=1e-5)


def test_the_card_has_the_runs_figures_where_the_hub_reads_them(published: tuple[Path, Facts], trained: Path) -> None:
    card = (published[0] / "README.md").read_text()
    result, head = json.loads((trained / "result.json").read_text()), front_matter(card)
    assert (head["license"], head["library_name"]) == ("cc-by-4.0", "timm")
    [entry] = head["model-index"]
    values = {metric["name"]: metric["value"] for metric in entry["results"][0]["metrics"]}
    assert values == {"top-1": round(result["top1"], 2), "top-5": round(result["top5"], 2)}
    assert f"top-1 of the weights as trained | {result['top1_raw']:.2f} %" in card
    assert entry["name"] == published[1].name == "ghostnet-digits"
    assert str(trained.parent) not in card + (published[0] / "config.json").read_text()


def test_the_command_of_the_card_trains_the_same_run(published: tuple[Path, Facts], trained: Path) -> None:
    [command] = re.findall(r"^python train.py (.*)$", (published[0] / "README.md").read_text(), re.MULTILINE)
    result = json.loads((trained / "result.json").read_text())
    assert config_hash(compose(shlex.split(command))) == result["config_hash"]


def test_of_absolute_paths_the_command_tells_the_last_part() -> None:
    cfg = compose(["data=imagefolder", "data.root='/home/me/my birds'", "outputs=/scratch"])
    command = run_command(to_plain_dict(cfg))
    assert "/home" not in command and "/scratch" not in command and "data.root=my birds" in shlex.split(command)


def test_the_card_shows_the_rows_of_this_run_and_of_networks_of_its_size(published: tuple[Path, Facts]) -> None:
    first, second = published[1].latencies
    assert (first.name, second.processor) == ("a file", "a processor")
    assert "| a file | eager | 1 | 1 | 16 | 2.00 | 3.00 |" in (published[0] / "README.md").read_text()


def test_a_damaged_latency_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text('{"rows": [{}]}')
    with pytest.raises(RunError, match=r"latency\.json: not what tools/benchmark\.py latency wrote"):
        read_latencies(tmp_path / "latency.json", tmp_path, {})


def test_the_row_of_an_ablation_is_that_of_the_runs_configuration(tmp_path: Path) -> None:
    for seed in range(3):
        fabricated(tmp_path, "baseline", seed, 80.0 + seed)
        place = fabricated(tmp_path, "kd", seed, 82.0 + 1.1 * seed)
    section = find_ablation(tmp_path, json.loads((tmp_path / place / "result.json").read_text()))
    [line] = section.lines
    assert (line.name, section.reference, line.top1) == ("kd", "baseline", pytest.approx(83.1))
    assert line.effect is not None and line.effect.difference is not None
    assert line.effect.difference.mean == pytest.approx(2.1)
    table = _ablation(section).splitlines()
    assert table[0] == "| strategy | top-1 (3 seeds) | against baseline | 95 % interval | verdict |"
    assert table[2].startswith("| kd | 83.10 ±1.10 | +2.10 | \\[")
    assert table[4].startswith("Seeds 0, 1, 2. Paired t-test")
    with pytest.raises(UsageError, match=r"--ablation .*: none of its rows is this run's \(configuration 12345678\)"):
        find_ablation(tmp_path, {"config_hash": "12345678"})


@pytest.mark.parametrize(
    ("licence", "message"),
    [
        param(None, r"--licence: say under which one you publish the weights: apache-2\.0, mit, ", id="none"),
        param("apache", r"--licence apache: no licence 'apache'; did you mean 'apache-2\.0'\?", id="unknown"),
    ],
)
def test_a_licence_is_the_users_choice(trained: Path, tmp_path: Path, licence: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        publish(trained, tmp_path / "out", licence)


def test_a_folder_that_is_there_stays_as_it_is(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is there already"):
        publish(trained, tmp_path, "mit")


def test_a_run_that_is_not_finished_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not finished, it has no result\.json"):
        publish(write_run(tmp_path / "run", scatter(timm.create_model("test_resnet"))), tmp_path / "out", "mit")


def test_weights_that_answer_otherwise_are_not_published(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(place: Path) -> torch.nn.Module:
        model = open_saved(place)
        model.get_classifier().bias.data += 0.01
        return model

    monkeypatch.setattr(folder, "open_saved", other)
    with pytest.raises(RunError, match=r"differs from the run's network by .*: nothing is written"):
        publish(trained, tmp_path / "out", "mit")
    assert list(tmp_path.iterdir()) == []


def test_another_accuracy_is_not_published(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([50.0, 49.0])
    monkeypatch.setattr(folder, "evaluate", lambda *_: {"top1": next(found)})
    with pytest.raises(RunError, match=r"top-1 50\.00 of the run's network, 49\.00 of timm's: nothing is written"):
        publish(trained, tmp_path / "out", "mit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "architecture", "own"),
    [
        param({"name": "ghostnetv1", "width": 0.5}, "ghostnet_050", False, id="timm's GhostNet"),
        param({"name": "ghostnetv3", "width": 0.1}, "ghostlab_ghostnetv2", True, id="branches built in"),
        param({"name": "test_resnet"}, "test_resnet", False, id="a model of timm's"),
        param({"name": "test_resnet", "stem_stride": 1}, "ghostlab_network", True, id="another stem"),
        param({"name": "mobilenetv1", "width": 0.1}, "ghostlab_network", True, id="scaled"),
    ],
)
def test_timms_own_architecture_is_used_where_it_has_the_network(
    options: dict[str, Any], architecture: str, own: bool, tmp_path: Path
) -> None:
    model = scatter(ghostlab.create_model(**options, num_classes=4)).eval()
    config = {"model": options, "data": {"num_classes": 4}}
    images = torch.randn(2, 3, 33, 33)
    target = timm_network(write_run(tmp_path / "run", model, config=config), config, images)
    assert target[1:] == (architecture, own)
    save_for_timm(target, tmp_path / "out", {**PREPROCESSING, "crop_pct": 1.0}, list("abcd"), "mit")
    expected = model(images)
    allowed = 1e-4 * expected.abs().max().item()
    torch.testing.assert_close(open_saved(tmp_path / "out")(images), expected, rtol=0, atol=allowed)


def test_the_command_prints_how_to_upload_what_it_wrote(call: Command, trained: Path, tmp_path: Path) -> None:
    done = call("tools/publish.py", str(trained), "--out", "mine", "--licence", "mit")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "hf upload YOUR-NAME/mine mine"
    assert "Not measured. `python tools/benchmark.py latency" in (tmp_path / "mine" / "README.md").read_text()
    assert call("tools/publish.py", str(trained), "--out", "mine", "--licence", "mit").returncode == 2
