"""ncnn's two files, written by pnnx and run by ncnn."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from ghostlab.deploy.export.attention import SizedAttention, with_attention
from ghostlab.deploy.export.checksums import check_sha256, sha256
from ghostlab.deploy.export.foreign_code import conversion_errors, reading_errors
from ghostlab.deploy.export.format import Format, Runner, one_by_one
from ghostlab.deploy.lean import lean
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
    dynamic_batch = False

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        model = with_attention(lean(network.model, self.block), SizedAttention)
        with conversion_errors(self.name), tempfile.TemporaryDirectory(dir=path.parent) as folder:
            _export(model, network.example[:1], Path(folder))
            sums = {}
            for suffix in self.files[:2]:
                part = Path(folder, f"m{suffix}").replace(_part(path, suffix))
                sums[suffix] = sha256(part.read_bytes())
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
            check_sha256(_part(path, suffix), expected, path)
        return Description.parse(text, beside)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        self.describe(path)
        with reading_errors(path, "ncnn"):
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
