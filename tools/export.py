"""Write a network for other runtimes, each file run and compared: export.py <run folder | fused file> --to onnx"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ghostlab.cli import guarded
from ghostlab.deploy.export.check import Reference, validation_data
from ghostlab.deploy.export.export import Int8, export, export_int8
from ghostlab.deploy.export.format import Format
from ghostlab.deploy.export.formats import FORMATS
from ghostlab.deploy.export.place import REPORT
from ghostlab.deploy.export.told import told, told_int8
from ghostlab.deploy.network import Network, open_network
from ghostlab.errors import GhostlabError, RunError, UsageError, unknown
from ghostlab.training.report import say


def main(given: argparse.Namespace) -> None:
    """Export to every format of ``--to``; one that fails does not stop the others, and is named at the end."""
    dynamic = given.size == "dynamic"
    if given.int8 and dynamic:
        raise UsageError("--size dynamic: not with --int8, whose files take images of the network's size alone")
    if given.keep_float and not given.int8:
        raise UsageError("--keep-float: only with --int8")
    forms = chosen(given.to, dynamic, given.int8)
    how = Int8(given.calibration, "auto" if given.keep_float == ["auto"] else given.keep_float, given.max_drop)
    network = open_network(given.source)
    reference = referred(network)
    out = given.out or (given.source if given.source.is_dir() else given.source.parent) / "export"
    failed: list[str] = []

    def exported(form: Format) -> str:
        return told(export(form, network, reference, out, dynamic))

    def exported_int8(form: Format) -> str:
        return told_int8(export_int8(form, network, reference, out, how), reference)

    def attempt(name: str, work: Callable[[], str]) -> None:
        try:
            say(work())
        except GhostlabError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)

    for form in forms:
        attempt(form.name, partial(exported, form))
        if given.int8:
            attempt(f"{form.name} int8", partial(exported_int8, form))
    if failed:
        raise RunError(f"not exported: {', '.join(failed)}")
    say(f"written to {out}, with {REPORT}")


def chosen(names: str, dynamic: bool, int8: bool) -> list[Format]:
    """The formats, or ``UsageError`` for one that does not exist, is not installed or cannot do what is asked."""
    for name in names.split(","):
        if name not in FORMATS:
            raise UsageError(f"--to {names}: {unknown('format', name, FORMATS)}")
    forms = [FORMATS[name] for name in dict.fromkeys(names.split(","))]
    for form in forms:
        form.require()
    for option, wanted, able in (("--size dynamic", dynamic, "dynamic_size"), ("--int8", int8, "int8")):
        if wanted and (unable := [form.name for form in forms if not getattr(form, able)]):
            allowed = ", ".join(name for name, form in FORMATS.items() if getattr(form, able))
            raise UsageError(f"{option}: not for {', '.join(unable)}; allowed: {allowed}")
    return forms


def referred(network: Network) -> Reference:
    """What PyTorch answers, and a line about it."""
    data, missing = validation_data(network)
    reference = Reference(network, data)
    facts = network.description
    scored = (
        f"top-1 {reference.top1:.2f} on {len(reference.logits):,} images" if data else f"top-1 not measured: {missing}"
    )
    say(f"{facts.architecture} at {facts.image_size} px, {len(facts.class_names)} classes   PyTorch: {scored}")
    return reference


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="a run folder, a checkpoint in one, or a fused.safetensors")
    parser.add_argument("--to", required=True, metavar="FORMAT[,FORMAT...]", help=f"of {', '.join(FORMATS)}")
    parser.add_argument("--out", type=Path, help="where to write (default: export/ beside the source)")
    parser.add_argument("--size", choices=("fixed", "dynamic"), default="fixed", help="of the images (default: fixed)")
    parser.add_argument("--int8", action="store_true", help="also quantized, calibrated on training images")
    parser.add_argument("--calibration", type=int, default=256, metavar="IMAGES", help="for it (default: 256)")
    parser.add_argument("--keep-float", nargs="+", default=[], metavar="LAYER", help="patterns of layers, or auto")
    parser.add_argument("--max-drop", type=float, default=1.0, metavar="POINTS", help="of top-1, for auto (default: 1)")
    given = parser.parse_args()
    sys.exit(guarded(lambda: main(given)))
