"""Where and when a figure was measured: what is kept beside it, and the sentence that a page makes of it."""

from __future__ import annotations

from collections import Counter
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
    counts: Counter[str] = Counter()
    days: dict[str, set[str]] = {}
    for record in records:
        where = f"on {record['cpu']}, torch {record['torch']}" if record else "without a record of where and when"
        counts[where] += 1
        days.setdefault(where, set()).update([str(record["date"])[:10]] if record else [])
    clauses = []
    for where, count in counts.most_common():
        between = " to ".join(sorted({min(days[where]), max(days[where])})) if days[where] else ""
        clauses.append(f"{count} figure{'s' if count > 1 else ''} {where}{', ' if between else ''}{between}")
    return f"Measured: {'; '.join(clauses)}."
