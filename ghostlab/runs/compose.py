"""Composing a configuration from Python, as the command line does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from ghostlab.runs.plus import register, register_plugins

__all__ = ["CONF", "VERSION_BASE", "compose", "native_test_size"]

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir())
"""In the package where that was installed, beside it in a checkout."""
# Hydra 1.4 has one behaviour only and deprecates the argument that chose it.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


def compose(overrides: Sequence[str] = (), folders: Sequence[str] | None = None) -> DictConfig:
    """The configuration of ``python train.py <overrides>``; works inside a running Hydra application, too.

    ``folders`` are searched besides ``conf/``, as in ``hydra.searchpath``; None: those of the running application.
    Raises Hydra's own errors for what cannot be composed and ``UsageError`` for strategies that cannot be joined.

        >>> from ghostlab.runs import compose
        >>> cfg = compose(["strategy=kd+reparam", "model=ghostnetv2", "strategy.kd.alpha=0.7"])
        >>> list(cfg.strategy), cfg.strategy.kd.alpha
        (['kd', 'reparam'], 0.7)
    """
    searched = _own_folders() if folders is None else folders
    register()
    register_plugins(overrides, searched)
    search = [f"hydra.searchpath={_quoted(searched)}"] if searched else []
    with _hydra_set_aside(), initialize_config_dir(str(CONF), **VERSION_BASE):
        return hydra.compose("config", [*search, *overrides])


def _own_folders() -> list[str]:
    """What ``--config-dir`` and ``hydra.searchpath`` add to the running application."""
    if not HydraConfig.initialized():
        return []
    known = ("hydra", "main", "ghostlab", "schema")
    sources = HydraConfig.get().runtime.config_sources
    return [f"{source.schema}://{source.path}" for source in sources if source.provider not in known]


def _quoted(texts: Sequence[str]) -> str:
    return f"[{','.join(QuotedString(text, Quote.single).with_quotes() for text in texts)}]"


@contextmanager
def _hydra_set_aside() -> Iterator[None]:
    """Hydra is a singleton: take away that of a running application, and give it back."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().initialize(running)


def native_test_size(*, _root_: DictConfig, _parent_: DictConfig) -> int | None:
    """``data.test_size``: the model's own where the training images have its own size; None: as large as those.

    EfficientNetV2 is tested on larger images than it is trained on.
    """
    sizes = OmegaConf.select(_root_, "model.native")
    if sizes is None or sizes.train != _parent_.image_size or sizes.test == sizes.train:
        return None
    return int(sizes.test)


OmegaConf.register_new_resolver("native_test_size", native_test_size, replace=True)
