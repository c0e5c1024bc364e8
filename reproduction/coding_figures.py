"""Figures 1a and 10a: an image in both input codings, and the timesteps that each coding needs."""

from __future__ import annotations

from typing import Any

from reproduction.accuracy_page import Values
from reproduction.activity_figures import CODINGS, VGGS, rated
from reproduction.claims import claims
from reproduction.labels import VGG11, images_label, network_label, network_labels, setting_notes, text, with_rate
from reproduction.measurements import Measurement, Run
from reproduction.page import Cell, Claim, Page, Table, beside_paper, compared, verdict
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat

GRID = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200)
"""Timesteps after which networks are stopped in Fig. 10a."""
AVERAGED = (1, 8, 25, 150)
"""Numbers of rate-coded timesteps that Fig. 1a averages: one, T of direct input, T at scale cpu, T of the paper."""
CODED = Measurement("input-codings", VGG11, "rate", 0, grid=AVERAGED)
"""What Fig. 1a needs."""
WITHIN = 1.0
"""Percentage points below an accuracy that count as having reached it."""

TimeCurve = dict[int, SeedStat]
"""Timesteps -> clean accuracy in percent."""


def fig1a_needs(scale: Scale) -> list[Measurement]:
    """An image of CIFAR-100 in both codings."""
    return [CODED] if scale.present([VGG11]) else []


def fig1a(values: Values) -> Page:
    """One test image as direct input, and as rate-coded input averaged over some timesteps."""
    (found,) = values.all(CODED)
    shown = {"direct input": found["direct"]}
    shown |= {f"rate-coded, {'one step' if steps == 1 else f'mean of {steps} steps'}": image
              for steps, image in zip(AVERAGED, found["rate"], strict=True)}  # fmt: skip
    rows: list[list[Cell]] = [
        [f"{steps}", error, share]
        for steps, error, share in zip(AVERAGED, found["errors"], found["silent"], strict=True)
    ]

    def figure(charts: Any) -> Any:
        drawn, panels = charts.figure(1, len(shown), width=charts.FULL_WIDTH, height=1.9)
        for number, (axes, (title, pixels)) in enumerate(zip(panels, shown.items(), strict=True), start=1):
            charts.image(axes, pixels, title=title.replace(", ", ",\n"), panel=number)
        return drawn

    notes = [text("fig1a.coding"), text("fig1a.shown"), text("not_printed")]
    table = Table(text("fig1a.caption"), ["timesteps", "error (root mean square)", "pixels without a spike, %"], rows)
    return Page([table], figure, notes, (VGG11,), images="one test image")


def fig10a_needs(scale: Scale) -> list[Measurement]:
    """Accuracy over time in both codings."""
    return [_stopped(scale, network, coding) for network in rated(scale, *VGGS) for coding in CODINGS]


def fig10a(values: Values) -> Page:
    """How many timesteps each network needs, and its accuracy in percent when it is stopped earlier."""
    networks = rated(values.scale, *VGGS)
    curves = {network: {coding: _time_curve(values, network, coding) for coding in ("rate", "direct")}
              for network in networks}  # fmt: skip
    limit = claims().fig10a.latency_gain_max
    rows: list[list[Cell]] = []
    judged = []
    for network, found in curves.items():
        rows += _latency_rows(network, found)
        judged.append(_fewer_steps(network, found, limit))
    grid = sorted({steps for found in curves.values() for curve in found.values() for steps in curve})
    columns = ["model", "data set", "T", "rate-coded", *beside_paper("direct-coded"), "rate over direct"]
    table = Table(text("fig10a.caption", within=WITHIN, grid=", ".join(map(str, grid))), columns, rows)
    notes = [*setting_notes(values.scale, networks, "rate"), text("fig10a.trained")]
    images = with_rate(values.scale, networks, images_label(values.scale.analysed))
    return Page([table], lambda charts: _fig10a(charts, curves), notes, networks, judged, images)


def _stopped(scale: Scale, network: str, coding: str) -> Measurement:
    """Accuracy up to the T that the network was trained with."""
    last = scale.recipe(Run(network, CODINGS[coding], 0)).snn.timesteps
    return Measurement("by-time", network, CODINGS[coding], grid=(*(steps for steps in GRID if steps < last), last))


