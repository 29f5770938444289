"""What a run imports: hardly more than torch, Lightning and timm do, and nothing large before it is used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

COUNTED = """
import json, sys, time
import pytorch_lightning, timm, torch
base, began = set(sys.modules), time.process_time()
import ghostlab.cli.train, ghostlab.training.run
added, took = set(sys.modules) - base, time.process_time() - began
ghostlab.cli.train.main(sys.argv[1:])
print(json.dumps({"added": sorted(added), "run": sorted(set(sys.modules) - base), "share": took / began}))
"""
LARGE = {"matplotlib", "pandas", "plotly", "scipy", "sklearn", "sympy", "torch._dynamo", "torch._inductor", "triton"}
QUICK = ["model=timm", "model.name=test_resnet", "data.image_size=8", "data.workers=0", "trainer.max_epochs=1"]


def test_a_run_imports_nothing_large_of_its_own(tmp_path: Path) -> None:
    """What torch, Lightning and timm import themselves is not counted."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-c", COUNTED, *QUICK]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["added"]) < 450
    assert not LARGE & set(found["run"])
    assert found["share"] < 0.2
