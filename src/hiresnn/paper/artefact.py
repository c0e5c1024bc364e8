"""A table or a figure of the paper: what it holds, the registry of all, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study

Cell = str | float | Stat | None
"""A text, a number, a figure over seeds, or what there is not."""


@dataclass
class Table:
    """Rows under columns.

    Attributes:
        caption: one line on what it shows, with the unit.
        columns: headings; a measured column has the paper's beside it, then the difference (see `compared`).
        rows: cells, as many as columns.
    """

    caption: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass
class Artefact:
    """A reproduced table or figure.

    Attributes:
        name: such as "table1"; files are named after it.
        title: one line.
        tables: all numbers, also those of a figure.
        figure: None, or a function of the module `hiresnn.charts.print` that returns a matplotlib Figure. It is
            called when files are written, so that tables need no matplotlib.
        notes: sentences on what was measured, on deviations, and on every direction in which ours and the paper's
            disagree, computed.
    """

    name: str
    title: str
    tables: list[Table]
    figure: Callable[[Any], Any] | None = None
    notes: list[str] = field(default_factory=list)


Maker = Callable[[Study], Artefact]


@dataclass(frozen=True)
class Entry:
    """A row of the registry: callable as study -> Artefact; the module is imported when it is called.

    Attributes:
        title: one line for the list.
        module: below `hiresnn.paper`; function: in it.
        drawn: whether it has a figure, so needs matplotlib.
        partly: whether it can be written with some figures missing: it shows accuracies, and judges none that it lacks.
    """

    title: str
    module: str
    function: str
    drawn: bool = False
    partly: bool = False

    def __call__(self, study: Study) -> Artefact:
        """Measure what is missing and put it together."""
        maker: Maker = getattr(import_module(f"hiresnn.paper.{self.module}"), self.function)
        return maker(study)


ARTEFACTS: dict[str, Entry] = {
    "table1": Entry("ANN, rate-coded SNN and low-latency SNN under attack", "table1", "table1", partly=True),
    "table2": Entry("HIRE-SNN under white-box attacks", "table2", "table2", partly=True),
    "table3": Entry("HIRE-SNN under black-box attacks", "table3", "table3", partly=True),
    "table4": Entry("Five checks for obfuscated gradients", "table4", "table4"),
    "table5": Entry("Threshold and leak frozen", "table5", "table5", partly=True),
    "table6": Entry("Operations of a layer", "energy", "table6"),
    "table7": Entry("Energy of an operation", "energy", "table7"),
    "fig1b": Entry("Spikes of each layer", "fig1b_fig3", "fig1b", drawn=True),
    "fig1c": Entry("VGG11: SNN and ANN under attack", "fig1c", "fig1c", drawn=True, partly=True),
    "fig3": Entry("Time-averaged spiking activity of each layer", "fig1b_fig3", "fig3", drawn=True),
    "fig4": Entry("Accuracy over timesteps T", "fig4", "fig4", drawn=True, partly=True),
    "fig5a": Entry("Perturbation distance behind a LIF layer over its leak", "fig5", "fig5a", drawn=True),
    "fig5b": Entry("Spike distance layer by layer", "fig5", "fig5b", drawn=True),
    "fig7": Entry("Memory and time of training", "fig7", "fig7", drawn=True),
    "fig8a": Entry("Accuracy over the bound of the attack", "fig8", "fig8a", drawn=True, partly=True),
    "fig8b": Entry("Accuracy over the iterations of the attack", "fig8", "fig8b", drawn=True, partly=True),
    "fig9": Entry("Gaussian and crafted noise", "fig9", "fig9", drawn=True, partly=True),
    "fig10a": Entry("Latency of rate-coded and direct input", "fig10", "fig10a", drawn=True),
    "fig10b-e": Entry("Accuracy over the noise step", "fig10", "fig10be", drawn=True, partly=True),
    "fig11a": Entry("Energy of an image, FP32", "energy", "fig11a", drawn=True),
    "fig11b": Entry("Energy of an image, INT32", "energy", "fig11b", drawn=True),
}
"""Name -> what makes it, in the paper's order: tables, then figures."""


def beside_paper(*names: str) -> list[str]:
    """Headings of measured columns: the paper's value, ours and the difference, for each name."""
    return [f"{name}, {which}" for name in names for which in ("paper", "ours", "difference")]


def compared(paper: float | None, ours: Stat | float | None) -> list[Cell]:
    """The cells under `beside_paper`: the difference is ours minus the paper's, where there are both."""
    mean = ours.mean if isinstance(ours, Stat) else ours
    return [paper, ours, None if paper is None or mean is None else mean - paper]
