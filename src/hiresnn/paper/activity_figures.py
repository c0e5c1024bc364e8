"""Figures 1b, 3 and 10a: spikes of each layer (Definition 1), and how many timesteps each input coding needs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import Any

from hiresnn.paper.accuracy_page import Values
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.labels import VGG5, VGG11, network_label, network_labels, setting_notes, text
from hiresnn.paper.measurements import Measurement, Run
from hiresnn.paper.page import Cell, Page, Table, beside_paper, compared, judged
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat

VGGS = (VGG5, VGG11)
"""The networks that the paper compares with rate coding."""
CODINGS = {"direct": "traditional", "rate": "rate"}
"""Input coding -> the method that trains such a network."""
EARLY = 2
"""Number of spiking layers that count as the initial convolutions."""
GRID = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200)
"""Timesteps after which networks are stopped in Fig. 10a."""
WITHIN = 1.0
"""Percentage points below an accuracy that count as having reached it."""

Pair = dict[str, list["Layer"]]
"""Coding -> layers."""
TimeCurve = dict[int, SeedStat]
"""Timesteps -> clean accuracy in percent."""


@dataclass(frozen=True)
class Layer:
    """A layer of neurons: its name, their number, T, and their spikes per image over all T steps."""

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
    """All neurons of a network as one layer."""
    seeds = zip(*(layer.spikes.values for layer in layers), strict=True)
    neurons = sum(layer.neurons for layer in layers)
    return Layer("total", neurons, layers[0].timesteps, SeedStat.of(map(sum, seeds)))


def fig1b_needs(scale: Scale) -> list[Measurement]:
    """The activity of VGG11 in both codings."""
    return [_activity(network, coding) for network in scale.present([VGG11]) for coding in CODINGS]


def fig1b(values: Values) -> Page:
    """Spikes of each layer of VGG11 over all T steps."""
    layers = _layers(values, VGG11)
    columns = ["layer", "neurons", "spikes, direct", "SA, direct", "spikes, rate-coded", "SA, rate-coded"]
    rows: list[list[Cell]] = [
        [direct.name, f"{direct.neurons}", direct.spikes, direct.sa, rate.spikes, rate.sa]
        for direct, rate in _with_total(layers)
    ]

    def figure(charts: Any) -> Any:
        drawn, (axes,) = charts.figure(width=charts.HALF_WIDTH * 1.3, height=2.6)
        for coding, found in layers.items():
            charts.line(axes, range(len(found)), [layer.sa for layer in found], charts.STYLES[coding])
        if any(layer.spikes.mean for found in layers.values() for layer in found):
            charts.logarithmic(axes, "y")
        names = [layer.name for layer in layers["direct"]]
        axes.set_xticks(range(len(names)), names, rotation=45)
        charts.label(axes, x="layer", y="spikes per neuron over T steps (SA)")
        charts.outside(drawn, columns=2)
        return drawn

    notes = [*setting_notes(values.scale, (VGG11,), "rate"), text("not_printed"), _spikes_note(VGG11, layers)]
    caption = text("fig1b.caption", network=network_label(VGG11))
    return Page([Table(caption, columns, rows)], figure, notes, (VGG11,))


def fig3_needs(scale: Scale) -> list[Measurement]:
    """The activity of both networks in both codings."""
    return [_activity(network, coding) for network in scale.present(VGGS) for coding in CODINGS]


def fig3(values: Values) -> Page:
    """TASA of each layer of VGG5 and VGG11."""
    networks = values.scale.present(VGGS)
    found = {network: _layers(values, network) for network in networks}
    columns = ["model", "data set", "layer", "neurons", "TASA, direct", "TASA, rate-coded", "SA, direct"]
    rows: list[list[Cell]] = [
        [*network_labels(network), direct.name, f"{direct.neurons}", direct.tasa, rate.tasa, direct.sa, rate.sa]
        for network, layers in found.items()
        for direct, rate in _with_total(layers)
    ]

    def figure(charts: Any) -> Any:
        widths = [3 + len(layers["direct"]) for layers in found.values()]  # a panel is as wide as its network is deep
        drawn, panels = charts.figure(1, len(networks), width=charts.FULL_WIDTH, height=2.5, widths=widths)
        for axes, (network, layers) in zip(panels, found.items(), strict=True):
            series = [(charts.STYLES[coding], [layer.tasa for layer in each]) for coding, each in layers.items()]
            charts.bars(axes, [layer.name for layer in layers["direct"]], series)
            axes.tick_params(axis="x", labelrotation=45)
            title = f"({'ab'[VGGS.index(network)]}) {network_label(network)}"
            charts.label(axes, x="layer", y="spikes per neuron and step (TASA)", title=title)
        charts.outside(drawn, columns=2)
        return drawn

    notes = [*setting_notes(values.scale, networks, "rate"), text("not_printed")]
    for network, layers in found.items():
        notes += [_spikes_note(network, layers), *_rate_notes(network, layers)]
    return Page([Table(text("fig3.caption"), [*columns, "SA, rate-coded"], rows)], figure, notes, networks)


def fig10a_needs(scale: Scale) -> list[Measurement]:
    """Accuracy over time in both codings."""
    return [_stopped(scale, network, coding) for network in scale.present(VGGS) for coding in CODINGS]


def fig10a(values: Values) -> Page:
    """The T that each network was trained with, and its accuracy in percent when it is stopped earlier."""
    networks = values.scale.present(VGGS)
    curves = {network: {coding: _time_curve(values, network, coding) for coding in ("rate", "direct")}
              for network in networks}  # fmt: skip
    limit = printed("fig10a", "latency_gain_max") or 0.0
    rows: list[list[Cell]] = []
    notes = setting_notes(values.scale, networks, "rate")
    for network, found in curves.items():
        rows += _latency_rows(network, found, limit)
        gain = max(found["rate"]) / max(found["direct"])
        words = text("fig10a.found", gain=gain)
        notes.append(judged(text("fig10a.claim", limit=limit), gain > 1, words, of=network_label(network)))
    columns = ["model", "data set", "T", "rate-coded", *beside_paper("direct-coded", "rate over direct")]
    table = Table(text("fig10a.caption", within=WITHIN), columns, rows)
    return Page([table], lambda charts: _fig10a(charts, curves), notes, networks)


def _activity(network: str, coding: str) -> Measurement:
    return Measurement("activity", network, CODINGS[coding])


def _layers(values: Values, network: str) -> Pair:
    layers = {}
    for coding in CODINGS:
        seeds = values.all(_activity(network, coding))
        layers[coding] = [
            Layer(name, int(neurons), int(steps), SeedStat.of(found[name][2] for found in seeds))
            for name, (neurons, steps, _) in seeds[0].items()
        ]
    return layers


def _with_total(layers: Pair) -> list[tuple[Layer, Layer]]:
    """Each layer in both codings, and all layers together at the end."""
    return [*zip(layers["direct"], layers["rate"], strict=True), (total(layers["direct"]), total(layers["rate"]))]


def _spikes_note(network: str, layers: Pair) -> str:
    """The first half of Observation 1, on all neurons together."""
    direct, rate = (total(found).sa.mean for found in layers.values())
    found = f"SA {direct:.3g} direct, {rate:.3g} rate-coded, all layers together"
    return judged(text("fig3.lower"), direct < rate, found, of=network_label(network))


def _rate_notes(network: str, layers: Pair) -> list[str]:
    """The second half of Observation 1: all layers, and the first two, each layer with equal weight."""
    notes = []
    for words, count in (("all layers", None), (f"the first {EARLY} layers", EARLY)):
        direct, rate = (mean(layer.tasa.mean for layer in found[:count]) for found in layers.values())
        numbers = f"mean TASA {direct:.3g} direct, {rate:.3g} rate-coded"
        notes.append(judged(text("fig3.higher"), direct > rate, numbers, of=f"{network_label(network)}, {words}"))
    return notes


def _stopped(scale: Scale, network: str, coding: str) -> Measurement:
    """Accuracy up to the T that the network was trained with."""
    last = scale.recipe(Run(network, CODINGS[coding], 0)).snn.timesteps
    return Measurement("by-time", network, CODINGS[coding], grid=(*(steps for steps in GRID if steps < last), last))


def _time_curve(values: Values, network: str, coding: str) -> TimeCurve:
    measurement = _stopped(values.scale, network, coding)
    seeds = zip(*values.all(measurement), strict=True)
    return {int(steps): SeedStat.of(each) for steps, each in zip(measurement.grid, seeds, strict=True)}


def _paper_steps(network: str) -> float:
    return float(claims().setting.timesteps[network.partition("-")[0]])


def _latency_rows(network: str, curves: dict[str, TimeCurve], limit: float) -> list[list[Cell]]:
    """What was chosen, what each network needs for its own accuracy, what both need for the direct-coded one's."""
    labels, rate, direct = network_labels(network), curves["rate"], curves["direct"]
    gain = compared(limit if network == VGG11 else None, max(rate) / max(direct))
    steps = compared(_paper_steps(network), float(max(direct)))
    rows: list[list[Cell]] = [[*labels, "trained with", float(max(rate)), *steps, *gain]]
    for what, target in (("needed, own accuracy", rate), ("needed, accuracy of direct-coded", direct)):
        slow, fast = _needed(rate, target), _needed(direct, direct)
        times = None if slow is None or fast is None else slow.mean / fast.mean
        rows.append([*labels, what, slow or "not reached", *compared(None, fast), *compared(None, times)])
    return rows


