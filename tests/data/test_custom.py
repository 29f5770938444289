"""Data sets that a function of the user's makes: what it may return, what is made of that, and what is refused."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pytest import param

from ghostlab.data import DataConfig, DataModule
from ghostlab.data.content import image_hashes
from ghostlab.data.datasets import build
from ghostlab.data.decoded import DecodedSource, decode_once
from ghostlab.data.manifest import Manifest, clear_manifest_cache, current_manifest
from ghostlab.data.sources import CustomSource, FileSource, MemorySource, Source
from ghostlab.errors import RunError, UsageError

SETS = '''
from pathlib import Path

import numpy as np
from PIL import Image

from ghostlab.data.sources import FileSource, MemorySource

NAMES = ("dark", "light")


class Drawn:
    class_names = NAMES

    def __init__(self, numbers, **more):
        self.numbers = numbers
        self.targets = [number % 2 for number in numbers]
        for name, value in more.items():
            setattr(self, name, value)

    def load(self, index):
        noise = np.random.default_rng(self.numbers[index]).integers(0, 100, (8, 8), dtype=np.uint8)
        return Image.fromarray(noise + 100 * np.uint8(self.targets[index]))


def drawn(root, count=16, first=0):
    return Drawn(range(first, first + count)), Drawn(range(1000, 1006))


def files(root):
    def half(name):
        paths = sorted(Path(root, name).iterdir())
        return FileSource(paths, np.array([path.name[0] == "l" for path in paths], np.int32), np.array(NAMES))

    return half("train"), half("val")


def memory(root=None):
    pixels = np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8)
    return [MemorySource(pixels, np.array([0, 1, 0, 1]), NAMES), MemorySource(pixels[:2] + 1, np.array([0, 1]), NAMES)]


def other(**parts):
    """``drawn`` with other parts of the training images."""
    return Drawn(range(16), **parts), Drawn(range(1000, 1006))
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder, with the module ``sets``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    write()
    yield tmp_path
    sys.modules.pop("sets", None)


def write(more: str = "") -> None:
    Path("sets.py").write_text(f"{SETS}\n\n{more}\n", encoding="utf-8")
    sys.modules.pop("sets", None)
    clear_manifest_cache()


def pictures(root: Path, count: int = 6) -> Path:
    for half, each in {"train": count, "val": 4}.items():
        (root / half).mkdir(parents=True)
        for number in range(each):
            noise = np.random.default_rng([each, number]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / half / f"{'dl'[number % 2]}{number}.png")
    return root


def sources(name: str, **options: Any) -> tuple[Source, Source]:
    return build(DataConfig(f"sets:{name}", **options))


def test_a_source_of_its_own_has_rgb_images_and_is_known_by_their_pixels() -> None:
    train, val = sources("drawn", options={"count": 4})
    assert isinstance(train, CustomSource)
    assert (train.load(1).mode, train.load(1).size) == ("RGB", (8, 8))
    assert train.targets.tolist() == [0, 1, 0, 1] and train.targets.dtype == np.int64
    assert train.class_names == val.class_names == ["dark", "light"]
    shifted, _ = sources("drawn", options={"count": 4, "first": 2})
    assert image_hashes(shifted)[:2].tolist() == image_hashes(train)[2:].tolist()
    assert len({*image_hashes(train).tolist(), *image_hashes(val).tolist()}) == 10


def test_a_source_travels_to_loading_processes() -> None:
    train, _ = sources("drawn")
    assert pickle.loads(pickle.dumps(train)).load(3).tobytes() == train.load(3).tobytes()


def test_hashes_that_a_source_gives_spare_reading_its_images() -> None:
    write("def known(root):\n    one = Drawn([1, 2], hashes=np.array([-1, 5]))\n    return one, one")
    train, _ = sources("known")
    assert image_hashes(train).tolist() == [2**64 - 1, 5]


def test_files_are_read_from_wherever_a_process_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And decoded once, and known by their content, as a folder's."""
    pictures(folder / "pictures")
    train, _ = sources("files", root="pictures")
    assert isinstance(train, FileSource) and train.targets.dtype == np.int64
    monkeypatch.chdir("/")
    assert train.load(0).size == (8, 8)
    kept = decode_once(train, DataConfig("sets:files", decoded=str(folder / "decoded")))
    assert isinstance(kept, DecodedSource) and kept.load(1).tobytes() == train.load(1).tobytes()
    assert [place.name for place in (folder / "decoded").iterdir()] == ["sets_files"]
    assert image_hashes(kept).tolist() == image_hashes(train).tolist()


