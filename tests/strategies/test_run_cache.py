"""A cache of answers in distillation: built once, continued after a kill, shared, and refused when it does not fit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ghostlab.strategies.answers
from ghostlab.distill import AnswerCache, answers
from ghostlab.errors import UsageError
from ghostlab.strategies.base import Drawn, Step
from ghostlab.strategies.kd import KnowledgeDistillation
from ghostlab.testing.settings import TASK
from ghostlab.testing.tiny import FakeImages, FakeServices, TinyNet

N = 10


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ghostlab.strategies.answers, "PIECE", 6)


def services(outputs: Path, **settings: Any) -> FakeServices:
    return FakeServices(outputs=outputs, images=FakeImages(N, settings))


def prepare(found: FakeServices, epochs: int = 2, **knobs: Any) -> KnowledgeDistillation:
    strategy = KnowledgeDistillation(**{"teacher": "a teacher", "cache": True, **knobs})
    strategy.prepare(TinyNet(), dataclasses.replace(TASK, epochs=epochs), found)
    return strategy


def cache_of(strategy: KnowledgeDistillation) -> AnswerCache:
    return strategy._source().cache  # type: ignore[attr-defined]


def test_the_answers_of_a_run_are_those_of_the_teacher_to_the_same_images(tmp_path: Path) -> None:
    found = services(tmp_path)
    cached = prepare(found)
    live = KnowledgeDistillation(teacher="a teacher")
    live.prepare(TinyNet(), TASK, services(tmp_path))
    teacher = live._source().teacher  # type: ignore[attr-defined]
    index = torch.tensor([7, 0, 3])
    for epoch in range(2):
        images = torch.stack([found.images.image(1000 * (epoch + 1) + i) for i in index.tolist()])
        student = torch.randn(3, 4)
        step = Step(images, torch.tensor([0, 1, 2]), student, cached.lookup(epoch, index))
        expected = live.loss_terms(dataclasses.replace(step, known={}))
        assert cached.loss_terms(step)["kd"].item() == pytest.approx(expected["kd"].item(), abs=1e-3)
        probabilities = cached._source().logits(step).softmax(1)
        torch.testing.assert_close(probabilities, answers(teacher, images).softmax(1), rtol=0, atol=1e-3)


def test_training_replays_the_seeds_of_the_cache(tmp_path: Path) -> None:
    found = services(tmp_path)
    prepare(found)
    [(seed, seeds)] = found.images.replayed
    assert seed == ghostlab.strategies.answers.CACHE_SEED
    assert seeds(1, np.array([4, 2])).tolist() == [2004, 2002]


def test_a_second_run_asks_no_teacher_at_all(tmp_path: Path) -> None:
    first = prepare(services(tmp_path))
    again = services(tmp_path)
    second = prepare(again, kind="dist", tau=3.0, alpha=0.9)
    assert again.images.drawn == 0
    assert again.evaluated == []
    assert cache_of(second).folder == cache_of(first).folder
    assert second.figures()["teacher_top1"] == 98.6
    assert second.describe().startswith("dist, alpha 0.9, tau 3; teacher a teacher: top-1 98.6; top-4 in ")


def test_what_the_answers_cost_is_told_by_every_run_that_uses_them(tmp_path: Path) -> None:
    first = prepare(services(tmp_path), epochs=4).figures()
    again = prepare(services(tmp_path), epochs=1).figures()
    assert first["cache_seconds"] > 0
    assert again["cache_seconds"] == pytest.approx(first["cache_seconds"] / 4)
    assert Path(first["cache_folder"]) == Path(again["cache_folder"])
    longer = prepare(services(tmp_path), epochs=5).figures()
    assert longer["cache_seconds"] > first["cache_seconds"]
    assert "cache_seconds" not in prepare(services(tmp_path), cache=False).figures()


def test_a_cache_of_an_earlier_version_has_no_time(tmp_path: Path) -> None:
    cache = cache_of(prepare(services(tmp_path), epochs=1))
    (cache.folder / "seconds.txt").unlink()
    assert prepare(services(tmp_path), epochs=2).figures()["cache_seconds"] is None
    assert not (cache.folder / "seconds.txt").exists()


def test_a_longer_run_adds_its_epochs(tmp_path: Path) -> None:
    prepare(services(tmp_path), epochs=1)
    longer, shorter = services(tmp_path), services(tmp_path)
    assert cache_of(prepare(longer, epochs=3)).epochs == 3
    assert longer.images.drawn == 2 * N
    prepare(shorter, epochs=2)
    assert shorter.images.drawn == 0


@dataclasses.dataclass
class Dying(FakeImages):
    """Stops in the middle, as a killed process does."""

    lives: int = 4

    def draw(self, seed: int, start: int, stop: int) -> Any:
        for drawn in super().draw(seed, start, stop):
            self.lives -= 1
            if self.lives < 0:
                raise KeyboardInterrupt
            yield drawn


@pytest.mark.parametrize("lives", range(6))
def test_an_interrupted_build_loses_at_most_a_piece(tmp_path: Path, lives: int) -> None:
    dying = FakeServices(outputs=tmp_path, images=Dying(N, lives=lives))
    with pytest.raises(KeyboardInterrupt):
        prepare(dying)
    again = services(tmp_path)
    strategy = prepare(again)
    assert dying.images.drawn + again.images.drawn <= 2 * N + 6 + 4  # a piece, and the batch that was being drawn
    whole = prepare(services(tmp_path / "other"))
    everything = np.arange(N)
    for epoch in range(2):
        assert np.array_equal(cache_of(strategy).read(epoch, everything), cache_of(whole).read(epoch, everything))


def test_other_images_or_another_teacher_have_a_cache_of_their_own(tmp_path: Path) -> None:
    folders = {
        cache_of(prepare(services(tmp_path))).folder,
        cache_of(prepare(services(tmp_path, images={"crop": "none"}))).folder,
        cache_of(prepare(services(tmp_path), teacher="another teacher")).folder,
        cache_of(prepare(services(tmp_path), cache_k=2)).folder,
    }
    assert len(folders) == 4


def test_a_new_cache_beside_another_says_why_that_one_is_not_used(tmp_path: Path) -> None:
    first, changed, again = services(tmp_path), services(tmp_path, images={"crop": "none"}), services(tmp_path)
    folder = cache_of(prepare(first)).folder
    prepare(changed)
    prepare(again)
    assert [line for line in first.said + again.said if " not that in " in line] == []
    assert changed.said[0] == f"cache     not that in {folder}: images is absent there, {{'crop': 'none'}} here"


def test_a_damaged_cache_beside_it_does_not_stop_a_build(tmp_path: Path) -> None:
    (cache_of(prepare(services(tmp_path))).folder / "answers.bin").write_bytes(b"")
    changed = services(tmp_path, images={"crop": "none"})
    assert cache_of(prepare(changed)).epochs == 2
    assert not any("not that in" in line for line in changed.said)


def test_a_named_folder_of_another_run_is_refused_with_the_difference(tmp_path: Path) -> None:
    named = {"cache_folder": str(tmp_path / "mine")}
    prepare(services(tmp_path, strategies={"randaugment": {"magnitude": 9.0}}), **named)
    assert prepare(services(tmp_path, strategies={"randaugment": {"magnitude": 9.0}}), **named)
    with pytest.raises(
        UsageError, match=r"mine: built for another run: strategies\.randaugment\.magnitude is 9\.0 there"
    ):
        prepare(services(tmp_path, strategies={"randaugment": {"magnitude": 5.0}}), **named)
    with pytest.raises(UsageError, match=r"built for another run: strategies\.randaugment is .* there, absent here"):
        prepare(services(tmp_path), **named)


def test_images_that_could_not_be_read_do_not_shift_the_others(tmp_path: Path) -> None:
    class Holes(FakeImages):
        def draw(self, seed: int, start: int, stop: int) -> Any:
            for drawn in super().draw(seed, start, stop):
                good = drawn.index != 5
                kept = torch.from_numpy(good)
                yield Drawn(drawn.epoch, drawn.done, drawn.images[kept], drawn.index[good], drawn.seeds[good])

    strategy = prepare(FakeServices(outputs=tmp_path, images=Holes(N)))
    whole = cache_of(prepare(services(tmp_path / "other")))
    index = np.array([4, 6, 9])
    assert cache_of(strategy).epochs == 2
    assert np.array_equal(cache_of(strategy).read(1, index), whole.read(1, index))


def test_more_classes_than_fit_are_refused(tmp_path: Path) -> None:
    task = dataclasses.replace(TASK, num_classes=2**16 + 1)
    with pytest.raises(UsageError, match=r"strategy\.kd\.cache=true: 65537 classes, a cache holds 65536"):
        KnowledgeDistillation(teacher="a teacher", cache=True).prepare(TinyNet(), task, services(tmp_path))


def test_the_header_says_what_the_answers_depend_on(tmp_path: Path) -> None:
    header = json.loads((cache_of(prepare(services(tmp_path))).folder / "cache.json").read_text())
    assert set(header["fingerprint"]) == {"teacher", "k", "seed", "data", "strategies"}
    assert header["fingerprint"]["teacher"][0]["weights"] == "0123"
