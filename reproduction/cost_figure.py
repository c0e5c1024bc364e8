"""Figure 7: peak memory and time of a training batch, HIRE-SNN against traditional training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reproduction.accuracy_page import Values
from reproduction.claims import claims
from reproduction.cost import WARM_BATCHES
from reproduction.labels import METHOD_LABELS, VGG5, VGG11, left_out, network_labels, text
from reproduction.measurements import Measurement, Run
from reproduction.page import Cell, Claim, Page, Table, verdict
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat

NETWORKS = (VGG5, VGG11, "resnet12-cifar10")
METHODS = ("traditional", "hire")
QUANTITIES = {"peak_bytes": 2**20, "seconds_per_batch": 1e-3, "processor_seconds_per_batch": 1e-3}
"""Measured quantity -> its unit in the table; times of both methods come from the process in which they took turns."""
COST_COLUMNS = ["model", "data set", "method", "peak memory, MiB", "time per batch, ms", "processor time, ms"]
RATIO_COLUMNS = ["model", "data set", "memory", "time", "processor time"]
CLOCK, PROCESSOR = 1, 2
"""Places in QUANTITIES. On a CPU the claim on time is judged by processor time, which other programs change little."""
SMALL = 32 * 2**20
"""Bytes of a peak below which it belongs more to the program than to the network."""

SLACK = 1.0
"""Percent more time that count as none."""

Ratios = dict[str, list[SeedStat]]
"""Network -> cost of HIRE-SNN over that of traditional training, in the order of QUANTITIES."""


def fig7_needs(scale: Scale) -> list[Measurement]:
    """The cost of both methods, a process per seed."""
    return [Measurement("cost", network, method) for network in scale.present(NETWORKS) for method in METHODS]


def fig7(values: Values) -> Page:
    """Cost of both methods, their ratios, and the paper's two claims: up to 25 % less memory, no extra time."""
    scale, networks = values.scale, values.scale.present(NETWORKS)
    found = {(each.network, each.method): values.all(each) for each in fig7_needs(scale)}
    rows: list[list[Cell]] = [
        [*network_labels(network), METHOD_LABELS[method]]
        + [_stat(found, network, method, *each) for each in QUANTITIES.items()]
        for network, method in found
    ]
    ratios: Ratios = {
        each: [_stat(found, each, "hire", name).over(_stat(found, each, "traditional", name)) for name in QUANTITIES]
        for each in networks
    }
    first = found[networks[0], "hire"][0]
    timed = PROCESSOR if first["device"] == "cpu" else CLOCK
    memory, time = 100 * claims().fig7.memory_saving_max, 100 * claims().fig7.extra_time
    saved = [100 * (1 - each[0].mean) for each in ratios.values() if each[0].known]
    saving, words = (max(saved), f"{max(saved):.1f} %") if saved else (None, text("fig7.machines"))
    extra = {network: 100 * (each[timed].mean - 1) for network, each in ratios.items()}
    longest = max(extra.values())
    batch = scale.recipe(Run(networks[0], "hire", 0)).snn.batch_size
    tables = [
        Table(text("fig7.costs", batch=batch), COST_COLUMNS, rows),
        Table(text("fig7.ratios"), RATIO_COLUMNS, [[*network_labels(name), *each] for name, each in ratios.items()]),
    ]
    each_time = ", ".join(f"{network_labels(name)[0]} {percent:+.1f} %" for name, percent in extra.items())
    where = "abstract, sec. 5.2, 6"
    holds = None if saving is None else saving > 0
    judged = [
        Claim(text("fig7.less"), verdict(holds), words, "", "sec. 5.2", memory, saving),
        Claim(text("fig7.no_more"), verdict(longest <= SLACK), each_time, "", where, time, longest),
    ]
    machines = dict.fromkeys(_machine(cost) for costs in found.values() for cost in costs)
    notes = [*_notes(scale, first, "; ".join(machines)), *left_out(NETWORKS, networks)]
    images = text("fig7.images", batch=batch)
    return Page(tables, lambda charts: _draw(charts, ratios, timed), notes, networks, judged, images)


def _stat(
    found: Mapping[tuple[str, str], list[Any]], network: str, method: str, quantity: str, unit: float = 1.0
) -> SeedStat:
    """A quantity over seeds; both methods' times are of the process of HIRE-SNN, which also trained traditionally."""
    timed = quantity != "peak_bytes"
    costs = found[network, "hire" if timed else method]
    name = f"traditional_{quantity}" if timed and method == "traditional" else quantity
    return SeedStat.of((float(cost[name]) / unit for cost in costs), map(_machine, costs))


def _machine(cost: dict[str, Any]) -> str:
    return f"{cost['processor']}, {cost['threads']} threads"


def _notes(scale: Scale, first: dict[str, Any], machines: str) -> list[str]:
    memory = "resident memory of the process" if first["device"] == "cpu" else "GPU memory in tensors"
    return [
        text("fig7.process", scale=scale.name, warm=WARM_BATCHES, machines=machines, batches=first["batches"]),
        text("fig7.memory", memory=memory),
        *([text("fig7.small")] if first["peak_bytes"] < SMALL else []),
        text("fig7.random"),
        text("fig7.paper"),
    ]


def _draw(charts: Any, ratios: Ratios, timed: int) -> Any:
    drawn, panels = charts.figure(1, 2, width=charts.FULL_WIDTH, height=2.6)
    saving = claims().fig7.memory_saving_max
    time = "processor time" if timed == PROCESSOR else "time"
    texts = ("peak memory\n(traditional = 1)", f"{time} of a batch\n(traditional = 1)")
    titles = (f"paper: up to {100 * saving:.0f} % less", "paper: no extra time")
    for place, axes in enumerate(panels):
        series = [
            (charts.STYLES["traditional"], [SeedStat.of([1.0])] * len(ratios)),
            (charts.STYLES["hire"], [each[(0, timed)[place]] for each in ratios.values()]),
        ]
        charts.bars(axes, [network_labels(network)[0] for network in ratios], series, digits=2)
        charts.level(axes, (1 - saving, 1.0)[place], charts.Style("claim of the paper", "#000000"))
        charts.label(axes, x="", y=texts[place], title=titles[place], panel=place + 1)
        axes.margins(y=0.12)
    charts.outside(drawn, columns=3)
    return drawn
