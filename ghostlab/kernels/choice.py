"""Which way computes a depthwise convolution of some shape: measured once for each processor, and kept."""

from __future__ import annotations

import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from ghostlab.errors import WriteError
from ghostlab.files import cache_folder, write_text
from ghostlab.kernels.build import signature
from ghostlab.kernels.function import Way, depthwise
from ghostlab.kernels.geometry import Geometry
from ghostlab.kernels.native import SOURCE

__all__ = ["Choices"]

ROUNDS = 4
CLEAR = 1.4
"""By what factor the fastest way must lead after the first round for no other to follow."""


class Choices:
    """The way of every shape that was asked for.

    A way is measured when its shape is first seen, and kept in ``cache_folder``: other runs on this machine take the
    same, and so round in the same way. What a run has taken is in ``state``, so that it goes on with it whatever has
    become of the folder. Where nothing can be kept nothing is measured, and own kernels compute both directions.
    """

    def __init__(self) -> None:
        self.taken: dict[str, Way] = {}

    def of(self, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Way:
        """The way for x (B, C, H, W) and weight (C, 1, k_h, k_w); all numbers of images with as many bits share it."""
        layout = "first" if x.is_contiguous() and x.stride(1) != 1 else "last"
        key = _key(x.dtype, layout, x.shape, bias is not None, geometry, torch.get_num_threads())
        if key not in self.taken:
            self.taken[key] = _kept(key, lambda: fastest(x, weight, bias, geometry))
        return self.taken[key]

    def state(self) -> dict[str, Any]:
        """What was taken so far, as plain values."""
        return {"machine": _machine(), "ways": {key: way.value for key, way in self.taken.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the same again, if this is a machine of the same kind."""
        if state["machine"] == _machine():
            self.taken |= {key: Way(value) for key, value in state["ways"].items()}


def fastest(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Way:
    """The fastest way forward and back, by the shortest of a few rounds."""
    tensors = [one if one is None else one.detach().requires_grad_() for one in (x, weight, bias)]
    best = dict.fromkeys(Way, math.inf)
    # Whatever keeps track of the tensors that are saved in this thread, such as checkpointing, shall not see these.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda one: one, lambda one: one):
        for way in Way:
            _seconds(way, tensors, geometry)
        for _ in range(ROUNDS):
            best = {way: min(least, _seconds(way, tensors, geometry)) for way, least in best.items()}
            first, second, *_ = sorted(best.values())
            if second > CLEAR * first:
                break
    return min(best, key=lambda way: best[way])


def _seconds(way: Way, tensors: list[Tensor | None], geometry: Geometry) -> float:
    x, weight, bias = tensors
    began = time.perf_counter()
    y = depthwise(x, weight, bias, geometry, way)  # type: ignore[arg-type]
    torch.autograd.grad(y, [one for one in tensors if one is not None], y.detach())
    return time.perf_counter() - began


def _kept(key: str, measure: Callable[[], Way]) -> Way:
    """The way in this machine's file, after measuring it where it is not there; other processes wait meanwhile."""
    path = _file()
    try:
        if (way := _read(path).get(key)) is not None:
            return way
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            known = _read(path)
            if key not in known:
                known[key] = measure()
                write_text(path, json.dumps({name: way.value for name, way in sorted(known.items())}, indent=0) + "\n")
            return known[key]
    except (OSError, NotImplementedError, WriteError):
        return Way.BOTH


def _read(path: Path) -> dict[str, Way]:
    try:
        return {key: Way(value) for key, value in json.loads(path.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):  # not a file of this package
        return {}


def _file() -> Path:
    return cache_folder() / f"convolutions-{_machine()}.json"


@functools.cache
def _machine() -> str:
    """Changes with the kernels, the compiler, the processor and PyTorch."""
    return f"{signature(SOURCE)}-{torch.__version__}"


@functools.lru_cache(1024)
def _key(dtype: torch.dtype, layout: str, shape: torch.Size, bias: bool, geometry: Geometry, threads: int) -> str:
    batch, *image = shape
    numbers = (*image, *geometry.size, *geometry.stride, *geometry.padding, int(bias))
    return f"{dtype} {layout} {2 ** (batch - 1).bit_length()} {' '.join(map(str, numbers))} on {threads} threads"
