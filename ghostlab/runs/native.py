"""The image sizes that a model was designed for, as defaults of the data sets that have no size of their own."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

__all__ = ["native_test_size"]


def native_test_size(*, _root_: DictConfig, _parent_: DictConfig) -> int | None:
    """``data.test_size``: the model's own where the training images have its own size; None: as large as those.

    EfficientNetV2 is tested on larger images than it is trained on.
    """
    sizes = OmegaConf.select(_root_, "model.native")
    if sizes is None or sizes.train != _parent_.image_size or sizes.test == sizes.train:
        return None
    return int(sizes.test)


OmegaConf.register_new_resolver("native_test_size", native_test_size, replace=True)
