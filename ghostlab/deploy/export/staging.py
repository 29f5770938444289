"""Where exported files are written: aside first, then all at once in their places, with a report of what they are."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from ghostlab.deploy.export.check import Reference, RuntimeComparison
from ghostlab.deploy.export.format import Format
from ghostlab.errors import GhostlabError, WriteError
from ghostlab.files import writing

__all__ = ["REPORT", "ExportedFile", "read_report", "staged"]

REPORT = "export.json"
MIN_FREE = 64 * 1024
"""Bytes: a disk with less is full."""
WORST = 5
"""Layers that are named."""


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written, and what it was found to be."""

    format: str
    precision: str
    """float32 or int8."""
    file: str
    bytes: int
    """Of all its parts."""
    runtime: str
    difference: float | None
    """See ``RuntimeComparison``; None for a file that cannot be run here."""
    top1: float | None
    """In percent on ``images`` validation images."""
    images: int
    remark: str
    int8: dict[str, Any] | None
    """How it was quantized, and what that cost."""

    @property
    def key(self) -> str:
        """Its name in ``export.json``: "onnx", "onnx int8"."""
        return self.format + ("" if self.precision == "float32" else f" {self.precision}")

    def summary(self) -> str:
        """``onnx           model.onnx (5.1 MB)   onnxruntime 1.32.0   largest difference 3.6e-07   top-1 88.40``."""
        file = f"{self.key:<18} {self.file} ({self.bytes / 1e6:.1f} MB)   {self.runtime}"
        if self.difference is None:
            return f"{file}   {self.remark}"
        scored = "" if self.top1 is None else f"   top-1 {self.top1:.2f}"
        return f"{file}   largest difference {self.difference:.1e}{scored}"

    def int8_summary(self, reference: Reference) -> str:
        """The same, with what int8 lost, which layers lose most, and which were kept from it."""
        assert self.int8 is not None and reference.top1 is not None and self.top1 is not None
        lost = f"({self.top1 - reference.top1:+.2f})   the same class for {self.int8['same_class']:.1f} %"
        return "\n".join([f"{self.summary()} {lost}", *_layers(self.int8)])


@dataclass(frozen=True)
class StagedFile:
    """A folder aside, in which ``path`` is to be written for ``out``."""

    form: Format
    path: Path
    out: Path
    precision: str

    def commit(
        self, found: RuntimeComparison | None = None, remark: str = "", int8: dict[str, Any] | None = None
    ) -> ExportedFile:
        """Put what was written in its place, and note it in ``export.json`` beside it: both or neither."""
        parts = [part for part in self.path.parent.iterdir() if part.name.startswith("model")]
        written = ExportedFile(
            format=self.form.name,
            precision=self.precision,
            file=self.path.name,
            bytes=sum(map(_size, parts)),
            runtime=self.form.runtime,
            difference=found.difference if found else None,
            top1=found.top1 if found else None,
            images=found.images if found else 0,
            remark=remark,
            int8=int8,
        )
        with writing(self.out), FileLock(self.out / ".lock"):  # two exports at once would each lose the other's note
            note = self.path.with_name(REPORT)
            note.write_text(_noted(self.out, written), encoding="utf-8")  # before anything moves, which needs no room
            for part in parts:
                _move(part, self.out / part.name)
            note.replace(self.out / REPORT)
        return written


@contextmanager
def staged(form: Format, out: Path, precision: str = "float32") -> Iterator[StagedFile]:
    """A place in a new folder inside ``out``, which is gone afterwards, whatever happens.

    Raises ``WriteError`` where there is no room or no permission.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=".export-", dir=out)
    with made as folder, _no_room(out):
        infix = "" if precision == "float32" else f".{precision}"
        yield StagedFile(form, Path(folder) / f"model{infix}{form.files[0]}", out, precision)


@contextmanager
def _no_room(out: Path) -> Iterator[None]:
    """An error over a full disk is about that: some converters write half a file without a word."""
    try:
        yield
    except GhostlabError as error:
        if isinstance(error, WriteError) or shutil.disk_usage(out).free >= MIN_FREE:
            raise
        raise WriteError(f"{out}: cannot be written: no room is left ({error})") from error


def read_report(out: Path) -> dict[str, Any]:
    """What ``export.json`` says of each file in ``out``; a damaged one says nothing."""
    with suppress(OSError, ValueError, AttributeError):
        known = json.loads((out / REPORT).read_text(encoding="utf-8")).get("formats", {})
        return known if isinstance(known, dict) else {}
    return {}


def _noted(out: Path, written: ExportedFile) -> str:
    """The text of ``export.json`` with it added to what is known of the other files, as long as these are there."""
    known = read_report(out)
    there = {
        key: values
        for key, values in known.items()
        if isinstance(values, dict) and (out / str(values.get("file", "-"))).exists()
    }
    return json.dumps({"formats": {**there, written.key: asdict(written)}}, indent=2) + "\n"


def _move(part: Path, to: Path) -> None:
    if to.is_dir():  # a format may be a folder, which another cannot replace
        shutil.rmtree(to)
    part.replace(to)


def _size(part: Path) -> int:
    files = [part] if part.is_file() else [file for file in part.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _layers(int8: Mapping[str, Any]) -> list[str]:
    losses = [(name, loss) for name, loss in int8["sqnr_db"].items() if loss is not None]
    worst = ", ".join(f"{name} ({loss:.0f} dB)" for name, loss in losses[:WORST])
    kept, trials = int8["kept_float"], int8["trials"]
    tried = ", ".join(f"{trial['top1']:.2f} with {trial['kept']}" for trial in trials)
    return [
        f"  lose most, signal to noise of the answers where each alone is in int8: {worst}",
        *([f"  top-1 by layers kept in float32: {tried}"] if len(trials) > 1 else []),
        f"  kept in float32: {', '.join(kept) or 'none'}",
    ]
