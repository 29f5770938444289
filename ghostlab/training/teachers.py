"""Teachers: a run folder, a checkpoint or a model of timm, opened for nothing but answering."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from torch import nn

from ghostlab.distill.teachers import Preprocessing
from ghostlab.errors import GhostlabError, RunError, UsageError, nearest
from ghostlab.models import create_model, load_weights
from ghostlab.models.checkpoints import read_state_dict
from ghostlab.models.factory import OWN
from ghostlab.runs.run import Run, find_run
from ghostlab.strategies.base import Strategy

__all__ = ["NamedTeacher", "check_sources", "teacher_sources"]


@dataclass(frozen=True)
class NamedTeacher:
    """Implements ``ghostlab.distill.Source`` for a run folder, a checkpoint in one, any other checkpoint (of
    ``architecture``), and the name of a model whose pretrained weights timm can fetch.

    All raise ``UsageError`` naming ``strategy.kd.teacher`` for a ``source`` that is none of these.
    """

    source: str | Path
    architecture: str | None = None

    def open(self, num_classes: int) -> nn.Module:
        """As ``Source.open``; ``UsageError`` also for a teacher of other classes, ``RunError`` when weights cannot be
        read or fetched."""
        with self._naming():
            return _open(self.source, num_classes, self.architecture).eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """Its architecture and, when its weights are on this machine, where they lie."""
        run = find_run(self.source)
        architecture = run.config()["model"]["name"] if run else self.architecture
        return f"{architecture} ({self.source})" if architecture else str(self.source)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """As ``Source.preprocessing``: None for a checkpoint outside of a run folder."""
        with self._naming():
            if run := find_run(self.source):
                return _of_run(run)
            if Path(self.source).exists():
                return None
            cfg = _pretrained_cfg(str(self.source))
            return Preprocessing(tuple(cfg.mean), tuple(cfg.std), (cfg.input_size[-1],)) if cfg else None

    @property
    def identity(self) -> dict[str, Any]:
        """Its architecture and the hash or name of its weights."""
        run, path = find_run(self.source), Path(self.source)
        with self._naming():
            if not path.exists():
                cfg = _pretrained_cfg(str(self.source))
                return {"model": str(self.source), "weights": (cfg.hf_hub_id or cfg.url) if cfg else None}
            weights = path if path.is_file() else Run(path).last
            if not weights.is_file():
                raise UsageError("this folder holds no checkpoints/last.ckpt")
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return {"model": run.config()["model"] if run else self.architecture, "weights": digest}

    @property
    def says_nothing(self) -> bool:
        """Whether only ``architecture`` tells which network the weights are of."""
        return find_run(self.source) is None and Path(self.source).is_file()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors begin with the key and its value."""
        try:
            yield
        except GhostlabError as error:
            raise type(error)(f"strategy.kd.teacher={self.source}: {error}") from error


def check_sources(strategies: Iterable[Strategy]) -> None:
    """Raise ``UsageError`` for what strategies will learn from and is neither there nor a model of timm."""
    for source in (source for strategy in strategies for source in strategy.sources()):
        _ = NamedTeacher(source).preprocessing


def teacher_sources(sources: Sequence[str | Path], architectures: Sequence[str | None]) -> list[NamedTeacher]:
    """Teachers with as many architectures; ``UsageError`` for an architecture that its source says itself.

    One name for all is for those that need one.
    """
    found = [NamedTeacher(*pair) for pair in zip(sources, architectures, strict=True)]
    shared = len({*architectures}) == 1 and any(one.says_nothing for one in found)
    for one in found:
        if one.architecture is not None and not one.says_nothing and not shared:
            raise UsageError(
                f"strategy.kd.teacher_model={one.architecture}: has no effect, as strategy.kd.teacher={one.source} says"
                " what it is"
            )
    return found


def _open(source: str | Path, num_classes: int, teacher_model: str | None) -> nn.Module:
    if run := find_run(source):
        model = run.open(Path(source) if Path(source).is_file() else None)
        _check_classes(run.config()["data"]["num_classes"], num_classes)
        return model
    if Path(source).is_dir():
        raise UsageError("this folder holds no run, as it has no config.yaml")
    if Path(source).is_file():
        return _open_checkpoint(Path(source), num_classes, teacher_model)
    return _open_pretrained(str(source), num_classes)


def _open_checkpoint(path: Path, num_classes: int, architecture: str | None) -> nn.Module:
    if architecture is None:
        raise UsageError("a checkpoint outside of a run folder needs strategy.kd.teacher_model, its architecture")
    model = create_model(architecture, num_classes=num_classes)
    weights = read_state_dict(path)
    head = weights.get(f"{model.pretrained_cfg['classifier']}.weight")  # type: ignore[index]
    if head is not None:
        # load_weights would give the model a new head, whose answers mean nothing.
        _check_classes(len(head), num_classes)
    return load_weights(model, weights)


def _of_run(run: Run) -> Preprocessing:
    data = run.config()["data"]
    try:
        sizes = (int(data["image_size"]), int(data.get("test_size") or data["image_size"]))
        mean, std = (tuple(map(float, data[key])) for key in ("mean", "std"))
        return Preprocessing(mean, std, sizes)
    except (KeyError, TypeError, ValueError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise RunError(f"{run.config_file}: does not say how its images are prepared ({cause})") from error


def _open_pretrained(name: str, num_classes: int) -> nn.Module:
    cfg = _pretrained_cfg(name)
    if cfg is not None:
        _check_classes(cfg.num_classes, num_classes)
    return create_model(name, num_classes=num_classes, pretrained=True)


def _pretrained_cfg(name: str) -> Any:
    """timm's description of the weights of a model, None where it has none."""
    timm_name = f"ghostlab_{name}" if name in OWN else name
    if not timm.is_model(timm_name):
        hint = nearest(name, [*OWN, *timm.list_models()])
        raise UsageError(f"neither a file nor a folder nor a model of timm{hint}")
    try:
        return timm.models.get_pretrained_cfg(timm_name)
    except RuntimeError as error:  # the tag after the dot
        raise UsageError(str(error)) from error


def _check_classes(teacher: int, student: int) -> None:
    if teacher != student:
        raise UsageError(f"a teacher of {teacher} classes cannot teach {student}")
