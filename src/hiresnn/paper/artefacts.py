"""The tables and figures of the paper: what each needs to be measured, and how its page is made from the values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hiresnn.paper import accuracy_figures as figures
from hiresnn.paper import accuracy_tables as tables
from hiresnn.paper import activity_figures as activity
from hiresnn.paper import checks, cost_figure, energy, noise_figures
from hiresnn.paper import distance_figures as distances
from hiresnn.paper.accuracy_page import AccuracyPage, Values
from hiresnn.paper.labels import VGG5, VGG11
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


def _figure(title: str, needs: Callable[[Scale], list[Measurement]], render: Callable[[Values], Page]) -> Artefact:
    return Artefact(title, needs, render, has_figure=True)


def _accuracies(
    title: str, declare: Callable[[Scale], AccuracyPage], networks: Callable[[Scale], tuple[str, ...]] | None = None
) -> Artefact:
    """A page of accuracies; a figure says which networks of the scale it can draw."""

    def needs(scale: Scale) -> list[Measurement]:
        return [] if networks is not None and not networks(scale) else declare(scale).needs()

    def render(values: Values) -> Page:
        return declare(values.scale).render(values)

    return Artefact(title, needs, render, has_figure=networks is not None, partial=True)


def _vgg5(scale: Scale) -> tuple[str, ...]:
    return scale.present([VGG5])


def _vgg11(scale: Scale) -> tuple[str, ...]:
    return scale.present([VGG11])


ARTEFACTS: dict[str, Artefact] = {
    "table1": _accuracies("ANN, rate-coded SNN and low-latency SNN under attack", tables.table1),
    "table2": _accuracies("HIRE-SNN under white-box attacks", tables.table2),
    "table3": _accuracies("HIRE-SNN under black-box attacks", tables.table3),
    "table4": Artefact("Five checks for obfuscated gradients", checks.table4_needs, checks.table4),
    "table5": _accuracies("Threshold and leak frozen", tables.table5),
    "table6": Artefact("Operations of a layer", energy.table6_needs, energy.table6),
    "table7": Artefact("Energy of an operation and of an image", energy.totals_needs, energy.table7),
    "fig1b": _figure("Spikes of each layer", activity.fig1b_needs, activity.fig1b),
    "fig1c": _accuracies("VGG11: SNN and ANN under attack", figures.fig1c, _vgg11),
    "fig3": _figure("Time-averaged spiking activity of each layer", activity.fig3_needs, activity.fig3),
    "fig4": _accuracies("Accuracy over timesteps T", figures.fig4, _vgg11),
    "fig5a": _figure(
        "Perturbation distance behind a LIF layer over its leak", lambda scale: [distances.LAYER], distances.fig5a
    ),
    "fig5b": _figure(
        "Spike distance layer by layer", lambda scale: [distances.NETWORKS] if _vgg5(scale) else [], distances.fig5b
    ),
    "fig7": _figure("Memory and time of training", cost_figure.fig7_needs, cost_figure.fig7),
    "fig8a": _accuracies("Accuracy over the bound of the attack", figures.fig8a, _vgg5),
    "fig8b": _accuracies("Accuracy over the iterations of the attack", figures.fig8b, _vgg5),
    "fig9": _accuracies("Gaussian and crafted noise", noise_figures.fig9, noise_figures.swept_networks),
    "fig10a": _figure("Latency of rate-coded and direct input", activity.fig10a_needs, activity.fig10a),
    "fig10b-e": _accuracies("Accuracy over the noise step", noise_figures.fig10be, noise_figures.swept_networks),
    "fig11a": _figure("Energy of an image, FP32", energy.totals_needs, energy.fig11a),
    "fig11b": _figure("Energy of an image, INT32", energy.totals_needs, energy.fig11b),
}
"""Name -> artefact, in the paper's order: tables, then figures."""