def test_images_in_memory_stay_there() -> None:
    train, val = sources("memory")
    assert isinstance(train, MemorySource) and isinstance(val, MemorySource)
    assert train.load(3).mode == "RGB"


def test_its_manifest_is_made_of_the_images_of_now_and_its_options(folder: Path) -> None:
    pictures(folder / "pictures")
    first = current_manifest({"name": "sets:files", "root": "pictures"})
    (folder / "pictures").rename(folder / "moved")
    clear_manifest_cache()
    assert current_manifest({"name": "sets:files", "root": "pictures"}) is None
    moved = current_manifest({"name": "sets:files", "root": "moved"})
    assert first is not None and moved is not None and moved.digest == first.digest
    made = [current_manifest({"name": "sets:drawn", "options": {"count": count}}) for count in (4, 6, 4)]
    assert [len(one.train) for one in made if one] == [4, 6, 4]


def test_what_fails_for_one_image_is_an_unreadable_one() -> None:
    write(
        "class Torn(Drawn):\n"
        "    def load(self, index):\n"
        "        return None if index == 1 else super().load(index if index != 2 else 99)\n\n"
        "def torn(root):\n    return Torn(range(4)), Drawn(range(6, 9))\n"
    )
    options = {"image_size": 8, "batch_size": 4, "workers": 0}
    data = DataModule(DataConfig("sets:torn", **options, on_error="skip"), seed=0)
    data.setup()
    [batch] = data.train_dataloader()
    assert sorted(batch.index.tolist()) == [0, 3]
    assert data.unreadable == {"sets:torn: train.load(1)", "sets:torn: train.load(2)"}
    assert len(set(image_hashes(data.train_source).tolist())) == 4
    strict = DataModule(DataConfig("sets:torn", **options), seed=0)
    strict.setup()
    told = r"^unreadable image sets:torn: train\.load\(\d\): (TypeError: load returns a NoneType|IndexError: ).*skip"
    with pytest.raises(RunError, match=told):
        list(strict.train_dataloader())


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        param("away", "", "sets has no function 'away'", id="no-function"),
        param("drwan", "", "sets has no function 'drwan'; did you mean 'drawn'?", id="misspelt"),
        param("NAMES", "", "sets has no function 'NAMES'", id="not-callable"),
        param("bare", "def bare(folder): ...", "it takes no root; it must take root", id="no-root"),
        param("needs", "def needs(root, size): ...", "missing a required argument: 'size'", id="option-missing"),
        param("broken", "def broken(root):\n    return {}['a\\nb']", "fails (KeyError: 'a\\nb')", id="fails"),
        param("one", "def one(root):\n    return drawn(root)[0]", "it returns a Drawn, not two sources, ", id="one"),
        param("three", "def three(root):\n    return 1, 2, 3", "it returns 3 values, not two sources, ", id="three"),
        param("nothing", "def nothing(root): ...", "it returns a NoneType, not two sources, (train, val)", id="none"),
        param("ints", "def ints(root):\n    return 1, 2", "train is a int without targets; a source has", id="ints"),
    ],
)
def test_a_function_that_makes_no_sources_is_one_line(name: str, code: str, told: str) -> None:
    write(code)
    refused(name, told)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        param("targets=iter([0, 1])", "train.targets: object of shape (); must be class indices (N,)", id="no-length"),
        param("targets=[]", "train.targets: there are no images", id="empty"),
        param("targets=[0.0, 1.0]", "train.targets: float64 of shape (2,); must be class indices", id="floats"),
        param("targets=[[0, 1]]", "train.targets: int64 of shape (1, 2); must be class indices", id="one-hot"),
        param("targets=[0, 2]", "train.targets: 2, of 2 classes; must be from 0 to 1", id="too-large"),
        param("targets=[-1, 1]", "train.targets: -1, of 2 classes; must be from 0 to 1", id="negative"),
        param("class_names=None", "train.class_names: None; must be two names or more", id="no-names"),
        param("class_names='ab'", "train.class_names: 'ab'; must be two names or more", id="text"),
        param("class_names=['a']", "train.class_names: ['a']; must be two names or more", id="one-name"),
        param("class_names=[0, 1]", "train.class_names: [0, 1]; must be two names or more", id="numbers"),
        param("class_names=['a', 'a']", "train.class_names: ['a', 'a']; 'a' is there twice", id="twice"),
        param("class_names=['a', 'b']", "train and val must have the same class_names", id="others-than-val"),
        param("hashes=[1]", "train.hashes: int64 of shape (1,); must be integers (16,)", id="hashes"),
        param("load=lambda index: index", "train.load(0): TypeError: load returns a int, not a PIL image", id="no-pil"),
        param("load=lambda: 1", "train.load(0): TypeError: ", id="load-takes-nothing"),
        param("load=lambda index: 1 / 0", "train.load(0): ZeroDivisionError: division by zero", id="load-fails"),
    ],
)
def test_a_source_that_is_none_is_one_line(parts: str, told: str) -> None:
    write(f"def wrong(root):\n    return other({parts})")
    refused("wrong", told)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        param(
            "FileSource(['a.png'], [0, 1], NAMES)", "train.paths: 1 of them; must be 2, as many as targets", id="paths"
        ),
        param("FileSource(['a.png', 'b'], [0, 1], NAMES)", "a.png: No such file or directory", id="no-file"),
        param("MemorySource(np.zeros((3, 8, 8), np.uint8), [0, 1], NAMES)", "train.pixels: 3 of them", id="pixels"),
        param(
            "MemorySource(np.zeros((2, 8, 8)), [0, 1], NAMES)", "float64 of shape (2, 8, 8); must be uint8", id="type"
        ),
        param("MemorySource(np.zeros((2, 3, 8, 8), np.uint8), [0, 1], NAMES)", "must be uint8 (N, H, W)", id="shape"),
    ],
)
def test_files_and_pixels_that_do_not_fit_are_one_line(source: str, told: str) -> None:
    write(f"def wrong(root):\n    one = {source}\n    return one, one")
    with pytest.raises(UsageError) as caught:
        sources("wrong")
    assert str(caught.value).startswith("data.factory=sets:wrong: train") and told in str(caught.value)


