"""Where and when a figure was measured: what is kept beside it, and the sentence that a page makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hiresnn.runs.environment import environment

KEPT = ("date", "cpu", "threads", "torch", "hiresnn", "git_commit", "git_changed")
"""What is kept of `environment()`."""


def here() -> dict[str, Any]:
    """The record of a figure that is measured now."""
    found = environment()
    return {name: found[name] for name in KEPT}


def note(records: Iterable[Mapping[str, Any]]) -> str:
    """One sentence on the figures behind a page, a clause each processor and torch, the most figures first.

    Args:
        records: what `here` gave for each figure; empty where none was kept.

    >>> note([{"cpu": "A", "torch": "2.5", "date": "2026-11-24T09:00:00"}])
    'Measured: 1 figure on A, torch 2.5, 2026-11-24.'
    """
    days: dict[str, list[str]] = {}  # a day each figure
    for record in records:
        where = f"on {record['cpu']}, torch {record['torch']}, " if record else "without a record of where and when"
        days.setdefault(where, []).append(str(record["date"])[:10] if record else "")
    clauses = [
        f"{len(each)} figure{'s' if len(each) > 1 else ''} {where}{' to '.join(sorted({min(each), max(each)}))}"
        for where, each in sorted(days.items(), key=lambda pair: -len(pair[1]))
    ]
    return f"Measured: {'; '.join(clauses)}."