def _time_curve(values: Values, network: str, coding: str) -> TimeCurve:
    measurement = _stopped(values.scale, network, coding)
    seeds, origins = zip(*values.all(measurement), strict=True), values.origins(measurement)
    return {int(steps): SeedStat.of(each, origins) for steps, each in zip(measurement.grid, seeds, strict=True)}


def _paper_steps(network: str) -> float:
    return float(claims().setting.timesteps[network.partition("-")[0]])


def _fewer_steps(network: str, curves: dict[str, TimeCurve], limit: float) -> Claim:
    """The claim on latency, judged by the steps that each network needs for its own accuracy."""
    rate, direct = (needed(curves[coding], curves[coding]) for coding in ("rate", "direct"))
    holds, ours, found = None, None, "a network does not keep its own accuracy"
    if rate is not None and direct is not None:
        times = rate.over(direct)
        found = f"it needs {direct.mean:.3g} steps, rate coding {rate.mean:.3g}"
        if times.known:
            holds, ours = times.mean > 1, times.mean
            found += f": {ours:.1f} times fewer"
        else:
            found = text("not_compared", found=found)
    paper = limit if network == VGG11 else None
    claim, where = text("fig10a.claim", limit=limit), "abstract, sec. 5.3, 6"
    return Claim(claim, verdict(holds), found, network_label(network), where, paper, ours)


def _latency_rows(network: str, curves: dict[str, TimeCurve]) -> list[list[Cell]]:
    """What was chosen, what each network needs for its own accuracy, what both need for the direct-coded one's."""
    labels, rate, direct = network_labels(network), curves["rate"], curves["direct"]
    steps = compared(_paper_steps(network), float(max(direct)))
    rows: list[list[Cell]] = [[*labels, "trained with", float(max(rate)), *steps, max(rate) / max(direct)]]
    for what, target in (("needed, own accuracy", rate), ("needed, accuracy of direct-coded", direct)):
        slow, fast = needed(rate, target), needed(direct, direct)
        times = None if slow is None or fast is None else slow.over(fast)
        rows.append([*labels, what, slow or "not reached", *compared(None, fast), times])
    return rows


def needed(curve: TimeCurve, target: TimeCurve) -> SeedStat | None:
    """The fewest steps from which on each seed stays within WITHIN of the target's final accuracy; None for never."""
    steps, wanted = list(curve), list(target.values())[-1].values
    origins = next(iter(curve.values())).origins
    fewest = []
    for values, final in zip(zip(*(stat.values for stat in curve.values()), strict=True), wanted, strict=False):
        short = [count for count, value in zip(steps, values, strict=True) if value < final - WITHIN]
        if short and short[-1] == steps[-1]:
            return None
        fewest.append(next(count for count in steps if not short or count > short[-1]))
    return SeedStat.of(fewest, origins)


def _fig10a(charts: Any, curves: dict[str, dict[str, TimeCurve]]) -> Any:
    networks, codings = list(curves), ("rate", "direct")
    drawn, panels = charts.figure(1, 1 + len(networks), width=charts.FULL_WIDTH, height=2.6)
    trained = {name: [max(curves[name][coding]) for coding in codings] for name in networks}
    groups = [f"{network_labels(name)[0]}\ntrained: {rate:g}, {direct:g}" for name, (rate, direct) in trained.items()]
    series = [(charts.STYLES[c], [needed(curves[name][c], curves[name][c]) for name in networks]) for c in codings]
    charts.bars(panels[0], groups, series)  # without stars: the paper prints the steps of training, not those needed
    charts.label(panels[0], x="network", y="timesteps needed", title="needed for own accuracy", panel=1)
    for number, (axes, network) in enumerate(zip(panels[1:], networks, strict=True), start=2):
        for coding, curve in curves[network].items():
            charts.line(axes, list(curve), list(curve.values()), charts.STYLES[coding])
        longest = max(curves[network]["rate"])
        charts.logarithmic(axes, "x", [steps for steps in (1, 2, 5, 10, 20, 50, 100, 200) if steps <= longest])
        axes.set_ylim(bottom=0)
        charts.label(axes, x="timesteps shown", y="clean accuracy (%)", title=network_label(network), panel=number)
    charts.outside(drawn, columns=3)
    return drawn
