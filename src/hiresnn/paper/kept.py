"""Figures on disk: a JSON file each, named after what was measured, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hiresnn.errors import RunError
from hiresnn.paper.provenance import here
from hiresnn.runs.atomic import write_atomically
from hiresnn.runs.recipe import digest


def name_of(key: Mapping[str, Any]) -> str:
    """The name under which a figure is kept: its key's "what" and its key's digest."""
    return f"{key.get('what', 'figure')}-{digest(key)}"


def find(path: Path) -> dict[str, Any] | None:
    """What `keep` wrote to `path`; None where there is nothing, or nothing that can be read: it is then made anew."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and "value" in content else None


def keep(path: Path, key: Mapping[str, Any], value: Any, seconds: float) -> Any:
    """Write a figure with its key, the seconds it took and where; returns it as `find` will (a tuple becomes a list).

    Raises RunError where it is not finite or cannot be written.
    """
    try:
        record = {"key": key, "value": value, "seconds": round(seconds, 3), "where": here()}
        text = json.dumps(record, indent=1, allow_nan=False)
    except ValueError:
        raise RunError(
            f"the figure {path.stem} holds a number that is not finite; the run it was measured on has diverged."
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    return json.loads(text)["value"]


def words(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from words(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from words(inner)
