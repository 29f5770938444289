"""What in an image speaks for a class, for several runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path

from ghostlab.cli.guard import guarded
from ghostlab.files import require_writable

FOLDER = Path("outputs/cam")


def run(images: list[Path], runs: list[Path], wanted: str | None, method: str, out: Path | None) -> None:
    """Write the picture and print its path."""
    from ghostlab.evaluation.cam_runs import check_format, draw_panels, explained_panels

    path = out or FOLDER / f"{images[0].stem}.png"
    check_format(path)
    require_writable(path.parent)
    rows = explained_panels(images, runs, wanted, method)
    draw_panels(path, rows)
    print(path)


def main(arguments: list[str], prog: str = "cam.py") -> int:
    """Parse, and run it; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("image", type=Path, help="an image file")
    parser.add_argument("run", type=Path, nargs="+", help="a run folder, or a checkpoint in one")
    parser.add_argument("--images", type=Path, nargs="+", default=[], metavar="IMAGE", help="more images, a row each")
    parser.add_argument("--class", dest="wanted", help="a class by name or index (default: what each run predicts)")
    parser.add_argument(
        "--method", choices=("auto", "cam", "gradcam"), default="auto", help="default: auto, cam if exact"
    )
    parser.add_argument("--out", type=Path, help=f"the picture's file (default: {FOLDER}/<image name>.png)")
    given = parser.parse_args(arguments)
    images = [given.image, *given.images]
    return guarded(lambda: run(images, given.run, given.wanted, given.method, given.out))
