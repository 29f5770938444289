"""The same network on the same images by this package and by what others use: what an image of an epoch costs."""

from __future__ import annotations

import functools
import json
import logging
import re
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule, Trainer
from rich.console import Console
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from ghostlab.benchmarks.clock import Clock, Epoch, now, train_in_turns
from ghostlab.benchmarks.turns import Handler, WorkerProcess, answering
from ghostlab.errors import UsageError
from ghostlab.files import write_text
from ghostlab.quantities import ratio
from ghostlab.runs.compose import compose
from ghostlab.runs.settings import Settings, parse
from ghostlab.strategies.base import Task
from ghostlab.tables import Column, terminal_table
from ghostlab.terminal import say, tracked
from ghostlab.training.build import build_model
from ghostlab.training.memory import PeakMemory

__all__ = ["PIPELINES", "Throughput", "throughput"]

THROUGHPUT_FILE = Path("outputs/benchmarks/throughput.json")
CPU = torch.device("cpu")
COMPARED = re.compile(r"\+*(data|model|optimizer)[.=]|trainer\.channels_last=")
"""Overrides that have the same meaning for every pipeline."""
Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Throughput:
    """Of a pipeline: images a CPU second, its speed as a ratio to this package's in the same round, and its memory."""

    pipeline: str
    images_per_second: float
    speed: float
    rounds: list[float]
    memory: float


COLUMNS: tuple[Column[Throughput], ...] = (
    Column("pipeline", "pipeline", align="left"),
    Column("images_per_second", "images/s", show="{:,.1f}".format),
    Column("speed", "speed", show=ratio),
    Column("rounds", "of rounds", show=lambda rounds: f"{min(rounds):.2f} to {max(rounds):.2f}"),
    Column("memory", "peak MiB", show="{:,.0f}".format),
)


def throughput(rounds: int, overrides: Sequence[str]) -> None:
    """Let every pipeline train an epoch in turn, ``rounds`` times; print CPU seconds as speeds, and write them.

    Each is a process of one thread that loads its images itself. An epoch is that of whole training with its
    checkpoint, without validation; the crops, mirror images, network and optimizer are the same. Raises ``UsageError``
    for data that is no folder of images, which is what all of them read, and for an override that not all can follow.
    """
    for line in overrides:
        if not COMPARED.match(line) or (line.startswith("data.workers=") and line != "data.workers=0"):
            raise UsageError(
                f"{line}: not every pipeline can follow it; data (without workers), model, optimizer and"
                " trainer.channels_last can be given"
            )
    settings = parse(compose(overrides))
    if settings.data.root is None or settings.data.crop != "resized":
        raise UsageError(
            f"data={settings.data.name}: must be a folder of images that are cropped, as in data=imagefolder"
        )
    with tempfile.TemporaryDirectory() as folder:
        epochs = _measured(rounds, [*overrides, f"outputs={folder}"])
    ours = epochs["ghostlab"]
    found = [_summary(name, of_rounds, ours) for name, of_rounds in epochs.items()]
    content = {"overrides": list(overrides), "rounds": rounds, "rows": [vars(one) for one in found]}
    write_text(THROUGHPUT_FILE, json.dumps(content, indent=2) + "\n")
    Console().print(terminal_table(COLUMNS, found, " ".join(["training by each pipeline", *overrides])))
    say(f"written to {THROUGHPUT_FILE}")


def _measured(rounds: int, overrides: Sequence[str]) -> dict[str, list[Epoch]]:
    lines = [*overrides, f"trainer.max_epochs={rounds + 1}", "data.workers=0", "trainer.accelerator=cpu"]
    found: dict[str, list[Epoch]] = {name: [] for name in PIPELINES}
    with ExitStack() as stack:
        processes = [stack.enter_context(WorkerProcess(name, work(lines))) for name, work in PIPELINES.items()]
        for process in processes:
            process.wait()
        for _ in tracked(range(rounds), "benchmark"):
            for process in processes:
                found[process.name].append(process.ask("epoch"))
    return found


