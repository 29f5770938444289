from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest import param

from ghostlab.data.sources import FileSource, MemorySource, UnreadableError, read_image

RED, GREEN = (200, 30, 10), (20, 180, 40)


def two_colours() -> Image.Image:
    """40 x 20 pixels, red above green."""
    image = Image.new("RGB", (40, 20), RED)
    image.paste(GREEN, (0, 10, 40, 20))
    return image


def translucent(image: Image.Image) -> Image.Image:
    image.putalpha(128)
    return image


def palette_with_several_transparent_entries() -> Image.Image:
    image = two_colours().quantize(4)
    image.info["transparency"] = bytes([0, 128, 255, 255])
    return image


def sixteen_bit() -> Image.Image:
    ramp = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    return Image.fromarray(ramp)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("image", "suffix", "top"),
    [
        param(two_colours(), "png", RED, id="rgb"),
        param(two_colours().quantize(4), "png", RED, id="palette"),
        param(palette_with_several_transparent_entries(), "png", RED, id="palette-transparent"),
        param(two_colours().quantize(4), "gif", RED, id="gif"),
        param(translucent(two_colours()), "png", RED, id="rgba"),
        param(Image.new("L", (40, 20), 77), "png", (77, 77, 77), id="grey"),
        param(translucent(Image.new("L", (40, 20), 77)), "png", (77, 77, 77), id="grey-alpha"),
        param(Image.new("1", (40, 20), 1), "png", (255, 255, 255), id="one-bit"),
        param(Image.new("CMYK", (40, 20), (0, 255, 255, 0)), "tiff", (255, 0, 0), id="cmyk"),
    ],
)
def test_every_mode_is_read_as_rgb(tmp_path: Path, image: Image.Image, suffix: str, top: tuple[int, ...]) -> None:
    path = tmp_path / f"image.{suffix}"
    image.save(path)
    read = read_image(str(path))
    assert (read.mode, read.size) == ("RGB", (40, 20))
    assert np.abs(np.subtract(read.getpixel((20, 3)), top)).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    sixteen_bit().save(path)
    red = np.asarray(read_image(str(path)))[0, :, 0]
    assert red.tolist() == [0, 0, 1, 1, 128, 255]  # value / 257, rounded


@pytest.mark.parametrize(
    ("orientation", "size", "corner"),
    [
        param(1, (40, 20), RED, id="upright"),
        param(3, (40, 20), GREEN, id="upside-down"),
        param(6, (20, 40), GREEN, id="quarter-turn"),
        param(8, (20, 40), RED, id="quarter-turn-back"),
    ],
)
def test_exif_orientation_is_applied(
    tmp_path: Path, orientation: int, size: tuple[int, int], corner: tuple[int, ...]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    two_colours().save(path, exif=exif, quality=95, subsampling=0)
    read = read_image(str(path))
    assert read.size == size
    assert np.abs(np.subtract(read.getpixel((2, 2)), corner)).max() <= 6


@pytest.mark.parametrize(
    ("exif", "size"),
    [
        param(b"not a TIFF header", (40, 20), id="no-header"),
        # orientation 6, and the type of the maker's name (0x10F, "maker") written over
        param(
            b"MM\0*\0\0\0\x08\0\x02\x01\x07\0\x02\0\0\0\x06\0\0\0&\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0maker\0",
            (20, 40),
            id="wrong-type",
        ),
    ],
)
def test_damaged_exif_data_does_not_make_an_image_unreadable(
    tmp_path: Path, exif: bytes, size: tuple[int, int]
) -> None:
    path = tmp_path / "photo.jpg"
    two_colours().save(path, exif=b"Exif\0\0" + exif, quality=95)
    assert read_image(str(path)).size == size


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        param(jpeg()[: len(jpeg()) // 2], "truncated", id="truncated-jpeg"),
        param(b"", "not an image", id="empty"),
        param(b"<html>404</html>", "not an image", id="text"),
        param(None, "No such file", id="absent"),
    ],
)
def test_what_cannot_be_decoded_is_unreadable_with_its_path_and_a_reason_of_one_line(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "image.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        read_image(str(path))
    assert caught.value.path == str(path)
    assert reason in caught.value.reason
    assert "\n" not in caught.value.reason


def test_a_truncated_png_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableError):
        read_image(str(path))


def test_grey_pixels_in_memory_are_handed_out_as_rgb() -> None:
    source = MemorySource(np.full((2, 4, 5), 9, np.uint8), np.array([0, 1]), ["a", "b"])
    assert (source.load(1).mode, source.load(1).size, source.load(1).getpixel((0, 0))) == ("RGB", (5, 4), (9, 9, 9))


def test_selecting_keeps_pixels_or_paths_with_their_classes() -> None:
    targets, names = np.array([0, 1, 2]), ["a", "b", "c"]
    memory = MemorySource(np.arange(3, dtype=np.uint8).reshape(3, 1, 1), targets, names).select(np.array([2, 0]))
    files = FileSource(["x", "y", "z"], targets, names).select(np.array([2, 0]))
    assert memory.load(0).getpixel((0, 0)) == (2, 2, 2)
    assert files.paths == ["z", "x"]
    assert memory.targets.tolist() == files.targets.tolist() == [2, 0]
    assert memory.class_names == files.class_names == names
