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

from ghostlab.files import cache_folder, write_file

__all__ = ["has_library", "library"]

logger = logging.getLogger(__name__)

SOURCES = Path(__file__).parent / "csrc"
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp", "-Wno-psabi", "-shared", "-fPIC")
VALUES = {torch.float32: "float", torch.float64: "double"}


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The kernels for ``dtype``, compiled now if no earlier process did; None, with a warning, where that fails.

    The compiler is ``$CXX``, else g++ or clang++. The result stays in ``cache_folder``, under a name that changes with
    the sources, the compiler and the processor.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if dtype not in VALUES or not compiler:
        if dtype in VALUES:
            logger.warning("no C++ compiler (g++, clang++ or $CXX): depthwise branches are computed one by one")
        return None
    command = [*shlex.split(compiler), *FLAGS, f"-DVALUE={VALUES[dtype]}"]
    try:
        path = cache_folder() / f"depthwise-{VALUES[dtype]}-{_digest(command)}.so"
        if not path.exists():
            logger.info("compiling the depthwise kernels (%s), once for this machine: about 10 s", VALUES[dtype])
            write_file(path, lambda to: _compile(command, to))
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        logger.warning("the depthwise kernels do not compile (%s): %s", shlex.join(command), said.splitlines()[0])
        return None


@torch.compiler.assume_constant_result
def has_library(dtype: torch.dtype) -> bool:
    """Whether there are kernels for ``dtype``."""
    return library(dtype) is not None


def _compile(command: list[str], to: Path) -> None:
    source = SOURCES / "depthwise.cpp"
    subprocess.run([*command, str(source), "-o", str(to)], check=True, capture_output=True, text=True)


def _digest(command: list[str]) -> str:
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True).stdout
    parts = [*command, version, _processor(), *(path.read_text() for path in sorted(SOURCES.iterdir()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    """What ``-march=native`` depends on: a home folder may be shared by machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())
