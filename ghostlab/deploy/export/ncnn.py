"""ncnn's two files, written by pnnx and run by ncnn."""

from __future__ import annotations

import io
import json
import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ghostlab.deploy.export.catalog import CATALOG
from ghostlab.deploy.export.format import Format, Runner, one_by_one
from ghostlab.deploy.export.parts import check_part, digest
from ghostlab.deploy.export.silence import converting, reading
from ghostlab.deploy.lean import LeanAttention, lean
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import RunError
from ghostlab.files import write_text

__all__ = ["Ncnn"]


class Ncnn(Format):
    """The graph in .ncnn.param, the weights in .ncnn.bin, and the description, with sums of both, in .ncnn.json.

    One image at a time; input "in0", output "out0".
    """

    name = "ncnn"
    files = (".ncnn.param", ".ncnn.bin", ".ncnn.json")
    extra, packages, dynamic_size, int8 = CATALOG[name]
    dynamic_batch = False

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        model = _sized(lean(network.model, self.block))
        with converting(self.name), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            _export(model, network.example[:1], Path(folder))
            sums = {}
            for suffix in self.files[:2]:
                part = Path(folder, f"m{suffix}").replace(_part(path, suffix))
                sums[suffix] = digest(part.read_bytes())
        values = {"description": network.description.text(), "sha256": sums}
        write_text(_part(path, self.files[2]), json.dumps(values) + "\n")

    def describe(self, path: Path) -> Description:
        beside = _part(path, self.files[2])
        try:
            values = json.loads(beside.read_text(encoding="utf-8"))
            text, sums = values["description"], {suffix: values["sha256"][suffix] for suffix in self.files[:2]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            cause = " ".join(str(error).split())
            raise RunError(f"{path}: no description of a network of this package beside it ({cause})") from error
        for suffix, expected in sums.items():
            check_part(_part(path, suffix), expected, path)
        return Description.parse(text, beside)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        self.describe(path)
        with reading(path, "ncnn"):
            import ncnn

            net = ncnn.Net()
            for low in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
                setattr(net.opt, f"use_{low}", False)
            if threads is not None:
                net.opt.num_threads = threads
            if net.load_param(str(path)) or net.load_model(str(_part(path, self.files[1]))):
                raise RunError(f"{path}: ncnn cannot read it")

        def call(image: Tensor) -> Tensor:
            extractor = net.create_extractor()
            extractor.input("in0", ncnn.Mat(image[0].numpy()))
            _, logits = extractor.extract("out0")
            return torch.from_numpy(logits.numpy().copy())[None]

        return Runner(one_by_one(call))


class SizedAttention(nn.Sequential):
    """What ``LeanAttention`` computes, with the sizes of its maps as numbers, which is what pnnx understands, and with
    maps of one pixel as they are."""

    def __init__(self, old: LeanAttention) -> None:
        super().__init__(OrderedDict(old.named_children()))
        self.upsample = old.upsample

    def forward(self, x: Tensor) -> Tensor:
        height, width = map(int, x.shape[-2:])
        if height == width == 1:
            return torch.sigmoid(super().forward(x))
        gate = torch.sigmoid(super().forward(F.avg_pool2d(x, (min(2, height), min(2, width)))))
        return F.interpolate(gate, size=(height, width), mode=self.upsample)


def _sized(model: nn.Module) -> nn.Module:
    """The lean network, in place, with the same outputs; any other model is returned as it is."""
    for module in [*model.modules()]:
        attention = getattr(module, "short_conv", None)
        if isinstance(attention, LeanAttention):
            module.short_conv = SizedAttention(attention)
    return model


def _export(model: nn.Module, image: Tensor, folder: Path) -> None:
    """Write m.ncnn.param and m.ncnn.bin to ``folder``, among other files."""
    import pnnx

    traced, content = folder / "m.pt", io.BytesIO()  # PyTorch's own writer ends the process where a disk is full
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(model, image, check_trace=False), content)
    traced.write_bytes(content.getbuffer())
    pnnx.convert(str(traced), (image,), fp16=False)


def _part(path: Path, suffix: str) -> Path:
    return path.with_name(path.name.removesuffix(Ncnn.files[0]) + suffix)
