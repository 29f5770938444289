"""A network in int8 as a file: what is kept, what is reported, what is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ghostlab.deploy.export.format import Format, Quantizer, Runner
from ghostlab.deploy.int8.quantize import Int8Result, matching_layers, quantize_to_file
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError, UsageError
from tests.deploy.int8.networks import LAYERS, described

COUNT = 4


class Fake(Format):
    """Writes which layers are kept, and answers how many."""

    name = "fake"
    files = (".fake", ".part")
    int8 = True

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        raise NotImplementedError

    def describe(self, path: Path) -> Description:
        raise NotImplementedError

    def open(self, path: Path, threads: int | None = None) -> Runner:
        kept = path.read_text().split()
        return Runner(lambda images: torch.tensor([[float(len(kept))]]))

    def quantizer(self, network: Network, calibration: Sequence[Tensor]) -> Quantizer:
        def write(path: Path, keep_float: Collection[str]) -> None:
            path.write_text("\n".join(keep_float))
            path.with_suffix(".part").write_text("part")

        return write


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    convs = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(), nn.Conv2d(4, 8, 1)
    return nn.Sequential(*convs, nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)).eval()


def run(path: Path, keep_float: Sequence[str] | str, max_drop: float = 0.5) -> Int8Result:
    """Each layer that is not kept costs one percentage point of 90."""

    def score(runner: Runner) -> float:
        return 90.0 - (COUNT - float(runner(torch.zeros(1, 3, 8, 8))))

    images = [torch.randn(8, 3, 8, 8)]
    return quantize_to_file(Fake(), described(tiny()), path, images, score, 90.0, keep_float, max_drop)  # type: ignore[arg-type]


def test_what_was_lost_is_told_with_every_trial_and_every_layer(tmp_path: Path) -> None:
    result = run(tmp_path / "x.fake", [])
    assert (result.top1, result.drop, result.kept) == (86.0, 4.0, ())
    assert [(trial.kept, trial.top1) for trial in result.trials] == [((), 86.0)]
    assert {layer.name for layer in result.layers} == set(LAYERS)


def test_auto_keeps_the_layers_that_lose_most_until_the_drop_is_allowed(tmp_path: Path) -> None:
    result = run(tmp_path / "x.fake", "auto", max_drop=1.0)
    worst = tuple(layer.name for layer in result.layers[:3])
    assert (result.kept, result.drop) == (worst, 1.0)
    assert [len(trial.kept) for trial in result.trials] == [0, 1, 2, 4, 3]


def test_the_file_of_the_chosen_trial_is_written_with_its_parts(tmp_path: Path) -> None:
    result = run(tmp_path / "new" / "x.fake", "auto", max_drop=2.0)
    assert (tmp_path / "new" / "x.fake").read_text().split() == list(result.kept)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["x.fake", "x.part"]


def test_nothing_is_written_where_no_choice_holds_the_drop(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--max-drop"):
        run(tmp_path / "x.fake", "auto", max_drop=-1.0)
    assert not list(tmp_path.iterdir())


def test_layers_are_kept_by_pattern(tmp_path: Path) -> None:
    assert run(tmp_path / "x.fake", ["[02]", "7"]).kept == ("0", "2", "7")


def test_a_pattern_that_no_layer_has_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"--keep-float=conv_sten: no .* did you mean 'conv_stem'\?"):
        matching_layers(["conv_sten"], ["conv_stem", "classifier"])


def test_a_format_without_int8_is_refused(tmp_path: Path) -> None:
    class Floats(Fake):
        name = "floats"
        quantizer = Format.quantizer

    with pytest.raises(UsageError, match="--int8: not for floats"):
        quantize_to_file(Floats(), described(tiny()), tmp_path / "x.fake", [], lambda _: 0.0, 0.0, [], 0.0)
