"""The papers' tables of scaled networks, with MACs computed here beside the printed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from rich.console import Console

from ghostlab.models import Counts, count, create_model
from ghostlab.models.scaling import Factors, round_resolution
from ghostlab.tables import Column, terminal_table

__all__ = ["TABLES", "PaperTable", "PrintedRow", "count_printed", "print_paper_tables", "rounds_to"]

COMPOUND = Factors(1.4, 1.2, 1.3)
"""Depth, width and resolution that the paper prints for MobileNetV1 (table 3) and B0 (table 7)."""


class PrintedRow(NamedTuple):
    """A printed row: ``gmacs`` and ``mparams`` are texts, whose digits say how exact they are; top-1 in percent."""

    label: str
    model: str
    factors: Factors
    gmacs: str
    top1: float
    mparams: str = ""
    guessed: bool = False
    """The paper does not print the factors."""


class CountedRow(NamedTuple):
    """A printed row with the size of its images, and the parameters and MACs that its network has here."""

    printed: PrintedRow
    pixels: int
    counts: Counts


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper; ``pixels`` is the side of the images at resolution 1."""

    title: str
    pixels: int
    rows: Sequence[PrintedRow]


DEPTH, WIDTH, RESOLUTION = Factors(depth=4.0), Factors(width=2.0), Factors(resolution=2.0)
TABLES = (
    PaperTable(
        "MobileNets and ResNet scaled (EfficientNet, table 3)",
        224,
        (
            PrintedRow("MobileNetV1", "mobilenetv1", Factors(), "0.6", 70.6),
            PrintedRow("  wider", "mobilenetv1", WIDTH, "2.2", 74.2),
            PrintedRow("  larger images", "mobilenetv1", RESOLUTION, "2.2", 72.7),
            PrintedRow("  compound", "mobilenetv1", COMPOUND, "2.3", 75.6),
            PrintedRow("MobileNetV2", "mobilenetv2", Factors(), "0.3", 72.0),
            PrintedRow("  deeper", "mobilenetv2", DEPTH, "1.2", 76.8),
            PrintedRow("  wider", "mobilenetv2", WIDTH, "1.1", 76.4),
            PrintedRow("  larger images", "mobilenetv2", RESOLUTION, "1.2", 74.8),
            PrintedRow("  compound", "mobilenetv2", COMPOUND, "1.3", 77.4, guessed=True),
            PrintedRow("ResNet-50", "resnet50", Factors(), "4.1", 76.0),
            PrintedRow("  deeper", "resnet50", DEPTH, "16.2", 78.1),
            PrintedRow("  wider", "resnet50", WIDTH, "14.7", 77.7),
            PrintedRow("  larger images", "resnet50", RESOLUTION, "16.4", 77.5),
            PrintedRow("  compound", "resnet50", COMPOUND, "16.7", 78.8, guessed=True),
        ),
    ),
    PaperTable(
        "EfficientNet-B0 scaled (EfficientNet, table 7)",
        224,
        (
            PrintedRow("B0", "efficientnet_b0", Factors(), "0.4", 77.3),
            PrintedRow("  deeper", "efficientnet_b0", DEPTH, "1.8", 79.0),
            PrintedRow("  wider", "efficientnet_b0", WIDTH, "1.8", 78.9),
            PrintedRow("  larger images", "efficientnet_b0", RESOLUTION, "1.9", 79.1),
            PrintedRow("  compound", "efficientnet_b0", COMPOUND, "1.8", 81.1),
        ),
    ),
    PaperTable(
        "Fused-MBConv in EfficientNet-B4 (EfficientNetV2, table 3)",
        380,
        (
            PrintedRow("none", "efficientnet_b4", Factors(), "4.5", 82.8, "19.3"),
            PrintedRow("stages 1-3", "efficientnet_b4_fused3", Factors(), "7.5", 83.1, "20.0"),
            PrintedRow("stages 1-5", "efficientnet_b4_fused5", Factors(), "21.3", 83.1, "43.4"),
            PrintedRow("stages 1-7", "efficientnet_b4_fused7", Factors(), "34.4", 81.7, "132.0"),
        ),
    ),
)


@cache
def count_printed(row: PrintedRow, pixels: int) -> Counts:
    """Parameters and MACs of a row's network for images of ``pixels`` at 1,000 classes."""
    with torch.device("meta"):
        model = create_model(row.model, depth=row.factors.depth, width=row.factors.width)
    return count(model, pixels)


def rounds_to(value: float, printed: str) -> bool:
    """Whether ``value``, written with as many decimals as ``printed``, is what is printed."""
    decimals = len(printed.partition(".")[2])
    return f"{value:.{decimals}f}" == printed


def print_paper_tables(multiple: int = 1) -> None:
    """Print all tables. Image sizes are rounded to multiples of ``multiple``."""
    for paper in TABLES:
        sizes = [round_resolution(paper.pixels, row.factors.resolution, multiple) for row in paper.rows]
        rows = [CountedRow(row, size, count_printed(row, size)) for row, size in zip(paper.rows, sizes, strict=True)]
        console = Console(width=max(80, Console().width))
        console.print(terminal_table(_columns(paper), rows, paper.title, box=None))
        print()
    print(
        "d, w: depth and width; (?): not printed in the paper, so those of MobileNetV1. top-1 in %, FLOPs in 10^9 and"
    )
    print(
        "params in 10^6 as printed; FLOPs are multiply-adds. yes: what is computed here rounds to the printed digits."
    )


def _columns(paper: PaperTable) -> list[Column[CountedRow]]:
    macs = _compared("macs", "FLOPs", lambda row: (row.printed.gmacs, row.counts.macs / 1e9))
    params = _compared("params", "params", lambda row: (row.printed.mparams, row.counts.params / 1e6))
    return [
        Column("label", get=lambda row: row.printed.label + (" (?)" if row.printed.guessed else ""), align="left"),
        Column("factors", "d, w, pixels", cell=_sizes),
        Column("top1", "top-1", lambda row: row.printed.top1, "{:.1f}".format),
        *macs,
        *(params if any(row.mparams for row in paper.rows) else []),
    ]


def _compared(key: str, heading: str, figures: Callable[[CountedRow], tuple[str, float]]) -> list[Column[CountedRow]]:
    """What is printed, what is counted here, and whether that rounds to the printed digits."""

    def same(row: CountedRow) -> str:
        printed, value = figures(row)
        return "yes" if rounds_to(value, printed) else f"{100 * (value / float(printed) - 1):+.1f}%"

    return [
        Column(f"{key}_printed", heading, lambda row: figures(row)[0]),
        Column(key, "here", lambda row: figures(row)[1], "{:.3f}".format),
        Column(f"{key}_same", "same", cell=same),
    ]


def _sizes(row: CountedRow) -> str:
    return f"{row.printed.factors.depth:g}, {row.printed.factors.width:g}, {row.pixels}"
