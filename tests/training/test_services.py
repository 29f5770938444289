"""What a strategy is given by the trainer."""

from __future__ import annotations

from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.training.services import default_teacher


def test_the_default_teacher_sees_images_of_the_students_sizes() -> None:
    data = default_teacher(parse(compose(["data=imagefolder", "data.root=x", "model=efficientnetv2_s"]))).data
    assert (data.image_size, data.test_size) == (300, 384)
