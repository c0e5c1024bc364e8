"""Measured values on disk: one JSON file each, named after its key, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiresnn.errors import RunError
from hiresnn.runs.atomic import write_atomically
from hiresnn.runs.environment import environment
from hiresnn.runs.recipe import SEMANTICS, digest

RECORDED = ("date", "cpu", "threads", "torch", "hiresnn", "git_commit", "git_changed")
"""Fields of `environment()` that are stored with a value."""


@dataclass(frozen=True)
class Record:
    """A stored value, as JSON gives it back, and where and when it was measured: processor, versions, day."""

    value: Any
    where: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """Processor and version of the training semantics; only values of one origin are compared seed by seed."""
        return f"{self.where.get('cpu')}, semantics {self.where.get('semantics')}"


class Store:
    """The values in one folder, which the first value creates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: Mapping[str, Any]) -> Record | None:
        """The value of a key, None where there is none or its file is damaged: it is then measured again."""
        try:
            content = json.loads((self.folder / f"{file_name(key)}.json").read_text(encoding="utf-8"))
            return Record(content["value"], content["where"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: Mapping[str, Any], value: Any, seconds: float) -> Record:
        """Write a value with its key and the seconds it took. Raises RunError where it is not finite."""
        here, name = environment(), file_name(key)
        where = {"semantics": SEMANTICS, **{field: here[field] for field in RECORDED}}
        try:
            record = {"key": key, "value": value, "seconds": round(seconds, 3), "where": where}
            text = json.dumps(record, indent=1, allow_nan=False)
        except ValueError:
            raise RunError(
                f"measured value {name} holds a number that is not finite; the training it was measured on diverged."
            ) from None
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / f"{name}.json", text.encode())
        return Record(json.loads(text)["value"], where)


def file_name(key: Mapping[str, Any]) -> str:
    """The name of a value's file, without the suffix: what it is, and the digest of its key."""
    return f"{key['kind']}-{digest(key)}"


def provenance(records: Iterable[Record]) -> str:
    """One sentence on where and when values were measured, the most frequent place first.

    >>> provenance([Record(1.0, {"cpu": "A", "torch": "2.5", "date": "2026-11-24T09:00:00"})])
    'Measured: 1 value on A, torch 2.5, 2026-11-24.'
    """
    days: dict[str, list[str]] = {}  # place -> the day of each value
    for record in records:
        where = record.where
        days.setdefault(f"{where['cpu']}, torch {where['torch']}", []).append(str(where["date"])[:10])
    clauses = [
        f"{len(each)} value{'s' if len(each) > 1 else ''} on {where}, {' to '.join(sorted({min(each), max(each)}))}"
        for where, each in sorted(days.items(), key=lambda pair: -len(pair[1]))
    ]
    return f"Measured: {'; '.join(clauses)}."