def _summary(name: str, epochs: Sequence[Epoch], ours: Sequence[Epoch]) -> Throughput:
    speeds = [base.seconds / one.seconds for base, one in zip(ours, epochs, strict=True)]
    rate = 1 / statistics.median(one.seconds for one in epochs)
    return Throughput(name, rate, statistics.median(speeds), speeds, epochs[-1].memory)


def _own(overrides: Sequence[str], pipe: Connection) -> None:
    train_in_turns(overrides, True, pipe)


def _plain_loop(load: Callable[[Settings], Batches], overrides: Sequence[str]) -> Handler:
    """A loop as everyone writes it, which saves network and optimizer after each epoch."""
    torch.set_num_threads(1)
    settings = parse(compose(overrides))
    batches, model, optimizer = load(settings), *_network(settings)
    memory = PeakMemory(CPU)

    def epoch(_: str = "") -> Epoch:
        began, images = now(CPU), 0
        for pixels, targets in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(_laid_out(pixels, settings)), targets).backward()
            optimizer.step()
            images += len(targets)
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, settings.outputs / "loop.pt")
        return Epoch((now(CPU) - began) / images, memory.mib() or float("nan"))

    epoch()
    return epoch


def _lightning(overrides: Sequence[str], pipe: Connection) -> None:
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    settings = parse(compose(overrides))
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=settings.trainer.max_epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=settings.outputs / "lightning",
        callbacks=[Clock(pipe, settings.data.batch_size, whole=True)],
    )
    trainer.fit(_Module(settings), _torchvision_loader(settings))


class _Module(LightningModule):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self.model, self._optimizer = _network(settings)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return F.cross_entropy(self.model(_laid_out(batch[0], self.settings)), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self._optimizer


def _network(settings: Settings) -> tuple[nn.Module, torch.optim.Optimizer]:
    data = settings.data
    task = Task(len(_images(settings).classes), data.image_size, tuple(data.mean), tuple(data.std), 1, 1)
    model = build_model(settings, task).train()
    if settings.trainer.channels_last:
        model = model.to(memory_format=torch.channels_last)
    return model, create_optimizer_v2(model, **settings.optimizer.timm_options())


def _laid_out(images: Tensor, settings: Settings) -> Tensor:
    return images.to(memory_format=torch.channels_last) if settings.trainer.channels_last else images


def _images(settings: Settings, transform: Callable[..., Any] | None = None) -> ImageFolder:
    root = Path(str(settings.data.root)).expanduser()
    return ImageFolder(str(root / "train" if (root / "train").is_dir() else root), transform)


def _torchvision_loader(settings: Settings) -> Batches:
    data = settings.data
    crop = transforms.RandomResizedCrop(data.image_size, (data.crop_scale, 1), interpolation=_mode(settings))
    steps = [crop, *([transforms.RandomHorizontalFlip()] if data.flip else []), transforms.ToTensor()]
    images = _images(settings, transforms.Compose([*steps, transforms.Normalize(data.mean, data.std)]))
    return DataLoader(images, data.batch_size, shuffle=True, drop_last=True)


def _timm_loader(settings: Settings) -> Batches:
    data = settings.data
    shape = (3, data.image_size, data.image_size)
    return create_loader(
        _images(settings),
        input_size=shape,
        batch_size=data.batch_size,
        is_training=True,
        use_prefetcher=False,
        scale=(data.crop_scale, 1.0),
        hflip=0.5 if data.flip else 0.0,
        color_jitter=0.0,
        interpolation=data.interpolation,
        mean=tuple(data.mean),
        std=tuple(data.std),
        num_workers=0,
        persistent_workers=False,
    )


def _mode(settings: Settings) -> transforms.InterpolationMode:
    return transforms.InterpolationMode(settings.data.interpolation)


Lines = Sequence[str]
PIPELINES: dict[str, Callable[[Lines], Callable[[Connection], None]]] = {
    "ghostlab": lambda lines: functools.partial(_own, lines),
    "timm's loader, plain loop": lambda lines: answering(functools.partial(_plain_loop, _timm_loader, lines)),
    "torchvision's, plain loop": lambda lines: answering(functools.partial(_plain_loop, _torchvision_loader, lines)),
    "torchvision's, Lightning": lambda lines: functools.partial(_lightning, lines),
}
"""What trains the network: the work of a process, made of the overrides of ``train.py``."""
