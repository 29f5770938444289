"""What a file format is: how a network is written, and how the file is run again in the format's own runtime."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from ghostlab.deploy.export.catalog import CATALOG, FormatEntry, missing_packages
from ghostlab.deploy.export.foreign_code import silenced
from ghostlab.deploy.network import Description, Network
from ghostlab.errors import UsageError

__all__ = ["Format", "Quantizer", "Runner", "one_by_one"]

Quantizer = Callable[[Path, Collection[str]], None]
"""Writes a network to a path in int8, but for these convolutions and linear layers of ``network.model``, in float32."""


class Runner(nn.Module):
    """An opened file as a module: images (B, 3, H, W), float32 -> logits (B, classes), float32, for any B."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.call = call

    def forward(self, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return self.call(images.contiguous())


@dataclass(frozen=True)
class Format(ABC):
    """One format; a subclass imports its converter and its runtime only where they are used."""

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]]
    """Suffixes of what it writes, the one that is opened first: (".xml", ".bin")."""
    extra: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """``extra`` and ``packages`` are those of ``CATALOG``, where it has the format."""
    dynamic_batch: ClassVar[bool] = True
    block: ClassVar[int] = 1
    """Channels that the runtime computes together: a lean GhostNet's are padded to a multiple of it."""
    modules: ClassVar[tuple[str, ...]] = ()
    """What opening a file imports, if not the last of ``packages``."""

    def __init_subclass__(cls) -> None:
        if known := CATALOG.get(cls.name):
            cls.extra, cls.packages = known.extra, known.packages

    def require(self) -> None:
        """Raise ``UsageError`` saying what to install where something is missing."""
        if missing := missing_packages(self.name, FormatEntry(self.extra, self.packages)):
            raise UsageError(missing)

    def import_runtime(self) -> None:
        """Import what opening a file would, which takes seconds that are not the file's."""
        with silenced():
            for name in self.modules or self.packages[-1:]:
                importlib.import_module(name)

    @property
    def runtime(self) -> str:
        """The runtime and its version, such as "onnxruntime 1.32.0"."""
        return f"{self.packages[-1]} {version(self.packages[-1])}"

    @property
    def runs_here(self) -> bool:
        """Whether its files can be run on this machine."""
        return True

    @abstractmethod
    def convert(self, network: Network, path: Path, dynamic_size: bool = False) -> None:
        """Write the network, with its description inside, to ``path``, which ends in ``files[0]``, and its siblings."""

    @abstractmethod
    def describe(self, path: Path) -> Description:
        """The description in a file; ``RunError`` for a file that is damaged or of another origin, which is not run."""

    @abstractmethod
    def open(self, path: Path, threads: int | None = None) -> Runner:
        """The file in its runtime, in float32 arithmetic; ``threads`` None: as many as the runtime likes."""

    def check_structure(self, path: Path, network: Network) -> str:
        """What was checked in a file that does not run here, in one line; ``RunError`` for one that is wrong."""
        raise NotImplementedError(f"{self.name} runs everywhere")

    def quantizer(self, network: Network, calibration: Sequence[Tensor]) -> Quantizer:
        """What writes ``network`` in int8, calibrated on batches of images (B, 3, H, W); ``UsageError`` without int8.

        Weights have one scale an output channel, activations one a tensor.
        """
        raise UsageError(f"--int8: not for {self.name}")


def one_by_one(call: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """``call``, which takes one image (1, 3, H, W), for images (B, 3, H, W)."""
    return lambda images: torch.cat([call(image) for image in images.split(1)])
