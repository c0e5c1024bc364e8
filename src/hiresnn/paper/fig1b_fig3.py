"""Fig. 1b and 3: spikes of each layer (SA) and their average over time (TASA), direct-coded and rate-coded."""

from __future__ import annotations

from statistics import mean
from typing import Any

from hiresnn.paper.artefact import Artefact, Cell, Table
from hiresnn.paper.layers import Layer, activity, total
from hiresnn.paper.study import Study
from hiresnn.paper.sweep import judged
from hiresnn.paper.words import network_words, setting_notes

FIG1B = "vgg11-cifar100"
FIG3 = ("vgg5-cifar10", "vgg11-cifar100")
METHODS = {"direct": "traditional", "rate": "rate"}
EARLY = 2
"""Layers of neurons that count as the initial convolutions."""
NOT_PRINTED = "The paper draws this figure and prints none of its numbers, so the table has ours alone."

Pair = dict[str, list[Layer]]


def fig1b(study: Study) -> Artefact:
    """Spikes of each layer of VGG11 over all T steps."""
    layers = _measured(study, FIG1B)
    caption = f"{' on '.join(network_words(FIG1B))}: spikes of an image over all T steps, and spikes per neuron (SA)."
    columns = ["layer", "neurons", "spikes, direct", "SA, direct", "spikes, rate-coded", "SA, rate-coded"]
    rows: list[list[Cell]] = [
        [direct.name, f"{direct.neurons}", direct.spikes, direct.sa, rate.spikes, rate.sa]
        for direct, rate in _paired(layers)
    ]

    def figure(plotting: Any) -> Any:
        drawn, (axes,) = plotting.figure(width=plotting.HALF_WIDTH * 1.3, height=2.6)
        names = [layer.name for layer in layers["direct"]]
        for encoding, found in layers.items():
            plotting.line(axes, range(len(found)), [layer.sa for layer in found], plotting.STYLES[encoding])
        if any(layer.spikes.mean for found in layers.values() for layer in found):
            plotting.logarithmic(axes, "y")
        axes.set_xticks(range(len(names)), names, rotation=45)
        plotting.label(axes, x="layer", y="spikes per neuron over T steps (SA)")
        plotting.outside(drawn, columns=2)
        return drawn

    notes = [*setting_notes(study, (FIG1B,), "rate"), NOT_PRINTED, *_spikes_note(FIG1B, layers)]
    return Artefact("fig1b", "Spikes of each layer", [Table(caption, columns, rows)], figure, notes)


def fig3(study: Study) -> Artefact:
    """TASA of each layer of VGG5 and VGG11."""
    networks = [network for network in FIG3 if network in study.networks]
    measured = {network: _measured(study, network) for network in networks}
    caption = "Spikes per neuron and timestep (TASA), 0 to 1, mean ± sample standard deviation over seeds."
    columns = ["model", "data set", "layer", "neurons", "TASA, direct", "TASA, rate-coded", "SA, direct"]
    rows: list[list[Cell]] = [
        [*network_words(network), direct.name, f"{direct.neurons}", direct.tasa, rate.tasa, direct.sa, rate.sa]
        for network, layers in measured.items()
        for direct, rate in _paired(layers)
    ]
    tables = [Table(caption, [*columns, "SA, rate-coded"], rows)]

    def figure(plotting: Any) -> Any:
        # a panel is as wide as its network is deep
        widths = [3 + len(layers["direct"]) for layers in measured.values()]
        drawn, panels = plotting.figure(1, len(networks), width=plotting.FULL_WIDTH, height=2.5, widths=widths)
        for axes, (network, layers) in zip(panels, measured.items(), strict=True):
            _bars(plotting, axes, layers)
            title = f"({'ab'[FIG3.index(network)]}) {' on '.join(network_words(network))}"
            plotting.label(axes, x="layer", y="spikes per neuron and step (TASA)", title=title)
        plotting.outside(drawn, columns=2)
        return drawn

    notes = [*setting_notes(study, tuple(networks), "rate"), NOT_PRINTED]
    for network, layers in measured.items():
        notes += [*_spikes_note(network, layers), *_rate_note(network, layers)]
    return Artefact("fig3", "Time-averaged spiking activity of each layer", tables, figure, notes)


def _measured(study: Study, network: str) -> Pair:
    """The layers of both; none where one of them is not measured yet."""
    found = {encoding: activity(study, network, method) for encoding, method in METHODS.items()}
    return found if all(found.values()) else {encoding: [] for encoding in METHODS}


def _paired(layers: Pair) -> list[tuple[Layer, Layer]]:
    """Each layer, direct and rate-coded, and all together at the end."""
    pairs = list(zip(layers["direct"], layers["rate"], strict=True))
    return [*pairs, (total(layers["direct"]), total(layers["rate"]))] if pairs else []


def _bars(plotting: Any, axes: Any, layers: Pair) -> None:
    series = [(plotting.STYLES[key], [layer.tasa for layer in found]) for key, found in layers.items()]
    plotting.bars(axes, [layer.name for layer in layers["direct"]], series)
    axes.tick_params(axis="x", labelrotation=45)


def _spikes_note(network: str, layers: Pair) -> list[str]:
    """Observation 1, its first half, on all neurons together."""
    if not layers["direct"]:
        return []
    direct, rate = (total(found).sa.mean for found in layers.values())
    found = f"SA {direct:.3g} direct, {rate:.3g} rate-coded, all layers together"
    where = " on ".join(network_words(network))
    return [judged("direct input has a lower SA than rate coding", direct < rate, found, of=where)]


def _rate_note(network: str, layers: Pair) -> list[str]:
    """Observation 1, its second half: all layers, and the first two, each layer weighing the same."""
    if not layers["direct"]:
        return []
    notes = []
    for words, count in (("all layers", None), (f"the first {EARLY} layers", EARLY)):
        direct, rate = (mean(layer.tasa.mean for layer in found[:count]) for found in layers.values())
        found_words = f"mean TASA {direct:.3g} direct, {rate:.3g} rate-coded"
        where = f"{' on '.join(network_words(network))}, {words}"
        notes.append(judged("direct input has a higher TASA than rate coding", direct > rate, found_words, of=where))
    return notes
