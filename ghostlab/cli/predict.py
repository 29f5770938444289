"""What a deployed network sees in images."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ghostlab.cli.guard import guarded
from ghostlab.errors import RunError, UsageError
from ghostlab.files import shown, write_text

if TYPE_CHECKING:
    from ghostlab.evaluation.predict import Prediction, Predictor

MANY = 32
"""Images from which on progress is shown."""


def run(source: str, given: list[str], top: int, out: Path | None) -> None:
    """Print the classes of all images that can be read, and write them to ``out``; ``RunError`` if some cannot."""
    from ghostlab.data.walk import LeftOut, LeftOutKind
    from ghostlab.evaluation.predict import find_images, open_classifier
    from ghostlab.terminal import tracked

    if top < 1:
        raise UsageError(f"--top {top}: must be at least 1")
    left_out = LeftOut()
    images, empty = find_images(given, left_out)
    classifier = open_classifier(source)
    answers = classifier.predict(images, top)
    predictions = [*(tracked(answers, "images", len(images)) if len(images) >= MANY else answers), *empty]
    print_predictions(predictions)
    if out:
        write_json(out, classifier, predictions)
    unreadable = [one for one in predictions if one.error]
    for one in unreadable:
        print(f"{shown(one.image)}: {one.error}", file=sys.stderr)
    if left_out.counts:
        print(f"left out are {left_out.summary('.')}", file=sys.stderr)
    closed = left_out.counts[LeftOutKind.CLOSED]
    if unreadable or closed:
        folders = f" and {closed:,} folders" if closed else ""
        raise RunError(f"{len(unreadable):,} of {len(predictions):,} images{folders} could not be read")


def print_predictions(predictions: Sequence[Prediction]) -> None:
    """A table on a terminal, else a line for each image: its file, then classes and probabilities, between tabs."""
    readable = [one for one in predictions if one.top]
    if sys.stdout.isatty():
        print_table(readable)
        return
    for one in readable:
        print(shown(one.image), *(f"{name}\t{share:.4f}" for name, share in one.top), sep="\t")


def print_table(predictions: Sequence[Prediction]) -> None:
    """A row for each class of each image."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = Table("image", "class")
    rows.add_column("probability", justify="right")
    for one in predictions:
        for k, (name, share) in enumerate(one.top):
            last = k == len(one.top) - 1
            rows.add_row(Text("" if k else shown(one.image)), Text(name), f"{100 * share:.1f} %", end_section=last)
    if predictions:
        Console().print(rows)


def write_json(out: Path, classifier: Predictor, predictions: Sequence[Prediction]) -> None:
    """The network and, for each image, its classes or why it cannot be read."""
    answers = [
        {"image": one.image, "error": one.error}
        if one.error
        else {"image": one.image, "top": [{"class": name, "probability": share} for name, share in one.top]}
        for one in predictions
    ]
    network = {"source": classifier.source, "architecture": classifier.description.architecture}
    write_text(out, json.dumps({**network, "predictions": answers}, indent=2) + "\n")
    print(f"written to {out}", file=sys.stderr)


def main(arguments: list[str], prog: str = "predict.py") -> int:
    """Parse, and run it; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("source", help="what export or fuse wrote, a run folder, or a checkpoint in one")
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="an image file, or a folder with images at any depth"
    )
    parser.add_argument("--top", type=int, default=5, help="classes that are named (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file, too")
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given.source, given.images, given.top, given.json))
