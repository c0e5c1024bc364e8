"""The result of a benchmark section: rows of medians with their spread, targets with verdicts, and the machine.

All of it becomes JSON, and every page and plot is made from that JSON alone.
"""

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hiresnn.app.folder import environment

Spread = dict[str, float]
"""median, min, max and rounds."""

PEERS = {"spikingjelly": "SpikingJelly", "snntorch": "snnTorch", "torchattacks": "torchattacks"}
"""Package -> its name in the tables."""


def spread(values: Sequence[float], scale: float = 1.0) -> Spread:
    """Return median, smallest and largest value of the rounds, each times `scale`."""
    scaled = [scale * value for value in values]
    found = {"median": statistics.median(scaled), "min": min(scaled), "max": max(scaled)}
    return {**{name: float(f"{value:.6g}") for name, value in found.items()}, "rounds": len(scaled)}


def rates(seconds: Sequence[float], count: int) -> Spread:
    """Return the rate per second of `count` things, from the seconds of each round."""
    return spread([count / value for value in seconds])


def versions() -> dict[str, str | None]:
    """Return the versions of the peers; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for peer in PEERS:
        try:
            found[peer] = version(peer)
        except PackageNotFoundError:
            found[peer] = None
    return found


def machine() -> dict[str, Any]:
    """Return the machine and the versions that a section was measured with."""
    asked = os.environ.get("OMP_NUM_THREADS")
    return {**environment(), **versions(), "cores": os.cpu_count(), "OMP_NUM_THREADS": asked}


@dataclass
class Section:
    """The figures of one section.

    Attributes:
        title, text: the heading, and what was done, for a reader.
        setting: every number that decides the work.
        ratio: what the ratio of a row is of, for the head of its column.
        rows: see `add`. targets: see `at_most`. notes: what a reader has to know besides.
    """

    title: str
    text: str
    setting: dict[str, Any]
    ratio: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, measures: dict[str, Spread], ratio: float | None = None, **at: Any) -> None:
        """Add the figures of a candidate, unit -> spread, at a point such as timesteps=4."""
        rounded = None if ratio is None else round(ratio, 4)
        self.rows.append({"name": name, "at": at, "measures": measures, "ratio": rounded})

    def median(self, name: str, unit: str, **at: Any) -> float | None:
        """Return a median that was added before; None if the candidate did not take part."""
        for row in self.rows:
            if row["name"] == name and row["at"] == at and unit in row["measures"]:
                return float(row["measures"][unit]["median"])
        return None

    def at_most(self, what: str, measured: float | None, bound: float, unit: str = "") -> None:
        """Add a target that is met if `measured` is at most `bound`."""
        self._target(what, measured, bound, unit, "at most")

    def at_least(self, what: str, measured: float | None, bound: float, unit: str = "", *, judged: bool = True) -> None:
        """Add a target that is met if `measured` is at least `bound`; without `judged` there is no verdict."""
        self._target(what, measured, bound, unit, "at least", judged)

    def _target(
        self, what: str, measured: float | None, bound: float, unit: str, kind: str, judged: bool = True
    ) -> None:
        met = None
        if measured is not None and judged:
            met = measured <= bound if kind == "at most" else measured >= bound
        shown = None if measured is None else float(f"{measured:.4g}")
        self.targets.append({"what": what, "kind": kind, "bound": bound, "unit": unit, "measured": shown, "met": met})

    def leave_out(self, *peers: str) -> None:
        """Add a note for each of `peers` that is not installed."""
        self.notes += [f"{PEERS[peer]} is not installed and took no part." for peer in peers if not versions()[peer]]


def over(one: float | None, other: float | None) -> float | None:
    """Return one / other, or None if either was not measured."""
    return None if one is None or other is None else one / other
