from __future__ import annotations

import io
import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pytest import param

from ghostlab.data.sources import FileSource, MemorySource, UnreadableError, read_image, suffixes

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


def ramp(top: float, kind: str) -> Image.Image:
    """64 x 64 pixels from 0 at the left to ``top`` at the right."""
    return Image.fromarray(np.tile(np.linspace(0, top, 64), (64, 1)).astype(kind))


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    sixteen_bit().save(path)
    red = np.asarray(read_image(str(path)))[0, :, 0]
    assert red.tolist() == [0, 0, 1, 1, 128, 255]  # value / 257, rounded


@pytest.mark.parametrize(("top", "kind"), [(255, "u2"), (65535, "u2"), (65535, ">u2")])
def test_wide_integers_are_scaled_by_their_range(tmp_path: Path, top: int, kind: str) -> None:
    path = tmp_path / "image.tif"
    ramp(top, kind).save(path)
    read = np.asarray(read_image(str(path)))
    assert np.abs(read[5, :, 1] - np.linspace(0, 255, 64)).max() <= 1


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        param(ramp(1, "f4"), "floats of 32 bits, which do not say what is white; 8 or 16 bits are read", id="0-to-1"),
        param(ramp(255, "f4"), "floats", id="0-to-255"),
        param(ramp(-3, "f4"), "floats", id="negative"),
        param(Image.fromarray(np.full((4, 4), np.nan, "f4")), "floats", id="no-number"),
        param(ramp(255, "i4"), "integers of 32 bits", id="small-integers"),
        param(ramp(2**31 - 1, "i4"), "integers of 32 bits", id="large-integers"),
    ],
)
def test_floats_and_wider_integers_are_refused_by_name(tmp_path: Path, image: Image.Image, reason: str) -> None:
    path = tmp_path / "image.tif"
    image.save(path)
    with pytest.raises(UnreadableError) as caught:
        read_image(str(path))
    assert caught.value.reason.startswith(reason)
    assert not caught.value.passing


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


def test_what_the_system_says_may_pass_and_what_the_decoder_says_does_not(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "folder.png").mkdir()
    for name, passing in {"text.png": False, "folder.png": True, "absent.png": True}.items():
        with pytest.raises(UnreadableError) as caught:
            read_image(str(tmp_path / name))
        assert caught.value.passing == passing


def test_an_image_that_does_not_fit_the_memory_may_fit_later(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("P", (9000, 9000)).save(path, compress_level=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 200 * 2**20, hard))
    try:
        with pytest.raises(UnreadableError) as caught:
            read_image(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert caught.value.passing


def test_a_file_is_never_given_to_another_program(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.new("RGB", (8, 8)).save(path, "EPS")  # which Pillow would let Ghostscript read
    with pytest.raises(UnreadableError, match="not an image"):
        read_image(str(path))


@pytest.mark.parametrize("suffix", ["jfif", "jp2", "tga", "avif", "ico", "pcx", "qoi", "webp", "PNM"])
def test_what_pillow_reads_has_a_known_suffix(tmp_path: Path, suffix: str) -> None:
    if Image.registered_extensions().get(f".{suffix.lower()}") not in Image.SAVE:
        pytest.skip(f"Pillow {Image.__version__} does not write it")
    path = tmp_path / f"image.{suffix}"
    two_colours().save(path)
    assert suffix.lower() in suffixes()
    assert read_image(str(path)).mode == "RGB"


@pytest.mark.parametrize("suffix", ["eps", "mpg", "h5", "txt", "pdf", "xml"])
def test_other_files_have_not(suffix: str) -> None:
    assert suffix not in suffixes()


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
