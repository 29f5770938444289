"""Memory that is freed stays with the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ghostlab.kernels import memory

PROGRAM = """
import resource, runpy, sys
import numpy

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        numpy.ones(8 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
assert runpy.run_path(sys.argv[1])["keep_freed_memory"]()
faults()
print(before, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_pages_are_not_asked_for_again() -> None:
    line = [sys.executable, "-c", PROGRAM, memory.__file__]
    before, after = map(int, subprocess.run(line, check=True, capture_output=True, text=True).stdout.split())
    assert after < before / 4, (before, after)
