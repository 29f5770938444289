"""Real file systems without room or without permission, for tests of what is said then."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

__all__ = ["Disk", "disk"]

Disk = Callable[..., Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """``disk("256k")`` is the folder of a small file system of memory; ``disk("1m", read_only=True)`` one that takes no
    files. Skips where none can be mounted, which takes root.
    """
    with ExitStack() as stack:

        def mounted(size: str, read_only: bool = False) -> Path:
            folder = tmp_path / "disk"
            folder.mkdir()
            options = f"size={size}{',ro' if read_only else ''}"
            done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
            if os.geteuid() or done.returncode:
                pytest.skip("file systems can be mounted by root alone")
            stack.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
            return folder

        yield mounted
