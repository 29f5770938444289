"""What a file says about itself where its format has no room for it: a zip appended to it, or sums of its parts."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from ghostlab.deploy.network import Description
from ghostlab.errors import RunError

__all__ = ["append_description", "check_sha256", "sha256", "split_description"]

ENTRY = "ghostlab.json"


def sha256(data: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def check_sha256(path: Path, expected: Any, whole: Path) -> None:
    """Raise ``RunError`` unless ``path`` has the ``sha256`` that was noted when ``whole`` was written."""
    try:
        found = sha256(path.read_bytes())
    except OSError as error:
        raise RunError(f"{whole}: its part {path.name} cannot be read ({error.strerror})") from error
    if found != expected:
        raise RunError(f"{whole}: {path.name} is damaged, or belongs to another file")


def append_description(path: Path, description: Description) -> None:
    """Add the description to a file that is read from its beginning, as a zip, which is read from its end."""
    values = {"description": description.text(), "sha256": sha256(path.read_bytes())}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(ENTRY, json.dumps(values))


def split_description(path: Path) -> tuple[bytes, Description]:
    """What was in the file before ``append_description``, and the description; ``RunError`` unless it is as it was."""
    try:
        with zipfile.ZipFile(path) as archive:
            values = json.loads(archive.read(ENTRY))
            content = path.read_bytes()[: archive.getinfo(ENTRY).header_offset]
        text, expected = values["description"], values["sha256"]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: damaged, or no file of this package ({' '.join(str(error).split())})") from error
    if sha256(content) != expected:
        raise RunError(f"{path}: damaged")
    return content, Description.parse(text, path)
