"""Training steps of several models, each in a process of its own, taking turns on the same machine."""

from __future__ import annotations

import functools
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ghostlab.benchmarks.turns import Handler, WorkerProcess, answering
from ghostlab.errors import UsageError
from ghostlab.terminal import tracked

__all__ = ["Contestant", "Setting", "StepCost", "contest"]


@dataclass(frozen=True)
class Setting:
    """The conditions that all contestants share."""

    batch: int
    image_size: int
    device: str
    threads: int
    compile: bool = False
    steps: int = 1
    """Training steps timed together in one turn."""
    cpu_time: bool = False
    """Of all threads, without the waiting for a CPU that others use; else the time that passes."""

    def __post_init__(self) -> None:
        for name in ("batch", "image_size", "threads", "steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be at least 1")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("--device cuda: there is no CUDA device here; allowed: cpu")

    def __str__(self) -> str:
        how = "compiled" if self.compile else "eager"
        where = f"{self.threads} threads, float32" if self.device == "cpu" else "bf16 autocast"
        return f"{self.device} ({where}, channels-last, {how}), batch {self.batch} at {self.image_size} px"


@dataclass(frozen=True)
class Contestant:
    """A name, and a function of no arguments (importable, so that another process can call it) that makes the model."""

    name: str
    build: Callable[[], nn.Module]


@dataclass(frozen=True)
class StepCost:
    """Medians over the rounds; ``ratio`` is to the first contestant's time in the same round."""

    seconds: float
    ratio: float
    low: float
    high: float
    memory: float
    """Peak in MiB: of the process beyond what it had before it built the model, or of the GPU's allocator."""


def contest(contestants: Sequence[Contestant], setting: Setting, rounds: int) -> dict[str, StepCost]:
    """Let every contestant take ``rounds`` turns, one after the other, and measure them against the first."""
    seconds: dict[str, list[float]] = {one.name: [] for one in contestants}
    with ExitStack() as stack:
        seats: list[WorkerProcess] = []
        for one in contestants:
            seats.append(
                stack.enter_context(WorkerProcess(one.name, answering(functools.partial(_prepare, one, setting))))
            )
            seats[-1].wait()  # built and warmed up, so that no other measures its noise
        for _ in tracked(range(rounds), f"{len(contestants)} models"):
            for seat in seats:
                seconds[seat.name].append(seat.ask("step"))
        memory: dict[str, float] = {seat.name: seat.ask("memory") for seat in seats}
    first = seconds[contestants[0].name]
    return {name: _measured(turns, first, memory[name]) for name, turns in seconds.items()}


def _measured(turns: list[float], first: list[float], memory: float) -> StepCost:
    ratios = sorted(turn / other for turn, other in zip(turns, first, strict=True))
    return StepCost(statistics.median(turns), statistics.median(ratios), ratios[0], ratios[-1], memory)


def _prepare(contestant: Contestant, setting: Setting) -> Handler:
    torch.set_num_threads(setting.threads)
    before = _resident()
    step = _training_step(contestant.build(), setting)
    for _ in range(2):
        step()

    def answer(question: str) -> float:
        if question == "step":
            return _timed(step, setting)
        on_gpu = setting.device == "cuda"
        return torch.cuda.max_memory_allocated() / 2**20 if on_gpu else _resident(peak=True) - before

    return answer


def _resident(peak: bool = False) -> float:
    """Memory of this process in MiB, now or at most; NaN where neither is known, on Windows.

    On Linux not by ``getrusage``, whose maximum begins with that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return _most_by_usage()
    key = "VmHWM:" if peak else "VmRSS:"
    return next(int(line.split()[1]) / 2**10 for line in status.read_text().splitlines() if line.startswith(key))


def _most_by_usage() -> float:
    try:
        import resource  # not on Windows
    except ModuleNotFoundError:
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _training_step(model: nn.Module, setting: Setting) -> Callable[[], object]:
    device = torch.device(setting.device)
    model = model.to(device).to(memory_format=torch.channels_last).train()
    if setting.compile:
        model.compile()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    shape = (setting.batch, 3, setting.image_size, setting.image_size)
    images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 1000, (setting.batch,), device=device)

    def step() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = nn.functional.cross_entropy(model(images), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def _timed(step: Callable[[], object], setting: Setting) -> float:
    """Seconds a step, over ``setting.steps`` of them."""
    if setting.device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(setting.steps):
            step()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3 / setting.steps
    clock = time.process_time if setting.cpu_time else time.perf_counter
    began = clock()
    for _ in range(setting.steps):
        step()
    return (clock() - began) / setting.steps