def refused(name: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        sources(name)
    line = str(caught.value)
    assert line.startswith(f"data.factory=sets:{name}: {told}") and "\n" not in line


@pytest.mark.parametrize(
    ("make", "told"),
    [
        param(
            lambda: sources("drawn", options={"cuont": 4}), r"got an unexpected keyword argument 'cuont'$", id="unknown"
        ),
        param(lambda: sources("drawn", options={"root": "x"}), r"'root' is no option, as it is given", id="root"),
        param(lambda: sources("drawn", val_fraction=0.5), r"^data\.val_fraction=0\.5: .* no use for it", id="fraction"),
        param(lambda: sources("drawn", num_classes=3), r"^data\.num_classes=3: data=sets:drawn has 2", id="classes"),
        param(
            lambda: sources("drawn", factory="sets:x"), r"^data\.factory=sets:x: data\.name=sets:drawn", id="two-names"
        ),
        param(
            lambda: DataConfig("digits", factory="sets:x"), r"^data\.factory=sets:x: data=digits has no", id="built-in"
        ),
        param(lambda: DataConfig("digits", options={"a": 1}), r"^data\.options=\{'a': 1\}: data=digits", id="options"),
        param(lambda: build(DataConfig("nosets:a")), r"^data\.factory=nosets:a: cannot be imported \(Mod", id="import"),
        param(lambda: build(DataConfig("os:system", options={"command": "x"})), r"it takes no root; it must", id="os"),
    ],
)
def test_what_is_given_with_it_is_checked(make: Callable[[], object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        make()


def test_images_that_are_there_are_those_of_a_manifest() -> None:
    found = current_manifest({"name": "sets:memory"})
    assert found is not None
    assert found.digest == Manifest.of(*sources("memory")).digest
