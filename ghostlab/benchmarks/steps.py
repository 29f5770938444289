"""What own kernels save of a training step on a CPU: whole networks, against PyTorch's own in the same rounds."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import Tensor, nn

from ghostlab.benchmarks.contest import Contestant, Setting, contest
from ghostlab.benchmarks.deployables import read_options
from ghostlab.files import write_text
from ghostlab.kernels import DepthwiseKernels
from ghostlab.models import create_model
from ghostlab.quantities import ratio
from ghostlab.tables import Column, terminal_table
from ghostlab.training.allocator import keep_freed_memory

__all__ = ["CASES", "Case", "steps"]

STEPS_FILE = Path("outputs/benchmarks/step.json")


class Case(NamedTuple):
    """A model as in ``ghostnetv2:width=0.35``, the side of its images in pixels, and how many a step has."""

    model: str
    image_size: int
    batch: int


CASES = (
    Case("ghostnetv2:width=0.35", 64, 64),
    Case("ghostnetv2", 224, 16),
    *(
        Case(model, side, batch)
        for model in ("mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0")
        for side, batch in ((32, 64), (64, 64), (224, 8))
    ),
)


class WithKernels(nn.Module):
    """``model``, its depthwise convolutions by own kernels where these are faster."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.kernels = DepthwiseKernels(model)

    def forward(self, x: Tensor) -> Tensor:
        with self.kernels.active():
            return self.model(x)


def plain_network(name: str) -> nn.Module:
    """The model of a case."""
    name, _, options = name.partition(":")
    return create_model(name, **read_options(name, options))


def with_kernels(name: str) -> nn.Module:
    """The same with own kernels."""
    return WithKernels(plain_network(name))


def with_kernels_and_memory(name: str) -> nn.Module:
    """As a run trains on a CPU with ``trainer.cpu_kernels=true``."""
    keep_freed_memory()
    return with_kernels(name)


WAYS = {"PyTorch": plain_network, "kernels": with_kernels, "and memory kept": with_kernels_and_memory}
COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("model", align="left"),
    Column("image_size", "px"),
    Column("batch", "batch"),
    Column("ms", "PyTorch, ms", cell=lambda row: f"{1e3 * row['PyTorch']['seconds']:,.0f}"),
    Column("kernels", cell=lambda row: _ratio(row["kernels"])),
    Column("memory kept", "and memory kept", cell=lambda row: _ratio(row["and memory kept"])),
    Column("peak", "peak memory", cell=lambda row: ratio(row["and memory kept"]["memory"] / row["PyTorch"]["memory"])),
)


def steps(cases: Sequence[Case], threads: int, rounds: int) -> None:
    """Measure each case by every way in processes that take turns; print a table and write ``STEPS_FILE``."""
    rows = [_row(case, threads, rounds) for case in cases]
    about = {"threads": threads, "rounds": rounds, "torch": torch.__version__, "rows": rows}
    about["instructions"] = torch.backends.cpu.get_cpu_capability()
    title = f"a training step in CPU seconds, {threads} threads, float32, {about['instructions']}"
    Console().print(terminal_table(COLUMNS, rows, title))
    write_text(STEPS_FILE, json.dumps(about, indent=2) + "\n")
    print(f"written to {STEPS_FILE}")


def _row(case: Case, threads: int, rounds: int) -> dict[str, Any]:
    setting = Setting(case.batch, case.image_size, "cpu", threads, cpu_time=True)
    contestants = [Contestant(name, functools.partial(build, case.model)) for name, build in WAYS.items()]
    measured = contest(contestants, setting, rounds)
    return {**case._asdict(), **{name: asdict(cost) for name, cost in measured.items()}}


def _ratio(cost: dict[str, float]) -> str:
    return f"{ratio(cost['ratio'])} ({cost['low']:.2f} to {cost['high']:.2f})"
