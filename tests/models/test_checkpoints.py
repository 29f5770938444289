from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from ghostlab.errors import RunError, UsageError
from ghostlab.models.checkpoints import read_state_dict

RAW = {"conv.weight": torch.ones(2, 3), "bn.bias": torch.zeros(2)}
AVERAGED = {key: tensor + 1 for key, tensor in RAW.items()}


def prefixed(prefix: str, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in state_dict.items()}


def assert_same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert read.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in read.items())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(OrderedDict(RAW), RAW, id="bare"),
        pytest.param({"state_dict": RAW, "epoch": 3, "optimizer": {"lr": 0.1}}, RAW, id="state_dict"),
        pytest.param({"model": RAW, "lr": 0.1}, RAW, id="model"),
        pytest.param({"state_dict": prefixed("module.", RAW)}, RAW, id="ddp"),
        pytest.param({"state_dict": prefixed("model.", RAW), "callbacks": {}}, RAW, id="lightning"),
        pytest.param(prefixed("module._orig_mod.", RAW), RAW, id="compiled-under-ddp"),
        pytest.param({"state_dict": prefixed("model.", RAW), "state_dict_ema": AVERAGED}, AVERAGED, id="averaged"),
        pytest.param({"state_dict": RAW, "state_dict_ema": None}, RAW, id="averaging-was-off"),
        pytest.param(
            {"model": RAW, "model_ema": {"n_averaged": torch.tensor(5), **prefixed("module.", AVERAGED)}},
            AVERAGED,
            id="torchvision-average",
        ),
        pytest.param({"ema": {"state_dict": AVERAGED}, "model": RAW}, AVERAGED, id="nested-average"),
        pytest.param(
            {"total_ops": torch.zeros(1), **RAW, "conv.total_params": torch.zeros(1)}, RAW, id="profiler-counters"
        ),
        pytest.param({"state_dict": RAW, "args": argparse.Namespace(lr=0.1)}, RAW, id="arguments-of-timm"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".pth.tar"])
def test_weights_are_found_in_what_frameworks_save(
    tmp_path: Path, content: dict[str, Any], expected: dict[str, Tensor], suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(content, path)
    assert_same(read_state_dict(path), expected)


def test_averaged_weights_are_preferred_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "both.pth"
    torch.save({"state_dict": RAW, "state_dict_ema": AVERAGED}, path)
    assert_same(read_state_dict(path), AVERAGED)
    assert [record.getMessage() for record in caplog.records] == [
        f"'{path}': reading the averaged weights (state_dict_ema)"
    ]


def test_raw_weights_need_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({"state_dict": RAW}, tmp_path / "raw.pth")
    read_state_dict(tmp_path / "raw.pth")
    assert not caplog.records


def test_safetensors(tmp_path: Path) -> None:
    safetensors.torch.save_file(prefixed("module.", RAW), tmp_path / "weights.safetensors")
    assert_same(read_state_dict(str(tmp_path / "weights.safetensors")), RAW)


def test_the_format_before_zip_files(tmp_path: Path) -> None:
    torch.save({"state_dict": RAW}, tmp_path / "old.th", _use_new_zipfile_serialization=False)
    assert_same(read_state_dict(tmp_path / "old.th"), RAW)


def cut(path: Path, fraction: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    return path


class TestRefusals:
    @pytest.mark.parametrize("fraction", [pytest.param(f, id=f"{f:.0%}") for f in (0.0, 0.1, 0.5, 0.99)])
    @pytest.mark.parametrize(
        ("name", "zipped"),
        [
            pytest.param("weights.pth", True, id="zip"),
            pytest.param("weights.pth", False, id="old"),
            pytest.param("weights.safetensors", True, id="safetensors"),
        ],
    )
    def test_a_truncated_file_is_named(self, tmp_path: Path, name: str, zipped: bool, fraction: float) -> None:
        weights = {"weight": torch.randn(64, 64)}
        if name.endswith("safetensors"):
            safetensors.torch.save_file(weights, tmp_path / name)
        else:
            torch.save(weights, tmp_path / name, _use_new_zipfile_serialization=zipped)
        with pytest.raises(RunError, match=f"cannot read weights from '.*{name}', it is damaged") as caught:
            read_state_dict(cut(tmp_path / name, fraction))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("tool", ["pickle", "torch"])
    def test_nothing_in_a_pickle_is_executed(self, tmp_path: Path, tool: str) -> None:
        class Malicious:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(tmp_path / "executed"),)

        path = tmp_path / "foreign.pth"
        if tool == "torch":
            torch.save({"state_dict": RAW, "extra": Malicious()}, path)
        else:
            path.write_bytes(pickle.dumps({"state_dict": Malicious()}))
        with pytest.raises(RunError, match=r"cannot read weights from '.*foreign.pth'"):
            read_state_dict(path)
        assert not (tmp_path / "executed").exists()

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            pytest.param([torch.ones(1)], "it is a list", id="list"),
            pytest.param(torch.ones(1), "it is a Tensor", id="tensor"),
            pytest.param({"epoch": 3, "lr": 0.1}, "its entries are epoch, lr", id="other-entries"),
            pytest.param({}, "its entries are none", id="empty"),
            pytest.param({"state_dict": {}}, "its entries are state_dict", id="empty-wrapper"),
        ],
    )
    def test_a_file_without_weights_says_what_it_is(self, tmp_path: Path, content: Any, found: str) -> None:
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(RunError, match=rf"other.pt' holds no weights: {found}"):
            read_state_dict(tmp_path / "other.pt")

    def test_a_text_file_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "readme.pth").write_text("no weights here")
        with pytest.raises(RunError, match=r"cannot read weights from '.*readme.pth'"):
            read_state_dict(tmp_path / "readme.pth")

    def test_a_missing_file_is_a_mistake_of_the_user(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"no weights file '.*none.pth'"):
            read_state_dict(tmp_path / "none.pth")
