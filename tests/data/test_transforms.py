from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from pytest import param

from ghostlab.data.config import DataConfig
from ghostlab.data.transforms import Normalize, View, eval_transform, train_transform

PLAIN = DataConfig("digits", image_size=8, crop="none", crop_pct=1.0, flip=False, mean=(0, 0, 0), std=(1, 1, 1))


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def outcomes(cfg: DataConfig, image: Image.Image, tries: int = 60) -> list[torch.Tensor]:
    torch.manual_seed(0)
    transform = train_transform(cfg)
    return [transform(image) for _ in range(tries)]


def test_normalize_is_the_textbook_formula() -> None:
    image, mean, std = noise(5, 4), torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    done = Normalize(mean.tolist(), std.tolist())(image)
    assert (done.shape, done.dtype, done.is_contiguous()) == ((3, 4, 5), torch.float32, True)
    torch.testing.assert_close(done, (pixels(image) - mean.view(3, 1, 1)) / std.view(3, 1, 1), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("crop", ["resized", "padded", "none"])
@pytest.mark.parametrize("size", [param((8, 8), id="same"), param((30, 20), id="wide"), param((5, 9), id="small")])
def test_every_crop_gives_the_wanted_size(crop: str, size: tuple[int, int]) -> None:
    for done in outcomes(replace(PLAIN, crop=crop), noise(*size), tries=3):
        assert done.shape == (3, 8, 8)


def test_no_crop_and_no_flip_is_the_image_itself() -> None:
    image = noise(8, 8)
    for done in outcomes(PLAIN, image, tries=5):
        torch.testing.assert_close(done, pixels(image))


def test_flip_mirrors_half_of_the_images_and_does_nothing_else() -> None:
    image = noise(8, 8)
    straight, mirrored = pixels(image), pixels(image).flip(2)
    done = outcomes(replace(PLAIN, flip=True), image)
    turned = sum(torch.allclose(one, mirrored) for one in done)
    assert turned + sum(torch.allclose(one, straight) for one in done) == 60
    assert 15 < turned < 45


def test_padded_crop_moves_the_image_by_at_most_the_padding() -> None:
    image = Image.new("RGB", (8, 8))
    image.putpixel((4, 4), (255, 255, 255))
    places = {
        tuple(one[0].nonzero()[0].tolist()) for one in outcomes(replace(PLAIN, crop="padded", crop_padding=1), image)
    }
    assert places == {(row, column) for row in (3, 4, 5) for column in (3, 4, 5)}


def test_resized_crop_takes_at_least_the_scale() -> None:
    ramp = Image.fromarray(np.tile(np.arange(100, dtype=np.uint8), (100, 1))).convert("RGB")
    widths = [
        (one.max() - one.min()).item() * 255 for one in outcomes(replace(PLAIN, crop="resized", crop_scale=0.9), ramp)
    ]
    assert min(widths) > 70  # of 100 columns; the aspect of 3/4 leaves sqrt(0.9 * 3/4) = 82 of them
    widths = [(one.max() - one.min()).item() * 255 for one in outcomes(replace(PLAIN, crop="resized"), ramp)]
    assert min(widths) < 50


def test_strategies_add_to_the_image_before_and_to_the_tensor_after_normalisation() -> None:
    seen: list[object] = []

    def on_image(image: Image.Image) -> Image.Image:
        seen.append((image.mode, image.size))
        return Image.new("RGB", (8, 8), (255, 255, 255))

    def on_tensor(tensor: torch.Tensor) -> torch.Tensor:
        seen.append(tensor.unique().tolist())
        return tensor + 1

    cfg = replace(PLAIN, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    done = train_transform(cfg, View(None, [on_image], [on_tensor]))(noise(20, 20))
    assert seen == [("RGB", (8, 8)), [2.0]]
    assert done.unique().tolist() == [3.0]


def test_validation_takes_the_centre() -> None:
    image = noise(20, 16)  # the shorter side becomes 16, of which the central 8 are 50 percent
    done = eval_transform(replace(PLAIN, crop_pct=0.5))(image)
    torch.testing.assert_close(done, pixels(image)[:, 4:12, 6:14])


def test_validation_has_a_size_of_its_own() -> None:
    assert eval_transform(replace(PLAIN, test_size=12))(noise(20, 16)).shape == (3, 12, 12)
    assert eval_transform(PLAIN)(noise(20, 16)).shape == (3, 8, 8)


def test_interpolation_is_the_one_asked_for() -> None:
    stripes = Image.fromarray(np.tile(np.array([0, 255] * 2, np.uint8), (4, 1))).convert("RGB")
    nearest = eval_transform(replace(PLAIN, interpolation="nearest"))(stripes)
    bilinear = eval_transform(replace(PLAIN, interpolation="bilinear"))(stripes)
    assert len(nearest.unique()) == 2
    assert len(bilinear.unique()) > 2
