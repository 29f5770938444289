"""One run, from a composed configuration to a finished run folder."""

from __future__ import annotations

import logging
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from pytorch_lightning.utilities import rank_zero_only

from ghostlab.data import DataModule
from ghostlab.data.manifest import Manifest, clear_manifest_cache
from ghostlab.errors import RunError, UsageError, lacks_memory
from ghostlab.files import write_text
from ghostlab.runs.identity import config_difference
from ghostlab.runs.processes import check_processes, is_first
from ghostlab.runs.settings import Settings, parse
from ghostlab.slurm import enduring
from ghostlab.strategies.base import Task
from ghostlab.terminal import say
from ghostlab.training.build import (
    build_data,
    build_model,
    build_optimizer,
    build_task,
    change_model,
)
from ghostlab.training.checkpoints import Checkpoints, check_resumable
from ghostlab.training.classifier import Classifier
from ghostlab.training.failures import log_failures
from ghostlab.training.history import History
from ghostlab.training.image_checks import LeakCheck, refuse_other_images, say_what_changed
from ghostlab.training.loggers import RunLogger, build_logger
from ghostlab.training.model_checks import check_fit, check_narrow_maps
from ghostlab.training.pretrained import load_pretrained
from ghostlab.training.results import (
    draw_curves,
    print_finished,
    print_header,
    print_result,
    print_strategy,
    summarize_run,
)
from ghostlab.training.services import RunImages, RunServices
from ghostlab.training.trainer import build_trainer

__all__ = ["open_services", "run", "train"]

LEAKED = "{:.2%} of the validation images were learned from, by the run's teacher or the run that it started from"
LOOK_EVERY = 0.5
"""Seconds between looks for a teacher that another process trains."""


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train what a composed configuration describes: ``train`` of its settings, with images as they are now."""
    clear_manifest_cache()
    return train(parse(cfg))


def train(settings: Settings, as_teacher: bool = False) -> dict[str, Any]:
    """Train a run, or go on with it, and return the content of its ``result.json``.

    A finished run is not trained again. A teacher, which several runs may want at once, waits for another process that
    is training it; that is an error otherwise, and its results are not printed. Of the processes of a run the first one
    trains the teacher. Raises ``UsageError`` for a wrong configuration and ``RunError`` for what fails on the way.
    """
    if not as_teacher:
        check_processes(settings.trainer)
    _silence_lightning()
    result = _finished(settings)
    if result is None and as_teacher and not is_first():
        result = _awaited(settings)
    if result is None:
        if not as_teacher:
            if is_first():
                settings.run.refuse_busy()
            say_what_changed(settings)
        parts = _prepare(settings)
        # The first process of a run holds its lock.
        alone = settings.run.alone(wait=as_teacher) if is_first() else nullcontext()
        with alone, enduring(), log_failures(settings.run):
            # Another process may have finished it since.
            result = _finished(settings) or _train(settings, parts)
        if not as_teacher:
            print_result(settings.folder, result)
    elif not as_teacher:
        print_finished(settings.folder, result)
    return result


def open_services(settings: Settings) -> tuple[Task, RunServices]:
    """What the strategies of a run may ask for, without the run: for commands that do a part of its work."""
    _silence_lightning()
    history, checkpoints = History(settings.run.history_file), Checkpoints(settings.run)
    return _services(settings, build_trainer(settings, history, checkpoints))


def _finished(settings: Settings) -> dict[str, Any] | None:
    _refuse_other_run(settings)
    result = None if settings.force else settings.run.result()
    if result is None and not settings.force and settings.run.result_file.exists():
        say(f"{settings.run.result_file} is not one that training wrote: the run is finished again")
    return result


def _awaited(settings: Settings) -> dict[str, Any]:
    while (result := _finished(settings)) is None:
        time.sleep(LOOK_EVERY)
    return result


@dataclass(frozen=True)
class _Parts:
    data: DataModule
    images: Manifest
    classifier: Classifier
    trainer: Trainer
    history: History
    checkpoints: Checkpoints
    logger: RunLogger | None


def _prepare(settings: Settings) -> _Parts:
    """Build everything; what is wrong with data, model or teacher is said here, before the run's folder exists."""
    history, checkpoints = History(settings.run.history_file), Checkpoints(settings.run)
    trainer = build_trainer(settings, history, checkpoints)
    task, services = _services(settings, trainer)
    model = build_model(settings, task)
    check_fit(model, settings, task)
    check_narrow_maps(model, settings, task, trainer.strategy.root_device)
    began = load_pretrained(model, settings, services.data, services.known)
    optimizer = build_optimizer(settings, trainer.world_size)
    trainer.logger = logger = build_logger(settings)
    print_header(settings, services.data, model, optimizer)
    if began:
        say(began)
    model = change_model(model, settings, task)
    for strategy in settings.strategies:
        strategy.prepare(model, task, services)
        print_strategy(strategy)
    classifier = Classifier(
        model,
        settings.strategies,
        task,
        optimizer,
        settings.seed,
        channels_last=settings.trainer.channels_last,
        cpu_kernels=settings.trainer.cpu_kernels,
        compile_model=settings.trainer.compile,
    )
    return _Parts(services.data, services.known.manifest, classifier, trainer, history, checkpoints, logger)


