"""From a finished run to a folder that timm opens, which is there only when it answers as the run does."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ghostlab.data import DataModule
from ghostlab.deploy.run_data import data_module
from ghostlab.errors import GhostlabError, RunError, UsageError, unknown
from ghostlab.files import require_writable, write_text, writing
from ghostlab.models import count
from ghostlab.publish.card import model_card
from ghostlab.publish.facts import LICENCES, Check, Facts, Latency, find_ablation, read_latencies, run_command
from ghostlab.publish.target import TimmNetwork, largest_difference, open_saved, save_for_timm, timm_network
from ghostlab.quantities import is_number
from ghostlab.reports.summary import Section
from ghostlab.runs.run import Run, find_run
from ghostlab.training.metrics import evaluate
from ghostlab.training.pretrained import some_images

__all__ = ["TOLERANCE", "Evidence", "publish"]

TOLERANCE = 1e-4
"""Largest difference of an output that rounding may make, relative to the largest output."""

CHANGED_ANSWERS = 1e-3
"""Share of the validation images whose answer rounding may change; one image in any case."""

FIGURES = ("top1", "top5", "epochs", "seed", "params_train", "params_deploy", "macs_deploy")
"""Figures of a result that the card tells."""


@dataclass(frozen=True)
class Evidence:
    """Where more than the run itself says of it: what ``tools/benchmark.py latency`` and ``tools/report.py`` wrote."""

    latency: Path | None = None
    ablation: Path | None = None


def publish(run: Path, out: Path, licence: str | None, evidence: Evidence = Evidence()) -> Facts:
    """Write ``config.json``, ``model.safetensors`` and ``README.md`` into the new folder ``out``; what the card says.

    Raises ``UsageError`` for a folder that holds no run, an ``out`` that is taken and a licence that the hub does not
    know; ``RunError`` for a run that is not finished and, with nothing left, when what timm opens answers otherwise or
    where there is no room or no permission.
    """
    _require_licence(licence)
    if not run.is_dir() or find_run(run) != Run(run.resolve()):
        raise UsageError(f"'{run}' is not a run folder: no config.yaml there")
    if out.exists():
        raise UsageError(f"--out {out}: is there already; name a new folder")
    require_writable(out.parent)
    result = _finished_result(Run(run))
    rows = read_latencies(evidence.latency, run, result) if evidence.latency else []
    ablation = find_ablation(evidence.ablation, result) if evidence.ablation else None
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        facts = _write_files(temporary, out, Run(run), result, str(licence), rows, ablation)
        write_text(temporary / "README.md", model_card(facts))
        with writing(out):
            temporary.replace(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return facts


def _write_files(
    folder: Path,
    out: Path,
    run: Run,
    result: dict[str, Any],
    licence: str,
    rows: list[Latency],
    ablation: Section | None,
) -> Facts:
    """Write the network into ``folder``, which is to be ``out``, and compare what timm opens there with the run's."""
    config = run.config()
    data = data_module(config["data"], run)
    preprocessing = data.cfg.preprocessing()
    present = _has_images(data)
    target = timm_network(run.folder, config, some_images(data) if present else _random_images(preprocessing))
    classes = config["data"].get("class_names") or range(config["data"]["num_classes"])
    with writing(out):
        save_for_timm(target, folder, preprocessing, list(map(str, classes)), licence)
    return Facts(
        name=re.sub(r"[^\w.-]+", "-", out.resolve().name),
        architecture=target.architecture,
        own=target.own,
        licence=licence,
        config=config,
        result=result,
        preprocessing=preprocessing,
        command=run_command(config),
        counts=count(target.model, preprocessing["input_size"][-1]),
        images=(data.train_size, data.val_size) if present else None,
        check=_compared(folder, run, target, data if present else None, _random_images(preprocessing)),
        latencies=rows,
        ablation=ablation,
    )


def _compared(folder: Path, run: Run, target: TimmNetwork, data: DataModule | None, images: Tensor) -> Check:
    original = run.open()
    opened = open_saved(folder)
    difference = largest_difference(original, opened, images)
    if not difference <= TOLERANCE:
        raise RunError(
            f"timm's {target.architecture} with these weights differs from the run's network by {difference:.1e} of the"
            f" largest output (allowed: {TOLERANCE:.0e}): nothing is written"
        )
    if data is None:
        return Check(difference, None)
    before, after = (evaluate(m, data.val_dataloader(), data.num_classes)["top1"] for m in (original, opened))
    if abs(before - after) / 100 * data.val_size > max(1.0, CHANGED_ANSWERS * data.val_size) + 0.5:
        raise RunError(f"top-1 {before:.2f} of the run's network, {after:.2f} of timm's: nothing is written")
    return Check(difference, (before, after))


def _require_licence(licence: str | None) -> None:
    if licence is None:
        raise UsageError(f"--licence: say under which one you publish the weights: {', '.join(LICENCES)}")
    if licence not in LICENCES:
        raise UsageError(f"--licence {licence}: {unknown('licence', licence, LICENCES)}")


def _finished_result(run: Run) -> dict[str, Any]:
    result, problem = run.read_result()
    if problem:
        raise RunError(f"{run.result_file}: {problem}")
    if result is None:
        raise RunError(f"{run}: the run is not finished, it has no result.json")
    figures = {key: result.get(key) for key in FIGURES} | {
        key: result.get(key) or 0 for key in ("top1_ema", "top1_raw")
    }
    wrong = [key for key, value in figures.items() if not is_number(value)]
    wrong += [key for key in ("config_hash", "strategy") if not isinstance(result.get(key), str)]
    if wrong:
        raise RunError(f"{run.result_file}: not what training wrote ({wrong[0]}: {result.get(wrong[0])})")
    return result


def _has_images(data: DataModule) -> bool:
    try:
        data.setup()
    except GhostlabError:
        return False
    return True


def _random_images(preprocessing: dict[str, Any]) -> Tensor:
    return torch.randn(4, *preprocessing["input_size"], generator=torch.Generator().manual_seed(0))
