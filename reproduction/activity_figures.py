"""Figures 1b and 3: spikes of each layer (Definition 1), direct and rate-coded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reproduction.accuracy_page import Values
from reproduction.claims import claims
from reproduction.labels import (
    VGG5,
    VGG11,
    images_label,
    network_label,
    network_labels,
    setting_notes,
    text,
    with_rate,
)
from reproduction.measurements import Measurement
from reproduction.page import OPEN, UNCLEAR, Cell, Claim, Page, Table, beside_paper, compared, verdict
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat

VGGS = (VGG5, VGG11)
"""The networks that the paper compares with rate coding."""
CODINGS = {"direct": "traditional", "rate": "rate"}
"""Input coding -> the method that trains such a network."""
EARLY = 2
"""Number of spiking layers that count as the initial convolutions."""
OBSERVATION = "sec. 3.1, Observation 1"

Codings = dict[str, list["Layer"]]
"""Coding -> layers."""


@dataclass(frozen=True)
class Layer:
    """A layer: its name, the number of its outputs, T, and its spikes per image over all T steps.

    A pooling layer has outputs instead of neurons, and a "spike" of it is a timestep at which an output is not zero.
    """

    name: str
    neurons: int
    timesteps: int
    spikes: SeedStat

    @property
    def sa(self) -> SeedStat:
        """Spiking activity: spikes / neurons, 0 to T."""
        return self.spikes.map(lambda spikes: spikes / self.neurons)

    @property
    def tasa(self) -> SeedStat:
        """Time-averaged spiking activity: SA / T, 0 to 1."""
        return self.sa.map(lambda sa: sa / self.timesteps)


def total(layers: list[Layer]) -> Layer:
    """All neurons of a network as one layer; pooling layers have none."""
    layers = _spiking(layers)
    seeds = zip(*(layer.spikes.values for layer in layers), strict=True)
    neurons = sum(layer.neurons for layer in layers)
    return Layer("total", neurons, layers[0].timesteps, SeedStat.of(map(sum, seeds), layers[0].spikes.origins))


def _spiking(layers: list[Layer]) -> list[Layer]:
    return [layer for layer in layers if not layer.name.startswith("pool")]


def rated(scale: Scale, *networks: str) -> tuple[str, ...]:
    """Those of some networks that the scale trains in both codings."""
    return tuple(name for name in scale.present(networks) if scale.is_rated(name))


def needs(networks: Iterable[str], scale: Scale) -> list[Measurement]:
    """The activity of some networks in both codings."""
    pairs = [(network, method) for network in rated(scale, *networks) for method in CODINGS.values()]
    return [Measurement(kind, network, method) for network, method in pairs for kind in ("activity", "pool-activity")]


def fig1b(values: Values) -> Page:
    """Spikes of each layer of VGG11 over all T steps, beside what the authors draw."""
    layers = _layers(values, VGG11)
    columns = ["layer", "neurons", "spikes, direct", "spikes, rate-coded"]
    columns += beside_paper("SA, direct", "SA, rate-coded")
    drawn_by_authors = {coding: dict(claims().fig1b[coding]) for coding in CODINGS}
    rows: list[list[Cell]] = []
    for direct, rate in _with_total(layers):
        theirs = [drawn_by_authors[coding].get(direct.name) for coding in CODINGS]
        activity = [*compared(theirs[0], direct.sa), *compared(theirs[1], rate.sa)]
        rows.append([direct.name, f"{direct.neurons}", direct.spikes, rate.spikes, *activity])

    def figure(charts: Any) -> Any:
        drawn, (axes,) = charts.figure(width=charts.FULL_WIDTH, height=2.8)
        names = [layer.name for layer in layers["direct"]]
        for coding, found in layers.items():
            charts.line(axes, range(len(found)), [layer.sa for layer in found], charts.STYLES[coding])
            theirs = [drawn_by_authors[coding].get(name) for name in names]
            steps = claims().fig1b.timesteps
            source = f"drawn by the authors (T = {steps.direct}, rate-coded T = {steps.rate})"
            charts.paper_points(axes, range(len(names)), theirs, charts.STYLES[coding], name=source)
        if any(layer.spikes.mean for found in layers.values() for layer in found):
            charts.logarithmic(axes, "y")
        axes.set_xticks(range(len(names)), names)
        charts.label(axes, x="layer", y="spikes per neuron (SA)")
        charts.outside(drawn, columns=3)
        return drawn

    notes = [*setting_notes(values.scale, (VGG11,), "rate"), text("fig1b.source"), *_pool_notes(layers)]
    table = Table(text("fig1b.caption", network=network_label(VGG11)), columns, rows)
    claim = replace(_lower_sa(VGG11, layers), where="")
    return Page([table], figure, notes, (VGG11,), [claim], _images(values.scale, [VGG11]))


def fig3(values: Values) -> Page:
    """TASA of each layer of VGG5 and VGG11."""
    networks = rated(values.scale, *VGGS)
    found = {network: _layers(values, network) for network in networks}
    columns = ["model", "data set", "layer", "neurons", "TASA, direct", "TASA, rate-coded", "SA, direct"]
    rows: list[list[Cell]] = [
        [*network_labels(network), direct.name, f"{direct.neurons}", direct.tasa, rate.tasa, direct.sa, rate.sa]
        for network, layers in found.items()
        for direct, rate in _with_total(layers)
    ]

    def figure(charts: Any) -> Any:
        widths = [3 + len(layers["direct"]) for layers in found.values()]  # a panel is as wide as its network is deep
        drawn, panels = charts.figure(1, len(networks), width=charts.FULL_WIDTH, height=2.7, widths=widths)
        for number, (axes, (network, layers)) in enumerate(zip(panels, found.items(), strict=True), start=1):
            series = [(charts.STYLES[coding], [layer.tasa for layer in each]) for coding, each in layers.items()]
            charts.bars(axes, [layer.name for layer in layers["direct"]], series)
            axes.tick_params(axis="x", labelrotation=45)
            y = "" if number > 1 else "TASA"
            charts.label(axes, x="layer", y=y, title=network_label(network), panel=number)
        charts.outside(drawn, columns=2)
        return drawn

    notes = [*setting_notes(values.scale, networks, "rate"), text("not_printed")]
    notes += dict.fromkeys(note for layers in found.values() for note in _pool_notes(layers))
    judged = [
        claim for network, layers in found.items() for claim in (_lower_sa(network, layers), *_tasa(network, layers))
    ]
    table = Table(text("fig3.caption"), [*columns, "SA, rate-coded"], rows)
    return Page([table], figure, notes, networks, judged, _images(values.scale, networks))


def _layers(values: Values, network: str) -> Codings:
    """The layers of neurons, and the pooling layers between them where they are measured in both codings."""
    layers, pools = {}, {}
    for coding, method in CODINGS.items():
        counted, pooling = (Measurement(kind, network, method) for kind in ("activity", "pool-activity"))
        layers[coding] = layers_of(values.all(counted), values.origins(counted))
        if pooled := values.find(pooling):
            places = [int(place) for *_, place in pooled[0].values()]
            pools[coding] = dict(zip(places, layers_of(pooled, values.origins(pooling)), strict=True))
    if len(pools) == len(CODINGS):
        for coding, found in pools.items():  # from the last, so that earlier places stay right
            for place in sorted(found, reverse=True):
                layers[coding].insert(place, found[place])
    return layers


def layers_of(seeds: list[Any], origins: Sequence[str] = ()) -> list[Layer]:
    """The layers of a measured activity, given for each seed; `origins` as in `SeedStat`."""
    return [
        Layer(name, int(neurons), int(steps), SeedStat.of((found[name][2] for found in seeds), origins))
        for name, (neurons, steps, *_) in seeds[0].items()
    ]


def _with_total(layers: Codings) -> list[tuple[Layer, Layer]]:
    """Each layer in both codings, and all layers together at the end."""
    return [*zip(layers["direct"], layers["rate"], strict=True), (total(layers["direct"]), total(layers["rate"]))]


def _pool_notes(layers: Codings) -> list[str]:
    has = any(layer.name.startswith("pool") for layer in layers["direct"])
    return [text("fig3.pools" if has else "fig3.no_pools")]


def _lower_sa(network: str, layers: Codings) -> Claim:
    """The first half of Observation 1, on all neurons together."""
    direct, rate = (total(found).sa for found in layers.values())
    holds = direct.mean < rate.mean if direct.minus(rate).known else None
    found = f"SA {direct.mean:.3g} direct, {rate.mean:.3g} rate-coded, all layers together"
    words = _with_seeds(found, direct, rate)
    return Claim(text("fig3.lower"), verdict(holds), words, network_label(network), OBSERVATION)


def _tasa(network: str, layers: Codings) -> list[Claim]:
    """The second half of Observation 1: all layers, and the first two, each layer with equal weight."""
    found = []
    for words, count in (("all layers", None), (f"the first {EARLY} layers", EARLY)):
        direct, rate = (_mean_tasa(_spiking(each)[:count]) for each in layers.values())
        other = rate if rate.seeds > 1 else SeedStat.of([rate.mean] * len(direct.values))  # one network stands for all
        low, high = direct.minus(other).limits
        result = UNCLEAR if low <= 0 <= high else verdict(low > 0)
        result = result if direct.minus(rate).known else OPEN
        numbers = f"mean TASA {direct.mean:.3g} direct, {rate.mean:.3g} rate-coded"
        numbers = _with_seeds(numbers, direct, rate)
        found.append(Claim(text("fig3.higher"), result, numbers, f"{network_label(network)}, {words}", OBSERVATION))
    return found


def _mean_tasa(layers: list[Layer]) -> SeedStat:
    """The mean over layers, seed by seed."""
    seeds = zip(*(layer.tasa.values for layer in layers), strict=True)
    return SeedStat.of((sum(each) / len(each) for each in seeds), layers[0].spikes.origins)


def _images(scale: Scale, networks: Iterable[str]) -> str:
    return with_rate(scale, networks, images_label(scale.analysed))


def _with_seeds(found: str, direct: SeedStat, rate: SeedStat) -> str:
    """Numbers of both codings, with how many seeds decide, or why nothing does."""
    if not direct.minus(rate).known:
        return text("not_compared", found=found)
    return f"{found} (seeds: {direct.seeds} and {rate.seeds})"