def _services(settings: Settings, trainer: Trainer) -> tuple[Task, RunServices]:
    data = build_data(settings)
    task = build_task(settings, data, trainer.world_size)
    images = RunImages(data, settings.strategies, task, trainer)
    return task, RunServices(settings, data, images, LeakCheck(settings, data), trainer, train=train)


def _train(settings: Settings, parts: _Parts) -> dict[str, Any]:
    refuse_other_images(settings, parts.images)
    if settings.force or settings.resume == "never":
        rank_zero_only(settings.run.clear)()
    _drop_slurm_checkpoints(settings.folder)
    _write_config(settings, parts)
    _fit(settings, parts)
    return _finish(settings, parts)


def _fit(settings: Settings, parts: _Parts) -> None:
    if parts.logger:
        parts.logger.log_hyperparams(_config(settings, parts))
    # Only the first process has cleared the folder for a new start: the others may still see what was there.
    checkpoint = check_resumable(settings.run.last, parts.classifier) if settings.resumes else None
    try:
        parts.trainer.fit(parts.classifier, datamodule=parts.data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:  # Lightning's answer to Ctrl-C
        kept = parts.checkpoints.epochs
        raise KeyboardInterrupt(f"interrupted after {kept} epochs; the same command goes on from there") from error
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise RunError("out of memory: try a smaller data.batch_size or trainer.grad_checkpointing=true") from error


def _finish(settings: Settings, parts: _Parts) -> dict[str, Any]:
    result = summarize_run(settings, parts.classifier, parts.history, parts.checkpoints)
    for strategy in settings.strategies:
        result |= strategy.figures()
    result["val_leaked"] = parts.images.leaked
    leak = [LEAKED.format(parts.images.leaked)] if parts.images.leaked else []
    result["remarks"] = [*leak, *(line for s in settings.strategies if (line := s.remark(result)))]
    if parts.trainer.is_global_zero:
        title = f"{settings.model['name']}  {settings.strategy}  {settings.data.name}  seed {settings.seed}"
        draw_curves(parts.history, parts.classifier.losses.names, title, settings.run.curves_file)
        settings.run.finish(result)
    if parts.logger:
        parts.logger.finish(result, parts.trainer.global_step)
    return result


@rank_zero_only
def _write_config(settings: Settings, parts: _Parts) -> None:
    write_text(settings.run.config_file, yaml.safe_dump(_config(settings, parts), sort_keys=False))
    parts.images.write(settings.folder)


def _config(settings: Settings, parts: _Parts) -> dict[str, Any]:
    """The configuration with what the data says of itself."""
    data = parts.data
    classes = {"num_classes": data.num_classes, "class_names": list(data.class_names)}
    return {**settings.config, "data": {**settings.config["data"], **classes}}


def _refuse_other_run(settings: Settings) -> None:
    """A folder without a hash stands for the defaults, and these may have changed since it was written."""
    run = settings.run
    if settings.force or not run.config_file.exists():
        return
    try:
        differs = config_difference(settings.config, run.config())
    except (RunError, KeyError, TypeError, AttributeError) as error:
        cause = error if isinstance(error, RunError) else f"{run.config_file}: not the configuration of a run"
        raise RunError(f"{cause}; force=true trains it anew") from error
    if differs:
        raise UsageError(f"{run} holds another run: {differs}; use another outputs=, or force=true")


@rank_zero_only
def _drop_slurm_checkpoints(folder: Path) -> None:
    """Drop what Lightning kept of jobs on Slurm in earlier versions."""
    for file in folder.glob("hpc_ckpt_*.ckpt"):
        file.unlink()


def _silence_lightning() -> None:
    """Lightning's notices about hardware, loaders and loggers say nothing that a run's own lines do not."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    known = (
        "does not have many workers",
        "isinstance.treespec",
        "number of training batches",
        "overridden `on_before_batch_transfer`",
        "`srun` command is available",
        "AMP with fp16 is not supported on CPU",
        "`training_step` returned `None`",
        "was called before the ``update`` method",
    )
    for message in (f".*{part}.*" for part in known):
        warnings.filterwarnings("ignore", message=message)