def _needed(curve: TimeCurve, target: TimeCurve) -> SeedStat | None:
    """The fewest steps from which on each seed stays within WITHIN of the target's final accuracy; None for never."""
    steps, wanted = list(curve), list(target.values())[-1].values
    fewest = []
    for values, final in zip(zip(*(stat.values for stat in curve.values()), strict=True), wanted, strict=False):
        short = [count for count, value in zip(steps, values, strict=True) if value < final - WITHIN]
        if short and short[-1] == steps[-1]:
            return None
        fewest.append(next(count for count in steps if not short or count > short[-1]))
    return SeedStat.of(fewest)


def _fig10a(charts: Any, curves: dict[str, dict[str, TimeCurve]]) -> Any:
    networks, codings = list(curves), ("rate", "direct")
    drawn, panels = charts.figure(1, 1 + len(networks), width=charts.FULL_WIDTH, height=2.5)
    trained = {coding: [float(max(curves[name][coding])) for name in networks] for coding in codings}
    steps = zip(networks, trained["rate"], trained["direct"], strict=True)
    groups = [f"{network_labels(name)[0]}\n{rate:g} and {direct:g}" for name, rate, direct in steps]
    series = [(charts.STYLES[coding], [SeedStat.of([each]) for each in trained[coding]]) for coding in codings]
    paper = [[None] * len(networks), [_paper_steps(name) for name in networks]]
    charts.bars(panels[0], groups, series, paper=paper)
    charts.label(panels[0], x="network", y="timesteps T trained with", title="(a) latency")
    for axes, letter, network in zip(panels[1:], "bc", networks, strict=False):
        for coding, curve in curves[network].items():
            charts.line(axes, list(curve), list(curve.values()), charts.STYLES[coding])
        longest = max(curves[network]["rate"])
        charts.logarithmic(axes, "x", [steps for steps in (1, 2, 5, 10, 20, 50, 100, 200) if steps <= longest])
        axes.set_ylim(-2, 102)
        title = f"({letter}) {network_label(network)}"
        charts.label(axes, x="timesteps shown", y="clean accuracy (%)", title=title)
    charts.outside(drawn, columns=3)
    return drawn
