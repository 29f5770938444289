"""Choosing teachers: names, identities, what each sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ghostlab.distill import Preprocessing, Teacher, TeacherChoice
from ghostlab.distill.teachers import Committee
from ghostlab.models import create_model
from ghostlab.training.teachers import teacher_sources

GIVEN = Preprocessing((0.5,) * 3, (0.25,) * 3, (16,))
IMAGES = torch.randn(2, 3, 16, 16)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name in ("a", "b"):
        torch.save(create_model("resnet10t", num_classes=4).state_dict(), tmp_path / f"{name}.pth")
    return [str(tmp_path / f"{name}.pth") for name in ("a", "b")]


def choice(files: list[str], **options: object) -> TeacherChoice:
    return TeacherChoice(teacher_sources(files, ["resnet10t"] * len(files)), [1.0] * len(files), **options)  # type: ignore[arg-type]


def test_one_teacher_answers_for_itself(files: list[str]) -> None:
    chosen = choice(files[:1])
    [teacher] = chosen.open(4, GIVEN)
    assert isinstance(teacher, Teacher)
    assert chosen.together([teacher]) is teacher
    assert chosen.introduce([teacher], lambda model: 91.26) == (f"teacher resnet10t ({files[0]}): top-1 91.3", 91.26)


def test_of_several_each_is_measured_and_all_together(files: list[str]) -> None:
    chosen = choice(files)
    teachers = chosen.open(4, GIVEN)
    top1: dict[type[nn.Module], list[float]] = {Teacher: [90.0, 80.0], Committee: [93.0]}
    text, together = chosen.introduce(teachers, lambda model: top1[type(model)].pop(0))
    assert text == f"teachers resnet10t ({files[0]}): top-1 90.0, resnet10t ({files[1]}): top-1 80.0; together 93.0"
    assert together == 93.0


def test_a_checkpoint_sees_the_students_images_unless_it_is_told_otherwise(files: list[str]) -> None:
    [plain] = choice(files[:1]).open(4, GIVEN)
    assert plain.view(IMAGES) is IMAGES
    [told] = choice(files[:1], size=32, mean=(0.0,) * 3, std=(1.0,) * 3).open(4, GIVEN)
    assert told.view(IMAGES).shape[-1] == 32
    torch.testing.assert_close(told.view(IMAGES).mean(), (IMAGES * 0.25 + 0.5).mean(), rtol=0, atol=1e-3)


def test_the_identity_changes_with_everything_that_changes_the_answers(files: list[str]) -> None:
    same = choice(files).identity(GIVEN)
    assert choice(files).identity(GIVEN) == same
    others = [
        choice(files[::-1]),
        choice(files[:1]),
        choice(files, size=20),
        choice(files, mean=(0.1,) * 3),
        TeacherChoice(teacher_sources(files, ["resnet10t"] * 2), [1.0, 2.0]),
    ]
    assert all(other.identity(GIVEN) != same for other in others)
