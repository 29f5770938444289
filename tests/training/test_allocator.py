"""What a step frees is there for the next one."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest
from pytest import param

from ghostlab.runs import compose
from ghostlab.runs.settings import parse
from ghostlab.training import trainer
from ghostlab.training.checkpoints import Checkpoints
from ghostlab.training.history import History
from tests.conftest import ROOT

COUNTED = """
import json, resource, torch
from ghostlab.training.allocator import keep_freed_memory

model, images = torch.nn.Conv2d(3, 64, 3), torch.randn(16, 3, 128, 128)

def faults():
    counts = []
    for _ in range(9):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        model(images).square().sum().backward()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return sorted(counts)[4]  # a few steps find no place that is free yet

usual = faults()
keep_freed_memory()
print(json.dumps([usual, faults()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")
@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        param({}, True, id="of-its-own"),
        param({"MALLOC_TRIM_THRESHOLD_": "131072"}, False, id="as-a-variable-says"),
    ],
)
def test_pages_are_asked_for_once(environment: dict[str, str], kept: bool) -> None:
    given = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run([sys.executable, "-c", COUNTED], env=given, capture_output=True, text=True, check=True)
    usual, later = json.loads(done.stdout)
    if usual < 10_000:
        pytest.skip("the system gives memory in large pieces")
    assert (later < 100) is kept


def test_a_run_on_a_cpu_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(trainer, "keep_freed_memory", lambda: asked.append(True))
    run = parse(compose(["trainer.accelerator=cpu"]))
    trainer.build_trainer(run, History(run.run.history_file), Checkpoints(run.run))
    assert asked
