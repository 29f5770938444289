"""A format whose files hold nothing but their description, to test what is done with formats."""

from __future__ import annotations

from pathlib import Path

import torch

from ghostlab.deploy.export.format import Format, Runner
from ghostlab.deploy.network import Description, Network

__all__ = ["Fake"]


class Fake(Format):
    """Takes one image at a time; every image is of the last class."""

    name = "fake"
    files = (".fake",)
    extra = "fake"
    packages = ("json",)
    dynamic_batch = False

    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        path.write_text(network.description.text())

    def describe(self, path: Path) -> Description:
        return Description.parse(path.read_text(), path)

    def open(self, path: Path, threads: int | None = None) -> Runner:
        logits = torch.arange(float(len(self.describe(path).class_names)))
        return Runner(lambda images: logits.repeat(len(images), 1))
