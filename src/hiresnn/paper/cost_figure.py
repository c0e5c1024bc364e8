"""Figure 7: peak memory and time of a training batch, HIRE-SNN against traditional training."""

from __future__ import annotations

from typing import Any

from hiresnn.paper.accuracy_page import Values
from hiresnn.paper.claims import printed
from hiresnn.paper.cost import WARM_BATCHES
from hiresnn.paper.labels import METHOD_LABELS, left_out, network_labels, text
from hiresnn.paper.measurements import Measurement, Run
from hiresnn.paper.page import Cell, Page, Table, beside_paper, compared, directions
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat

NETWORKS = ("vgg5-cifar10", "vgg11-cifar100", "resnet12-cifar10")
METHODS = ("traditional", "hire")
QUANTITIES = {"peak_bytes": 2**20, "seconds_per_batch": 1e-3, "processor_seconds_per_batch": 1e-3}
"""Measured quantity -> its unit in the table."""
COST_COLUMNS = ["model", "data set", "method", "peak memory, MiB", "time per batch, ms", "processor time, ms"]
RATIO_COLUMNS = ["model", "data set", "memory", "time", "processor time"]
CLOCK, PROCESSOR = 1, 2
"""Places in QUANTITIES. On a CPU the claim on time is judged by processor time, which other programs change little."""
SMALL = 32 * 2**20
"""Bytes of a peak below which it belongs more to the program than to the network."""


def fig7_networks(scale: Scale) -> tuple[str, ...]:
    """The paper's networks that the scale has."""
    return tuple(network for network in NETWORKS if network in scale.networks)


def fig7_needs(scale: Scale) -> list[Measurement]:
    """The cost of both methods, a process per seed."""
    return [_cost(network, method) for network in fig7_networks(scale) for method in METHODS]


def fig7(values: Values) -> Page:
    """Cost of both methods, their ratios, and the paper's two claims: up to 25 % less memory, no extra time."""
    scale, networks = values.scale, fig7_networks(values.scale)
    found = {(network, method): values.all(_cost(network, method)) for network in networks for method in METHODS}
    ratios = {
        network: [
            _stat(found[network, "hire"], name).over(_stat(found[network, "traditional"], name)) for name in QUANTITIES
        ]
        for network in networks
    }
    rows: list[list[Cell]] = [
        [*network_labels(network), METHOD_LABELS[method]]
        + [_stat(found[network, method], name, unit) for name, unit in QUANTITIES.items()]
        for network in networks
        for method in METHODS
    ]
    shares: list[list[Cell]] = [[*network_labels(network), *ratios[network]] for network in networks]
    first = found[networks[0], "hire"][0]
    timed = PROCESSOR if first["device"] == "cpu" else CLOCK
    claims, comparisons = _claims(ratios, timed)
    batch = scale.recipe(Run(networks[0], "hire", 0)).snn.batch_size
    tables = [
        Table(text("fig7.costs", batch=batch), COST_COLUMNS, rows),
        Table(text("fig7.ratios"), RATIO_COLUMNS, shares),
        Table(text("fig7.claims"), ["claim", *beside_paper("percent")], claims),
    ]
    notes = [*_notes(scale, first), *left_out(NETWORKS, networks), *directions(comparisons), *_longer(ratios, timed)]
    return Page(tables, lambda charts: _draw(charts, ratios, timed), notes, networks)


def _cost(network: str, method: str) -> Measurement:
    return Measurement("cost", network, method)


def _stat(costs: list[Any], quantity: str, unit: float = 1.0) -> SeedStat:
    return SeedStat.of(float(cost[quantity]) / unit for cost in costs)


def _claims(
    ratios: dict[str, list[SeedStat]], timed: int
) -> tuple[list[list[Cell]], list[tuple[str, float, SeedStat]]]:
    memory, time = (100 * (printed("fig7", name) or 0.0) for name in ("memory_saving_max", "extra_time"))
    saving = max(100 * (1 - each[0].mean) for each in ratios.values())
    extra = max(100 * (each[timed].mean - 1) for each in ratios.values())
    rows: list[list[Cell]] = [
        ["largest saving of memory", *compared(memory, saving)],
        ["largest extra time per batch", *compared(time, extra)],
    ]
    return rows, [("largest saving of memory, percent", memory, SeedStat.of([saving]))]


def _longer(ratios: dict[str, list[SeedStat]], timed: int) -> list[str]:
    extra = {network: 100 * (each[timed].mean - 1) for network, each in ratios.items()}
    longer = [f"{network_labels(network)[0]} by {percent:.1f} %" for network, percent in extra.items() if percent > 0]
    return [text("fig7.longer", networks=", ".join(longer))] if longer else []


def _notes(scale: Scale, first: dict[str, Any]) -> list[str]:
    memory = "resident memory of the process" if first["device"] == "cpu" else "GPU memory in tensors"
    machine = {name: first[name] for name in ("processor", "threads", "batches")}
    return [
        text("fig7.process", scale=scale.name, warm=WARM_BATCHES, **machine),
        text("fig7.memory", memory=memory),
        *([text("fig7.small")] if first["peak_bytes"] < SMALL else []),
        text("fig7.random"),
        text("fig7.paper"),
    ]


def _draw(charts: Any, ratios: dict[str, list[SeedStat]], timed: int) -> Any:
    drawn, panels = charts.figure(1, 2, width=charts.FULL_WIDTH, height=2.6)
    saving = printed("fig7", "memory_saving_max") or 0.0
    time = "processor time" if timed == PROCESSOR else "time"
    texts = ("peak memory\n(traditional = 1)", f"{time} of a batch\n(traditional = 1)")
    titles = (f"(a) paper: up to {100 * saving:.0f} % less", "(b) paper: no extra time")
    for place, axes in enumerate(panels):
        series = [
            (charts.STYLES["traditional"], [SeedStat.of([1.0])] * len(ratios)),
            (charts.STYLES["hire"], [each[(0, timed)[place]] for each in ratios.values()]),
        ]
        charts.bars(axes, [network_labels(network)[0] for network in ratios], series, digits=2)
        charts.level(axes, (1 - saving, 1.0)[place], charts.Style("claim of the paper", "#000000"))
        charts.label(axes, x="", y=texts[place], title=titles[place])
        axes.margins(y=0.12)
    charts.outside(drawn, columns=3)
    return drawn
