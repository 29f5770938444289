from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytest import LogCaptureFixture, MonkeyPatch, param
from pytorch_lightning import LightningModule, Trainer
from torchvision.transforms import v2

from ghostlab.data import Batch, DataConfig, DataModule
from ghostlab.data import module as module_file
from ghostlab.data.transforms import View
from ghostlab.errors import RunError, UsageError

MakeFolder = Callable[[Mapping[str, int]], Path]
DIGITS = DataConfig("digits", image_size=16, crop="padded", crop_padding=2, crop_pct=1.0, batch_size=128, workers=0)
FEW = replace(DIGITS, batch_size=64, val_fraction=0.8)
TWO_HALVES = {"train/a": 6, "train/b": 6, "val/a": 3, "val/b": 3}


def ready(cfg: DataConfig, seed: int = 0, **transforms: Any) -> DataModule:
    data = DataModule(cfg, seed, **transforms)
    data.setup()
    return data


def folder(root: Path, **options: Any) -> DataConfig:
    return DataConfig("imagefolder", str(root), **{"image_size": 8, "batch_size": 4, "workers": 0, **options})


def epoch(loader: Any, number: int) -> list[Batch]:
    loader.sampler.set_epoch(number)
    return list(loader)


def by_index(batches: Iterable[Batch]) -> dict[int, torch.Tensor]:
    return {int(index): image for batch in batches for index, image in zip(batch.index, batch.images, strict=True)}


