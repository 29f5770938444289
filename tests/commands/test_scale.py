"""Scaled networks and the papers' tables of them, as the command prints them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest import param

from ghostlab.benchmarks.scaling import scale_model
from ghostlab.benchmarks.scaling_tables import TABLES, count_printed, rounds_to
from ghostlab.models.scaling import round_resolution
from ghostlab.runs import compose

Scale = Callable[..., tuple[int, str, str]]

# MACs of the rows of both tables of EfficientNet's paper: what a counter of convolutions and linear layers finds in
# timm's definitions of these networks.
MACS = {
    ("MobileNetV1", "0.6"): 568_740_352,
    ("  wider", "2.2"): 2_216_465_408,
    ("  larger images", "2.2"): 2_271_889_408,
    ("MobileNetV2", "0.3"): 300_774_272,
    ("  deeper", "1.2"): 1_219_587_776,
    ("  wider", "1.1"): 1_137_428_224,
    ("  larger images", "1.2"): 1_199_257_088,
    ("  compound", "1.3"): 1_442_045_088,
    ("ResNet-50", "4.1"): 4_089_184_256,
    ("  deeper", "16.2"): 14_570_749_952,
    ("  wider", "14.7"): 15_870_148_608,
    ("  larger images", "16.4"): 16_350_593_024,
    ("  compound", "16.7"): 15_861_736_832,
    ("B0", "0.4"): 385_814_752,
    ("  deeper", "1.8"): 1_575_132_640,
    ("  wider", "1.8"): 1_449_958_848,
    ("  larger images", "1.9"): 1_537_537_408,
    ("  compound", "1.8"): 1_800_091_280,
}


@pytest.fixture
def scale(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Scale:
    """``scale("show", "ghostnetv2")`` is the exit code, stdout and stderr of the command."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the command sets it
    path = Path(__file__).parents[2] / "tools" / "scale.py"
    spec = importlib.util.spec_from_file_location("scale", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = module.main(list(arguments))
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "params", "macs", "pixels"),
    [
        param(["efficientnet_b0", "--phi", "1"], 9_109_994, 992_629_472, 258, id="b0-phi-1"),
        param(["efficientnet_b0", "--phi", "3", "--official"], 12_233_232, 1_827_141_392, 300, id="official-b3"),
        param(
            ["mobilenetv1", "--depth", "1.4", "--width", "1.2", "--resolution", "1.32", "--multiple", "8"],
            *(8_677_512, 2_485_726_984, 296),
            id="mobilenetv1-factors",
        ),
        param(["ghostnetv2", "--depth", "1.2"], 7_401_944, 219_588_848, 224, id="ghostnetv2-deeper"),
    ],
)
def test_show_counts_a_scaled_network_and_says_how_to_train_it(
    scale: Scale, arguments: list[str], params: int, macs: int, pixels: int
) -> None:
    code, printed, _ = scale("show", *arguments)
    assert code == 0
    assert f"{params:,}" in printed
    assert f"{macs:,}" in printed
    assert f"{pixels} px" in printed
    train = printed.splitlines()[-1]
    assert train.startswith("python train.py model=")
    trained = scale_model(compose(train.replace("<folder>", "x").split()[2:]))
    assert (trained.counts, trained.train) == ((params, macs), pixels)


def test_show_lists_the_blocks_of_each_stage(scale: Scale) -> None:
    _, printed, _ = scale("show", "ghostnetv1", "--depth", "1.2", "model.width=0.5", "data=digits")
    train = "python train.py model=ghostnetv1 data=digits model.width=0.5 model.depth=1.2 data.image_size=24"
    assert printed.splitlines()[-1] == train
    cells = [line.split(":")[1].split("  ") for line in printed.splitlines() if line.lstrip().startswith("stage")]
    blocks = [[cell.split()[0] for cell in row if "x" in cell] for row in cells]
    assert blocks == [["1", "2"], ["2", "3"], ["2", "3"], ["4", "5"], ["2", "3"], ["5", "6"]]


def test_a_model_tested_on_larger_images_keeps_that_ratio(scale: Scale) -> None:
    _, printed, _ = scale("show", "efficientnetv2_b0", "--resolution", "2")
    assert printed.splitlines()[-1].endswith("data.image_size=384 data.test_size=448")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        param(["efficientnet_b9"], "no model 'efficientnet_b9'; did you mean 'efficientnet_b", id="model"),
        param(["vgg11"], "a VGG has no stages; allowed: ", id="no-stages"),
        param(["mobilenetv3", "--depth", "2"], "depth=2.0: model 'mobilenetv3' cannot be scaled", id="family"),
        param(["ghostnetv2", "--depth", "-1"], "--depth -1: must be above 0", id="negative"),
        param(["ghostnetv2", "--width", "0"], "--width 0: must be above 0", id="zero"),
        param(["ghostnetv2", "--phi", "1", "--depth", "2"], "--phi 1 and --depth: phi sets all three", id="phi-depth"),
        param(["ghostnetv2", "--phi", "nan"], "phi=nan: must be a number", id="nan"),
        param(["ghostnetv2", "--official"], "--official: needs --phi", id="official-alone"),
        param(["ghostnetv2", "--beta", "1.2"], "--beta: needs --phi", id="base-alone"),
        param(["ghostnetv2", "--phi", "1.5", "--official"], "phi=1.5: official factors are those of B0", id="no-b"),
        param(["ghostnetv2", "--phi", "1", "--official", "--beta", "2"], "--official and --beta", id="official-base"),
        param(["ghostnetv2", "--multiple", "0"], "multiple=0: must be at least 1", id="multiple"),
        param(["ghostnetv2", "data=cifar1"], "data=cifar1: no data 'cifar1'; did you mean 'cifar10", id="data"),
    ],
)
def test_a_mistake_is_one_line(scale: Scale, arguments: list[str], line: str) -> None:
    code, printed, error = scale("show", *arguments)
    assert (code, printed) == (2, "")
    assert error.startswith(line)
    assert error.count("\n") == 1


def test_the_rows_of_the_tables_have_the_exact_macs_of_their_graphs() -> None:
    rows = [(row, paper.pixels) for paper in TABLES[:2] for row in paper.rows]
    found = {
        (row.label, row.gmacs): count_printed(row, round_resolution(pixels, row.factors.resolution)).macs
        for row, pixels in rows
        if (row.label, row.gmacs) in MACS
    }
    assert found == MACS
    assert len(rows) == len(MACS) + 1  # and MobileNetV1's compound row, whose size is counted elsewhere


def test_a_row_is_reproduced_if_it_rounds_to_the_printed_digits() -> None:
    assert rounds_to(2.216, "2.2")
    assert not rounds_to(2.272, "2.2")
    assert rounds_to(0.5687, "0.6")


def test_the_tables_say_which_rows_are_not_reproduced(scale: Scale) -> None:
    code, printed, _ = scale("table")
    assert code == 0
    lines = {line.strip().rpartition("  ")[0].split("  ")[0]: line for line in printed.splitlines() if line.strip()}
    assert lines["B0"].split()[-3:] == ["0.4", "0.386", "yes"]
    assert lines["stages 1-7"].split()[-6:] == ["34.4", "33.737", "-1.9%", "132.0", "131.120", "-0.7%"]
