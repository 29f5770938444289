"""The Lightning data module: loaders for training and validation, and what happens to unreadable images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from ghostlab.data.config import DataConfig
from ghostlab.data.datasets import build
from ghostlab.data.decoded import decode_once
from ghostlab.data.loading import Loader, automatic_workers, loader
from ghostlab.data.samples import Batch, Samples
from ghostlab.data.sampling import BatchKeys, EvalBatchSampler, ListSampler, Replay, TrainSampler, rank_and_world
from ghostlab.data.sources import MemorySource, Source
from ghostlab.data.transforms import View, eval_transform, train_transform
from ghostlab.errors import RunError, UsageError
from ghostlab.files import shown

__all__ = ["DataModule"]

KEPT_BYTES = 2**28
"""Validation tensors of images in memory are kept up to this size."""

logger = logging.getLogger(__name__)


class DataModule(LightningDataModule):
    """Batches of a data set; ``replay``, images drawn before, may be set until a loader is asked for.

    Training images are made into one of ``views``: in an epoch, counted from 0, into that of the number ``view_of``.
    ``setup()`` raises ``UsageError`` and ``RunError`` for data that is missing, damaged or smaller than a batch.
    """

    def __init__(
        self,
        cfg: DataConfig,
        seed: int,
        views: Sequence[View] = (View(),),
        view_of: Callable[[int], int] = lambda epoch: 0,
    ) -> None:
        super().__init__()
        self.cfg, self.seed = cfg, seed
        self.views, self.view_of = views, view_of
        self.replay: Replay | None = None
        self._sources: tuple[Source, Source] | None = None
        self._unreadable: set[str] = set()

    def setup(self, stage: str | None = None) -> None:
        """Find, download or read the images, once."""
        if self._sources is None:
            train, val = build(self.cfg)
            self._sources = decode_once(train, self.cfg), decode_once(val, self.cfg)
        share = self.train_size // rank_and_world()[1]
        if self.cfg.batch_size > share:
            raise UsageError(f"data.batch_size={self.cfg.batch_size}: more than the {share:,} training images a device")

    @property
    def train_source(self) -> Source:
        """The training images; their positions are ``Batch.index``."""
        return self._both()[0]

    @property
    def val_source(self) -> Source:
        """The validation images."""
        return self._both()[1]

    @property
    def class_names(self) -> list[str]:
        """Names in the order of the class indices."""
        return list(self.train_source.class_names)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def train_size(self) -> int:
        """Number of training images."""
        return len(self.train_source.targets)

    @property
    def val_size(self) -> int:
        """Number of validation images."""
        return len(self.val_source.targets)

    @property
    def unreadable(self) -> frozenset[str]:
        """The images that ``data.on_error=skip`` has left out so far in this process."""
        return frozenset(self._unreadable)

    def train_dataloader(self) -> DataLoader[Any]:
        """Full batches of randomly transformed images, in an order of their own each epoch."""
        order = TrainSampler(self.train_size, self.seed, self.replay, self.view_of)
        # When a run is resumed, Lightning starts the workers before it calls set_epoch.
        if self.trainer:
            order.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
        size, batch = self._train_pixels, self.cfg.batch_size
        return self._loader(self._train_samples(), size, batch, sampler=order, batch_size=batch, drop_last=True)

    def listed_dataloader(self, batches: Callable[[], Iterator[BatchKeys]]) -> DataLoader[Any]:
        """Batches of training images, transformed as for training, by lists of (index, seed, view) keys."""
        size, batch = self._train_pixels, self.cfg.batch_size
        return self._loader(self._train_samples(), size, batch, batch_sampler=ListSampler(batches))

    def val_dataloader(self) -> DataLoader[Any]:
        """All validation images in order."""
        size, batch = self.cfg.resolved_test_size, self.cfg.eval_batch_size
        keep = isinstance(self.val_source, MemorySource) and 4 * 3 * size**2 * self.val_size <= KEPT_BYTES
        samples = Samples(self.val_source, eval_transform(self.cfg), keep=keep)
        batches = EvalBatchSampler(self.val_size, batch)
        return self._loader(samples, size, min(batch, self.val_size), 0 if keep else None, batch_sampler=batches)

    def preprocessing(self) -> dict[str, Any]:
        """What must be done to an image before the trained model sees it, and the names of the answers."""
        return {**self.cfg.preprocessing(), "class_names": self.class_names}

    def _readable(self, batch: Batch) -> Batch:
        """The batch without what could not be read; raises ``RunError`` naming the file when that must not be.

        A batch of which nothing could be read is handed out empty.
        """
        if not batch.unreadable:
            return batch
        path, reason = shown(batch.unreadable[0][0]), batch.unreadable[0][1]
        if self.cfg.on_error == "raise":
            raise RunError(f"unreadable image {path}: {reason}; data.on_error=skip leaves such images out")
        for bad, why in batch.unreadable:
            if bad not in self._unreadable:
                logger.warning("left out the unreadable image %s: %s", shown(bad), why)
        self._unreadable.update(bad for bad, _ in batch.unreadable)
        return batch._replace(unreadable=())

    def _train_samples(self) -> Samples:
        return Samples(self.train_source, *(train_transform(self.cfg, view) for view in self.views))

    def _both(self) -> tuple[Source, Source]:
        if self._sources is None:
            raise RuntimeError("call DataModule.setup() first")
        return self._sources

    def _loader(self, samples: Samples, size: int, batch: int, workers: int | None = None, **options: Any) -> Loader:
        """A loader of batches of up to ``batch`` images of ``size`` pixels."""
        if workers is None:
            workers = automatic_workers() if self.cfg.workers is None else self.cfg.workers
        return loader(samples, self._readable, workers, 4 * 3 * size**2 * batch, self.seed, **options)

    @property
    def _train_pixels(self) -> int:
        return max(view.image_size or self.cfg.image_size for view in self.views)
