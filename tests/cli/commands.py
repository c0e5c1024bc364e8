"""Commands in this process, and the tables that they print."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiresnn.cli import main


def run(*arguments: str | Path) -> int:
    """Run `hiresnn ARGUMENTS` and return its exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    code = caught.value.code
    return code if isinstance(code, int) else 0


def plain(text: str) -> str:
    """Return what was printed in one line, without the frames of tables and boxes."""
    return " ".join("".join(" " if character in "│┃╭╮╰╯─" else character for character in text).split())


def rows(text: str) -> list[list[str]]:
    """Return the cells of the rows of a printed table, without its headings."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Callable[..., Any]) -> None:
    """Replace a module of hiresnn.app, which would train or attack, by one with these functions."""
    replacement = ModuleType(module)
    vars(replacement).update(functions)
    monkeypatch.setitem(sys.modules, module, replacement)
    monkeypatch.setattr(module, replacement, raising=False)
