"""Write a network for other runtimes, each file run and compared."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ghostlab.cli.guard import guarded
from ghostlab.deploy.export.catalog import CATALOG, ExportJob, plan_exports
from ghostlab.errors import GhostlabError, RunError, UsageError
from ghostlab.files import require_writable

if TYPE_CHECKING:
    from ghostlab.deploy.export.check import Reference
    from ghostlab.deploy.export.export import Int8
    from ghostlab.deploy.network import Network


def run(given: argparse.Namespace) -> None:
    """Export to every format of ``--to``; one that fails does not stop the others, and is named at the end."""
    dynamic = given.size == "dynamic"
    if given.int8 and dynamic:
        raise UsageError("--size dynamic: not with --int8, whose files take images of the network's size alone")
    if given.keep_float and not given.int8:
        raise UsageError("--keep-float: only with --int8")
    jobs, reasons = plan_exports(given.to, dynamic, given.int8)
    for reason in dict.fromkeys(reasons.values()):
        print(reason, file=sys.stderr)
    out = given.out or (given.source if given.source.is_dir() else given.source.parent) / "export"
    require_writable(out)
    done = export_all(jobs, given, out)
    if failed := [str(job) for job in (*jobs, *reasons) if job not in done]:
        raise RunError(f"not exported: {', '.join(failed)}")


def export_all(jobs: Sequence[ExportJob], given: argparse.Namespace, out: Path) -> list[ExportJob]:
    """Write the files, and say of each what it is or why it is not there; those that are."""
    from ghostlab.deploy.export.export import Int8
    from ghostlab.deploy.network import open_network

    how = Int8(given.calibration, "auto" if given.keep_float == ["auto"] else given.keep_float, given.max_drop)
    network = open_network(given.source)
    reference, done = make_reference(network), []
    for job in jobs:
        try:
            print(export_one(job, network, reference, out, how, given.size == "dynamic"), flush=True)
            done.append(job)
        except GhostlabError as error:
            print(f"{job}: {error}", file=sys.stderr)
    if done:
        from ghostlab.deploy.export.staging import REPORT

        print(f"written to {out}, with {REPORT}", flush=True)
    return done


def export_one(job: ExportJob, network: Network, reference: Reference, out: Path, how: Int8, dynamic: bool) -> str:
    """Write one file, and what is said about it."""
    from ghostlab.deploy.export.export import export, export_int8
    from ghostlab.deploy.export.formats import FORMATS

    form = FORMATS[job.format]
    if job.int8:
        return export_int8(form, network, reference, out, how).int8_summary(reference)
    return export(form, network, reference, out, dynamic).summary()


def make_reference(network: Network) -> Reference:
    """What PyTorch answers, and a line about it."""
    from ghostlab.deploy.export.check import Reference, validation_data

    data, missing = validation_data(network)
    reference = Reference(network, data)
    facts = network.description
    scored = (
        f"top-1 {reference.top1:.2f} on {len(reference.logits):,} images" if data else f"top-1 not measured: {missing}"
    )
    built = "" if network.folded else "   as built, with nothing to fold"
    print(f"{facts.architecture} at {facts.image_size} px, {len(facts.class_names)} classes   PyTorch: {scored}{built}")
    return reference


def main(arguments: list[str], prog: str = "export.py") -> int:
    """Parse, and run it; the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("source", type=Path, help="a run folder, a checkpoint in one, or a fused.safetensors")
    parser.add_argument("--to", required=True, metavar="FORMAT[,FORMAT...]", help=f"of {', '.join(CATALOG)}")
    parser.add_argument("--out", type=Path, help="where to write (default: export/ beside the source)")
    parser.add_argument("--size", choices=("fixed", "dynamic"), default="fixed", help="of the images (default: fixed)")
    parser.add_argument("--int8", action="store_true", help="also quantized, calibrated on training images")
    parser.add_argument("--calibration", type=int, default=256, metavar="IMAGES", help="for it (default: 256)")
    parser.add_argument("--keep-float", nargs="+", default=[], metavar="LAYER", help="patterns of layers, or auto")
    parser.add_argument("--max-drop", type=float, default=1.0, metavar="POINTS", help="of top-1, for auto (default: 1)")
    given = parser.parse_args(arguments)
    return guarded(lambda: run(given))
