"""Commands that are suggested can be copied into a shell, whatever their paths hold."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from pytest import param

from ghostlab.shell import command

ROOT = Path(__file__).parents[1]
SCRIPT = re.compile(r"python (-\w+ )*[\w/]+\.py")


@pytest.mark.parametrize(
    "text", ["a b", "it's", "$HOME", "a;b", "a&b", "é", "<folder>", "*", "data.root=/my photos/2026"]
)
def test_a_shell_reads_each_word_as_it_is_meant(text: str) -> None:
    assert shlex.split(command("tools/fuse.py", Path(text), "--out", text)) == [
        *("python", "tools/fuse.py", text, "--out", text)
    ]


def unquoted(code: str) -> list[int]:
    """The lines whose f-string puts a value into a command as it is."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            begun = SCRIPT.search(text)
            if begun and "{}" in text[begun.end() :].partition(";")[0].partition(",")[0].partition("`")[0]:
                found.append(node.lineno)
    return found


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        param('f"next: python tools/fuse.py {folder}"', [1], id="path"),
        param('f"{reason}: python train.py -m ..."', [], id="before"),
        param("f\"next: {command('tools/fuse.py', folder)}\"", [], id="quoted"),
    ],
)
def test_an_unquoted_value_is_found(code: str, lines: list[int]) -> None:
    assert unquoted(code) == lines


def test_no_command_is_suggested_with_an_unquoted_value() -> None:
    files = [*(ROOT / "ghostlab").rglob("*.py"), *(ROOT / "tools").glob("*.py"), ROOT / "train.py"]
    found = {str(file.relative_to(ROOT)): lines for file in files if (lines := unquoted(file.read_text("utf-8")))}
    assert found == {}
