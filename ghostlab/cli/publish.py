"""A run as a folder for the Hugging Face hub, in timm's format."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from ghostlab.benchmarks.latency import LATENCY_FILE
from ghostlab.cli.guard import guarded
from ghostlab.errors import UsageError
from ghostlab.publish import Evidence, publish
from ghostlab.publish.card import OWNER
from ghostlab.shell import command
from ghostlab.terminal import say


def run(given: argparse.Namespace) -> None:
    """Publish the run into the folder and say what was compared and how to upload it."""
    if given.latency is not None and not given.latency.is_file():
        raise UsageError(
            f"--latency {given.latency}: no such file; {command('tools/benchmark.py', 'latency')} writes one"
        )
    latency = given.latency or (LATENCY_FILE if LATENCY_FILE.is_file() else None)
    facts = publish(given.run, given.out, given.licence, Evidence(latency, given.ablation))
    say(f"{facts.architecture}{', after import ghostlab.models' if facts.own else ''}")
    top1 = "not measured: the images are not there"
    if facts.check.top1 and facts.images:
        top1 = "{:.2f} -> {:.2f} on {:,} images".format(*facts.check.top1, facts.images[1])
    say(f"opened by timm: largest difference {facts.check.difference:.1e}; top-1 {top1}")
    say(f"{given.out}: {', '.join(sorted(file.name for file in given.out.iterdir()))}")
    say(f"hf upload {OWNER}/{facts.name} {shlex.quote(str(given.out))}")


def main(arguments: list[str], prog: str = "publish.py") -> int:
    """Parse, and run it; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--out", type=Path, required=True, help="a new folder, named as the model on the hub")
    parser.add_argument("--licence", "--license", help="that of the weights, by the hub's name: apache-2.0, mit, ...")
    parser.add_argument("--latency", type=Path, help=f"what benchmark latency wrote (default: {LATENCY_FILE})")
    parser.add_argument("--ablation", type=Path, help="the folder of an ablation, or of runs, with this one among them")
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given))
