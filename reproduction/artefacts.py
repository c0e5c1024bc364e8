"""The tables and figures of the paper: what each needs to be measured, and how its page is made from the values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from reproduction import accuracy_tables as tables
from reproduction import activity_figures as activity
from reproduction import bar_figures as bars
from reproduction import checks, cost_figure, energy, thresholds
from reproduction import coding_figures as codings
from reproduction import distance_figures as distances
from reproduction import sweep_figures as sweeps
from reproduction.accuracy_page import AccuracyPage, MissingValueError, Values
from reproduction.activity_figures import VGGS
from reproduction.labels import VGG5, VGG11, text
from reproduction.measurements import Measurement
from reproduction.page import AGREES, DIFFERS, OPEN, UNCLEAR, Cell, Page, Table
from reproduction.scales import Scale

CLAIMS = "claims"


@dataclass(frozen=True)
class Artefact:
    """A table or figure.

    Attributes:
        title: one line, for its page and the index.
        needs: scale -> what must be measured; nothing where the scale has none of its networks.
        render: values -> page; pure. Raises MissingValueError where a value that the page cannot do without is missing.
        has_figure: whether matplotlib is needed.
        in_paper: whether `all` includes it.
    """

    title: str
    needs: Callable[[Scale], list[Measurement]]
    render: Callable[[Values], Page]
    has_figure: bool = False
    in_paper: bool = True


_figure = partial(Artefact, has_figure=True)
_vgg5 = partial(Scale.present, networks=[VGG5])
_vgg11 = partial(Scale.present, networks=[VGG11])


def _accuracies(
    title: str, declare: Callable[[Scale], AccuracyPage], networks: Callable[[Scale], tuple[str, ...]] | None = None
) -> Artefact:
    """A page of accuracies; a figure says which networks of the scale it can draw."""

    def needs(scale: Scale) -> list[Measurement]:
        return [] if networks is not None and not networks(scale) else declare(scale).needs()

    def render(values: Values) -> Page:
        return declare(values.scale).render(values)

    return Artefact(title, needs, render, has_figure=networks is not None)


ARTEFACTS: dict[str, Artefact] = {
    "table1": _accuracies("ANN, rate-coded SNN and low-latency SNN under attack", tables.table1),
    "table2": _accuracies("HIRE-SNN under white-box attacks", tables.table2),
    "table3": _accuracies("HIRE-SNN under black-box attacks", tables.table3),
    "table4": Artefact("Five checks for obfuscated gradients", checks.table4_needs, checks.table4),
    "table5": _accuracies("Threshold and leak frozen", tables.table5),
    "table6": Artefact("Operations of a layer", energy.table6_needs, energy.table6),
    "table7": Artefact("Energy of an operation and of an image", energy.totals_needs, energy.table7),
    "rate": _accuracies("HIRE-SNN against the rate-coded SNN", tables.against_rate),
    "fig1a": _figure("An image as direct and as rate-coded input", codings.fig1a_needs, codings.fig1a),
    "fig1b": _figure("Spikes of each layer", partial(activity.needs, [VGG11]), activity.fig1b),
    "fig1c": _accuracies("VGG11: SNN and ANN under attack", bars.fig1c, _vgg11),
    "fig3": _figure("Time-averaged spiking activity of each layer", partial(activity.needs, VGGS), activity.fig3),
    "fig4": _accuracies("Accuracy over timesteps T", sweeps.fig4, _vgg11),
    "fig5a": _figure("Distance behind a LIF layer over its leak", distances.fig5a_needs, distances.fig5a),
    "fig5b": _figure("Spike distance layer by layer", distances.fig5b_needs, distances.fig5b),
    "fig7": _figure("Memory and time of training", cost_figure.fig7_needs, cost_figure.fig7),
    "fig8a": _accuracies("Accuracy over the bound of the attack", sweeps.fig8a, _vgg5),
    "fig8b": _accuracies("Accuracy over the iterations of the attack", sweeps.fig8b, _vgg5),
    "fig9": _accuracies("Gaussian and crafted noise", bars.fig9, sweeps.swept_networks),
    "fig10a": _figure("Timesteps of rate-coded and direct input", codings.fig10a_needs, codings.fig10a),
    "fig10b-e": _accuracies("Accuracy over the noise step", sweeps.fig10be, sweeps.swept_networks),
    "fig11a": _figure("Energy of an image, FP32", energy.totals_needs, partial(energy.fig11, price="fp32")),
    "fig11b": _figure("Energy of an image, INT32", energy.totals_needs, partial(energy.fig11, price="int32")),
    "bounds": replace(_accuracies("Accuracy at every bound in every box", tables.bounds), in_paper=False),
    "thresholds": Artefact("Threshold scales on held-out images", thresholds.needs, thresholds.page, in_paper=False),
}
"""Name -> artefact: the paper's tables, then its figures, then pages that the paper does not have."""


def every(scale: Scale) -> list[str]:
    """What `all` means at a scale, in the paper's order."""
    listed = scale.artefacts or [name for name, artefact in ARTEFACTS.items() if artefact.in_paper]
    return [name for name in ARTEFACTS if name in listed]


def claims_needs(scale: Scale) -> list[Measurement]:
    """What all other pages of the scale need."""
    return [each for name in every(scale) if name != CLAIMS for each in ARTEFACTS[name].needs(scale)]


def claims_page(values: Values) -> Page:
    """Every claim of abstract, text and conclusion, collected from the pages that judge it."""
    rows: list[list[Cell]] = []
    missing: list[str] = []
    networks: list[str] = []
    for name in every(values.scale):
        if name == CLAIMS or not ARTEFACTS[name].needs(values.scale):
            continue
        try:
            page = ARTEFACTS[name].render(values)
        except MissingValueError:
            missing.append(name)
            continue
        networks += page.networks
        for claim in page.claims:
            said = f"{claim.text} ({claim.of})" if claim.of else claim.text
            rows.append([claim.where, said, name, claim.paper, claim.ours, claim.verdict, claim.found])
    rows = sorted((row for row in rows if row[0]), key=lambda row: not str(row[0]).startswith("abstract"))
    counted = Counter(str(row[5]) for row in rows)
    counts = ", ".join(f"{counted[verdict]} {verdict}" for verdict in (AGREES, DIFFERS, UNCLEAR, OPEN))
    notes = [text("claims.verdicts"), f"Of {len(rows)} claims: {counts}."]
    notes += [f"Not measured at this scale: {', '.join(missing)}."] if missing else []
    columns = ["where", "claim", "page", "paper", "ours", "verdict", "numbers"]
    return Page([Table(text("claims.caption"), columns, rows)], notes=notes, networks=tuple(dict.fromkeys(networks)))


ARTEFACTS[CLAIMS] = Artefact("The claims of the paper", claims_needs, claims_page)
