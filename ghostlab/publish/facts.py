"""What is known of a published run, as plain values: collected from its files, shown by the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ghostlab.models import Counts

__all__ = ["LICENCES", "Ablation", "Check", "Facts", "Latency"]

LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "isc"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("openrail", "unlicense", "other"),
)
"""Licences by the names that the hub has for them; "other" for one that it has no name for."""


@dataclass(frozen=True)
class Check:
    """The published network against the run's: the largest difference of an output, relative to the largest output,
    and the top-1 of both in percent on the validation images, where these are there."""

    difference: float
    top1: tuple[float, float] | None


@dataclass(frozen=True)
class Latency:
    """A measured row: milliseconds for a batch of ``batch`` images of ``image_size`` pixels, and where."""

    name: str
    runtime: str
    threads: int
    batch: int
    image_size: int
    median_ms: float
    p95_ms: float
    processor: str


@dataclass(frozen=True)
class Ablation:
    """The run's row in an ablation; differences in percentage points, None where nothing was compared."""

    name: str
    seeds: Sequence[int]
    top1: float
    top1_sd: float | None
    reference: str | None
    difference: float | None
    interval: tuple[float, float] | None
    verdict: str | None
    method: str


@dataclass(frozen=True)
class Facts:
    """All that a card says."""

    name: str
    architecture: str
    own: bool
    """Whether ``import ghostlab.models`` has to come first."""
    licence: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    command: str
    counts: Counts
    """Of the published network, with its batch norms."""
    images: tuple[int, int] | None
    """Numbers of training and validation images, where these are there."""
    check: Check
    latencies: Sequence[Latency]
    ablation: Ablation | None

    @property
    def image_size(self) -> int:
        """Side of the images in pixels."""
        return int(self.preprocessing["input_size"][-1])
