"""Compiling the C++ kernels, once for each machine, with the compiler that is there."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import torch

from ghostlab.errors import WriteError
from ghostlab.files import cache_folder, write_file

__all__ = ["VALUES", "compiler", "library", "signature"]

logger = logging.getLogger(__name__)

INCLUDED = Path(__file__).parent / "csrc"
"""What the sources of all kernels may include."""
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-Wno-psabi", "-shared", "-fPIC")
VALUES = {torch.float32: "float", torch.float64: "double"}


@functools.cache
def library(source: Path, dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels of ``source`` for ``dtype``, compiled now if no earlier process did; None, with a warning, where that
    fails.

    The compiler is ``$CXX``, else g++ or clang++, with ``$CXXFLAGS`` last. The result stays in ``cache_folder``, under
    a name that changes with the sources, the compiler and the processor.
    """
    command = compiler()
    if dtype not in VALUES or not command:
        return None
    command = (*command, *_flags(), f"-I{INCLUDED}", f"-DVALUE={VALUES[dtype]}")
    try:
        path = cache_folder() / f"{source.stem}-{VALUES[dtype]}-{signature(source)}.so"
        if not path.exists():
            logger.info("compiling %s (%s), once for this machine: about 10 s", source.name, VALUES[dtype])
            write_file(path, lambda to: _compile([*command, str(source), "-o", str(to)]))
        return ctypes.CDLL(str(path))
    except (OSError, WriteError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        logger.warning("%s does not compile (%s): %s", source.name, shlex.join(command), said.splitlines()[0])
        return None


@functools.cache
def compiler() -> tuple[str, ...]:
    """The words of the command; none, with a warning, where there is no compiler."""
    found = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if not found:
        logger.warning("no C++ compiler (g++, clang++ or $CXX): PyTorch computes all depthwise convolutions")
    return tuple(shlex.split(found)) if found else ()


def _flags() -> list[str]:
    return [*FLAGS, *shlex.split(os.environ.get("CXXFLAGS", ""))]


def _compile(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def signature(source: Path) -> str:
    """Sixteen hex digits that change with the sources, the compiler and the processor."""
    files = sorted([*source.parent.iterdir(), *INCLUDED.iterdir()])
    parts = [*compiler(), *_flags(), _version(), _processor(), *(path.read_text() for path in files)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _version() -> str:
    try:
        return subprocess.run([*compiler()[:1], "--version"], capture_output=True, text=True).stdout
    except OSError:  # there is no such compiler
        return ""


def _processor() -> str:
    """What ``-march=native`` depends on: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
