"""What a strategy is given by the trainer."""

from __future__ import annotations

from ghostlab.runs import compose
from ghostlab.training.services import teacher_config


def test_the_default_teacher_sees_images_of_the_students_sizes() -> None:
    data = teacher_config(compose(["data=imagefolder", "data.root=x", "model=efficientnetv2_s"])).data
    assert (data.image_size, data.test_size) == (300, 384)
