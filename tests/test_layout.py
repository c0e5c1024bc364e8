"""The source keeps to what CONTRIBUTING.md says of it: packages import downwards only, and no imports form a cycle."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "hiresnn"
LAYER = {
    name: row
    for row, line in enumerate(re.findall(r"^\| (`.*?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    for name in re.findall(r"`(\w+)`", line)
}
"""Package or module -> its row in the table of CONTRIBUTING.md, the lowest layer first."""
MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}


def imported(path):
    """The modules of hiresnn that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


IMPORTS = {name: {other for other in imported(path) if other in MODULES} for name, path in MODULES.items()}


def layer(module):
    """The row of a module's package; hiresnn itself is above all."""
    return LAYER[module.split(".")[1]] if "." in module else len(LAYER)


def test_the_table_of_layers_has_every_package():
    packages = {name.split(".")[1] for name in MODULES if "." in name} - {"__main__"}
    assert packages <= LAYER.keys()


def test_a_package_imports_only_from_lower_layers():
    wrong = {
        (name, other)
        for name, others in IMPORTS.items()
        for other in others
        if name not in ("hiresnn", "hiresnn.__main__")
        and other.split(".")[1:2] != name.split(".")[1:2]
        and (layer(other) > layer(name) or layer(other) == layer(name) > 0)
    }
    assert not {pair for pair in wrong if pair[1] != "hiresnn"}


def test_no_imports_form_a_cycle():
    TopologicalSorter({name: others - {"hiresnn"} for name, others in IMPORTS.items()}).prepare()
