"""The source keeps to what CONTRIBUTING.md says of it: packages import downwards only."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "hiresnn"
FILES = sorted(SOURCE.rglob("*.py"))
LAYER = {
    name: row
    for row, line in enumerate(re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    for name in re.findall(r"`(\w+)`", line)
}
"""Package or module -> its row in the table of CONTRIBUTING.md, the lowest layer first."""


def imported(path: Path) -> Iterator[str]:
    """The packages of hiresnn that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("hiresnn"):
            inner = node.module.split(".")[1:]
            yield from inner[:1] or [each.name for each in node.names]
        elif isinstance(node, ast.Import):
            yield from (each.name.split(".")[1] for each in node.names if each.name.startswith("hiresnn."))


def test_the_table_of_layers_has_every_package() -> None:
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    modules = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert packages | modules <= LAYER.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_package_imports_only_from_lower_layers(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if own not in LAYER:  # hiresnn itself
        return
    wrong = [
        name
        for name in imported(path)
        if name in LAYER and name != own and LAYER[name] >= LAYER[own] and not (LAYER[own] == 0 and name == "errors")
    ]
    assert not wrong
