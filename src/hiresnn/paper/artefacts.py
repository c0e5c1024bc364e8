"""The tables and figures of the paper: what each needs to be measured, and how its page is made from the values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hiresnn.paper import accuracy_figures, accuracy_tables, activity_figures, cost_figure, energy, table4
from hiresnn.paper import distance_figures as distances
from hiresnn.paper.accuracy_page import AccuracyPage, Values
from hiresnn.paper.measurements import Measurement
from hiresnn.paper.page import Page
from hiresnn.paper.scales import Scale


@dataclass(frozen=True)
class Artefact:
    """A table or figure.

    Attributes:
        title: one line, for its page and the index.
        needs: scale -> what must be measured; nothing where the scale has none of its networks.
        render: values -> page; pure.
        has_figure: whether matplotlib is needed.
        partial: whether a page can be made while values are missing: it shows accuracies, and n/a for the others.
    """

    title: str
    needs: Callable[[Scale], list[Measurement]]
    render: Callable[[Values], Page]
    has_figure: bool = False
    partial: bool = False


def _accuracies(
    title: str, declare: Callable[[Scale], AccuracyPage], networks: Callable[[Scale], tuple[str, ...]] | None = None
) -> Artefact:
    """A page of accuracies; a figure says which networks of the scale it can draw."""

    def needs(scale: Scale) -> list[Measurement]:
        return [] if networks is not None and not networks(scale) else declare(scale).needs()

    def render(values: Values) -> Page:
        return declare(values.scale).render(values)

    return Artefact(title, needs, render, has_figure=networks is not None, partial=True)


def _only(*names: str) -> Callable[[Scale], tuple[str, ...]]:
    return lambda scale: tuple(name for name in names if name in scale.networks)


VGG5, VGG11 = _only("vgg5-cifar10"), _only("vgg11-cifar100")

ARTEFACTS: dict[str, Artefact] = {
    "table1": _accuracies("ANN, rate-coded SNN and low-latency SNN under attack", accuracy_tables.table1),
    "table2": _accuracies("HIRE-SNN under white-box attacks", accuracy_tables.table2),
    "table3": _accuracies("HIRE-SNN under black-box attacks", accuracy_tables.table3),
    "table4": Artefact("Five checks for obfuscated gradients", table4.table4_needs, table4.table4),
    "table5": _accuracies("Threshold and leak frozen", accuracy_tables.table5),
    "table6": Artefact("Operations of a layer", energy.table6_needs, energy.table6),
    "table7": Artefact("Energy of an operation and of an image", energy.totals_needs, energy.table7),
    "fig1b": Artefact(
        "Spikes of each layer",
        lambda scale: activity_figures.activity_needs(VGG11(scale)),
        activity_figures.fig1b,
        has_figure=True,
    ),
    "fig1c": _accuracies("VGG11: SNN and ANN under attack", accuracy_figures.fig1c, VGG11),
    "fig3": Artefact(
        "Time-averaged spiking activity of each layer",
        lambda scale: activity_figures.activity_needs(activity_figures.vggs(scale)),
        activity_figures.fig3,
        has_figure=True,
    ),
    "fig4": _accuracies("Accuracy over timesteps T", accuracy_figures.fig4, VGG11),
    "fig5a": Artefact(
        "Perturbation distance behind a LIF layer over its leak",
        lambda scale: [distances.LAYER],
        distances.fig5a,
        has_figure=True,
    ),
    "fig5b": Artefact(
        "Spike distance layer by layer",
        lambda scale: [distances.NETWORKS] if VGG5(scale) else [],
        distances.fig5b,
        has_figure=True,
    ),
    "fig7": Artefact("Memory and time of training", cost_figure.fig7_needs, cost_figure.fig7, has_figure=True),
    "fig8a": _accuracies("Accuracy over the bound of the attack", accuracy_figures.fig8a, VGG5),
    "fig8b": _accuracies("Accuracy over the iterations of the attack", accuracy_figures.fig8b, VGG5),
    "fig9": _accuracies("Gaussian and crafted noise", accuracy_figures.fig9, accuracy_figures.swept_networks),
    "fig10a": Artefact(
        "Latency of rate-coded and direct input",
        activity_figures.fig10a_needs,
        activity_figures.fig10a,
        has_figure=True,
    ),
    "fig10b-e": _accuracies("Accuracy over the noise step", accuracy_figures.fig10be, accuracy_figures.swept_networks),
    "fig11a": Artefact(
        "Energy of an image, FP32",
        energy.totals_needs,
        lambda values: energy.fig11(values, "fig11a", "fp32"),
        has_figure=True,
    ),
    "fig11b": Artefact(
        "Energy of an image, INT32",
        energy.totals_needs,
        lambda values: energy.fig11(values, "fig11b", "int32"),
        has_figure=True,
    ),
}
"""Name -> artefact, in the paper's order: tables, then figures."""