def equal(one: list[Batch], other: list[Batch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(x, y) for a, b in zip(one, other, strict=True) for x, y in zip(a[:4], b[:4], strict=True)
    )


def test_what_is_known_after_setup() -> None:
    data = ready(DIGITS)
    assert (data.num_classes, data.train_size, data.val_size) == (10, 1437, 360)
    assert data.class_names == list("0123456789")
    assert (len(data.train_dataloader()), len(data.val_dataloader())) == (11, 2)


def test_setup_reads_the_data_once(monkeypatch: MonkeyPatch) -> None:
    built = []
    build = module_file.build
    monkeypatch.setattr(module_file, "build", lambda cfg: built.append(cfg) or build(cfg))
    data = ready(DIGITS)
    data.setup("fit")
    data.setup("validate")
    assert len(built) == 1


def test_training_batches_are_full_and_never_repeat_an_image() -> None:
    batches = epoch(ready(DIGITS).train_dataloader(), 0)
    assert {batch.images.shape for batch in batches} == {(128, 3, 16, 16)}
    assert len(by_index(batches)) == 11 * 128


def test_validation_is_every_image_in_order_whatever_the_batch_size() -> None:
    whole, small = (list(ready(replace(DIGITS, eval_batch_size=n)).val_dataloader()) for n in (360, 50))
    assert torch.cat([batch.index for batch in small]).tolist() == list(range(360))
    assert torch.equal(torch.cat([batch.images for batch in small]), whole[0].images)
    assert max(len(batch.targets) for batch in small) <= 50


RANDOM: dict[str, Any] = {
    "views": [View(None, [v2.RandAugment()], [v2.RandomErasing(p=0.5)])],  # draw from torch
}


def test_the_same_epoch_is_the_same_with_and_without_workers() -> None:
    alone = ready(FEW, **RANDOM).train_dataloader()
    helped = ready(replace(FEW, workers=2), **RANDOM).train_dataloader()
    assert helped.persistent_workers
    for number in (0, 3):  # the workers of epoch 0 are still there in epoch 3
        assert equal(epoch(alone, number), epoch(helped, number))


def test_an_epoch_is_the_same_after_a_jump_as_after_all_epochs_before_it() -> None:
    walked, jumped = (ready(FEW, **RANDOM).train_dataloader() for _ in range(2))
    for number in range(4):
        last = epoch(walked, number)
    assert equal(last, epoch(jumped, 3))


def test_the_augmentation_of_an_image_does_not_depend_on_the_batch_size() -> None:
    large = by_index(epoch(ready(FEW, **RANDOM).train_dataloader(), 0))
    small = by_index(epoch(ready(replace(FEW, batch_size=7), **RANDOM).train_dataloader(), 0))
    both = large.keys() & small.keys()
    assert len(both) >= 5 * 64 - 2
    assert all(torch.equal(large[index], small[index]) for index in both)


@pytest.mark.parametrize(("seed", "number"), [param(0, 1, id="another-epoch"), param(1, 0, id="another-run")])
def test_epochs_and_runs_differ_in_order_and_augmentation(seed: int, number: int) -> None:
    first, other = epoch(ready(DIGITS).train_dataloader(), 0), epoch(ready(DIGITS, seed).train_dataloader(), number)
    assert not torch.equal(first[0].index, other[0].index)
    one, two = by_index(first), by_index(other)
    both = one.keys() & two.keys()
    changed = sum(not torch.equal(one[index], two[index]) for index in both)
    assert changed > 0.9 * len(both)  # 25 places and a flip: some are drawn twice


def test_loading_does_not_change_what_training_draws() -> None:
    before = torch.get_rng_state()
    for workers in (0, 2):
        data = ready(replace(DIGITS, workers=workers, batch_size=512))
        list(data.train_dataloader())
        list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def test_validation_images_in_memory_are_transformed_once(monkeypatch: MonkeyPatch) -> None:
    loader = ready(replace(DIGITS, workers=2)).val_dataloader()
    first = list(loader)
    monkeypatch.setattr(loader.dataset, "transforms", ())  # would fail when asked
    assert equal(first, list(loader))


def test_lightning_moves_the_training_order_on_with_the_epochs() -> None:
    seen: list[list[int]] = []
    checked: list[int] = []

    class Net(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch: Batch, _: int) -> torch.Tensor:
            seen.append(batch.index.tolist())
            return self.weight * batch.images.mean()

        def validation_step(self, batch: Batch, _: int) -> None:
            checked.append(len(batch.unreadable))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    data = ready(replace(DIGITS, batch_size=1000))
    Trainer(max_epochs=3, barebones=True, accelerator="cpu", use_distributed_sampler=False).fit(Net(), data)
    expected = [epoch(data.train_dataloader(), number)[0].index.tolist() for number in range(3)]
    assert seen == expected
    assert checked == [0] * 6  # two batches after each epoch


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.batch_size=1438: more than the 1,437 training images"):
        ready(replace(DIGITS, batch_size=1438))
    assert len(ready(replace(DIGITS, batch_size=1437)).train_dataloader()) == 1


@pytest.fixture
def broken(make_folder: MakeFolder) -> Path:
    """Training image a/3 is cut off."""
    root = make_folder(TWO_HALVES)
    file = root / "train" / "a" / "3.png"
    file.write_bytes(file.read_bytes()[:300])
    return root


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_stops_the_run_by_name(broken: Path, workers: int) -> None:
    data = ready(folder(broken, workers=workers))
    with pytest.raises(RunError, match=r"unreadable image .*/train/a/3.png: .*; data.on_error=skip") as caught:
        list(data.train_dataloader())
    assert "\n" not in str(caught.value)


def test_unreadable_images_are_skipped_counted_once_and_told_once(broken: Path, caplog: LogCaptureFixture) -> None:
    data = ready(folder(broken, on_error="skip"))
    loader = data.train_dataloader()
    with caplog.at_level(logging.WARNING):
        batches = epoch(loader, 0) + epoch(loader, 1)
    assert len(data.unreadable) == 1
    assert sum(len(batch.targets) for batch in batches) == 22
    assert all(batch.unreadable == () for batch in batches)
    assert 3 not in torch.cat([batch.index for batch in batches])
    assert [record.getMessage().count("train/a/3.png") for record in caplog.records] == [1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_without_a_readable_image_is_empty_and_the_others_are_as_they_were(broken: Path, workers: int) -> None:
    data = ready(folder(broken, on_error="skip", batch_size=1, workers=workers))
    sizes = [len(batch.targets) for batch in data.train_dataloader()]
    assert sorted(sizes) == [0] + [1] * 11
    assert len(data.unreadable) == 1


def test_an_epoch_without_a_readable_image_stops_the_run(make_folder: MakeFolder) -> None:
    root = make_folder(TWO_HALVES)
    for file in (root / "val").rglob("*.png"):
        file.write_bytes(b"text")
    data = ready(folder(root, on_error="skip"))
    assert len(list(data.train_dataloader())) == 3
    with pytest.raises(RunError, match=r"no image could be read, beginning with .*/val/a/0.png: not an image"):
        list(data.val_dataloader())


def test_whatever_cannot_be_read_is_skipped(make_folder: MakeFolder, nobody: Callable[[], Any]) -> None:
    root = make_folder(TWO_HALVES)
    (root / "train/a/0.png").chmod(0)
    (root / "train/a/1.png").write_bytes(b"")
    Image.fromarray(np.full((8, 8), -1, np.float32)).save(root / "train/a/2.tif")
    (root / "train/a/2.png").unlink()
    data = ready(folder(root, on_error="skip", batch_size=3))
    (root / "train/b/0.png").unlink()  # after the folders have been read
    with nobody():
        batches = epoch(data.train_dataloader(), 0)
    assert sum(len(batch.targets) for batch in batches) == 8
    assert len(data.unreadable) == 4


def test_validation_checks_its_images_too(make_folder: MakeFolder) -> None:
    root = make_folder(TWO_HALVES)
    (root / "val" / "b" / "1.png").write_bytes(b"")
    data = ready(folder(root))
    assert len(list(data.train_dataloader())) == 3
    with pytest.raises(RunError, match=r"unreadable image .*/val/b/1.png: not an image"):
        list(data.val_dataloader())


def test_preprocessing_tells_a_deployment_everything_as_json() -> None:
    cfg = DataConfig("digits", image_size=32, test_size=48, crop_pct=0.9, interpolation="bilinear")
    told = ready(cfg).preprocessing()
    assert json.loads(json.dumps(told)) == told
    assert told == {
        "input_size": [3, 48, 48],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "interpolation": "bilinear",
        "crop_pct": 0.9,
        "class_names": list("0123456789"),
    }


def test_transforms_may_be_set_after_setup() -> None:
    data = ready(DIGITS)
    data.views = [View(None, [lambda image: Image.new("RGB", image.size)], [lambda tensor: tensor * 0 + 5])]
    assert next(iter(data.train_dataloader())).images.unique().tolist() == [5.0]
