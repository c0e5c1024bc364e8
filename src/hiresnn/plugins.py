"""Plug-ins: attacks and rules that other packages add through Python's entry points, see docs/plugins.md.

A plug-in is imported when its name is used; a name of the package always wins.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from hiresnn.errors import user_code

Kind = Literal["attacks", "rules"]


def offered(kind: Kind) -> dict[str, EntryPoint]:
    """Return the plug-ins of a kind that are installed, by name; nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=f"hiresnn.{kind}")}


def find(kind: Kind, name: str) -> Any | None:
    """Import and return the plug-in of that name, None if no package offers it; UsageError if the import fails."""
    entry = offered(kind).get(name)
    if entry is None:
        return None
    with user_code(f"importing the plug-in {name!r} ({entry.value})", "; update or remove the package that offers it."):
        return entry.load()
