"""The wheel holds all that is needed: installed beside what it depends on, in another folder than the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

QUICK = ["model=timm", "model.name=test_resnet", "trainer.max_epochs=1", "data.image_size=8", "data.val_fraction=0.8"]


@pytest.fixture(scope="module")
def ghostlab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command."""
    folder = tmp_path_factory.mktemp("wheel")
    source, wheels, environment = folder / "source", folder / "wheels", folder / "environment"
    leave = shutil.ignore_patterns(".*", "outputs", "build", "*.egg-info", "__pycache__")
    for name in ("ghostlab", "hydra_plugins", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=leave)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    _run([*pip, "wheel", str(source), "--no-deps", "--wheel-dir", str(wheels)], folder)
    [wheel] = wheels.iterdir()
    _run([sys.executable, "-m", "venv", "--without-pip", str(environment)], folder)
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "under.pth").write_text(sysconfig.get_path("purelib") + "\n")  # all but the package itself
    _run([*pip, "install", "--no-deps", "--target", str(packages), str(wheel)], folder)
    python = environment / "bin" / "python"
    script = environment / "bin" / "ghostlab"
    script.write_text(f"#!{python}\nimport sys\nfrom ghostlab.cli.main import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return script


def _run(command: list[str], folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_trains_fuses_and_reports_in_an_empty_folder(ghostlab: Path, tmp_path: Path) -> None:
    found = _run([str(ghostlab.with_name("python")), "-c", "import ghostlab; print(ghostlab.__file__)"], tmp_path)
    assert Path(found.strip()).is_relative_to(ghostlab.parents[1])
    printed = _run([str(ghostlab), "sweep", "strategy=baseline,ema", *QUICK], tmp_path)
    assert "what it says: ghostlab report outputs/digits" in printed
    run = next((tmp_path / "outputs").rglob("result.json")).parent
    assert "proof: largest difference" in _run([str(ghostlab), "fuse", str(run)], tmp_path)
    assert (run / "fused.safetensors").is_file()
    assert "report: outputs/digits/report.html" in _run([str(ghostlab), "report", "outputs/digits"], tmp_path)
