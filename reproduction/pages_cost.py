"""Figure 7: peak memory and time of a training batch, HIRE-SNN against traditional training."""

from functools import partial
from typing import Any

from matplotlib.figure import Figure

from reproduction import figures
from reproduction.cost import WARM_BATCHES
from reproduction.page import Claim, Page, Table, verdict
from reproduction.paper import CLAIMS, LABELS, VGG5, VGG11, Run, left_out, network_labels, text
from reproduction.results import Results
from reproduction.statistics import SeedStat
from reproduction.study import Measurement

NETWORKS = (VGG5, VGG11, "resnet12-cifar10")
METHODS = ("traditional", "hire")
QUANTITIES = {"peak_bytes": 2**20, "seconds_per_batch": 1e-3, "processor_seconds_per_batch": 1e-3}
"""Measured quantity -> its unit in the table; times of both methods come from the process in which they took turns."""
CLOCK, PROCESSOR = 1, 2
"""Places in QUANTITIES. On a CPU the claim on time is judged by processor time, which other programs change little."""
SMALL = 32 * 2**20  # bytes of a peak below which it belongs more to the program than to the network
SLACK = 1.0  # percent more time that count as none

Ratios = dict[str, list[SeedStat]]
"""Network -> cost of HIRE-SNN over that of traditional training, in the order of QUANTITIES."""


def fig7(results: Results) -> Page:
    """Cost of both methods, their ratios, and the paper's two claims: up to 25 % less memory, no extra time."""
    scale, paper = results.scale, CLAIMS["fig7"]
    networks = scale.some(NETWORKS)
    keys = [(network, method) for network in networks for method in METHODS]
    measured = dict(zip(keys, results.all(*(Measurement("cost", *key) for key in keys)), strict=True))

    def stat(network: str, method: str, quantity: str, unit: float = 1.0) -> SeedStat:
        """Over seeds; both methods' times are of the process of HIRE-SNN, which also trained traditionally."""
        timed = quantity != "peak_bytes"
        name = f"traditional_{quantity}" if timed and method == "traditional" else quantity
        costs = measured[network, "hire" if timed else method]
        return SeedStat.of((float(cost[name]) / unit for cost in costs), map(_machine, costs))

    rows = [
        [*network_labels(network), LABELS[method], *(stat(network, method, *one) for one in QUANTITIES.items())]
        for network, method in keys
    ]
    ratios: Ratios = {
        network: [stat(network, "hire", name).over(stat(network, "traditional", name)) for name in QUANTITIES]
        for network in networks
    }
    first = measured[networks[0], "hire"][0]
    timed = PROCESSOR if first["device"] == "cpu" else CLOCK
    saved = [100 * (1 - memory.mean) for memory, *_ in ratios.values() if memory.known]
    saving, numbers = (max(saved), f"{max(saved):.1f} %") if saved else (None, text("fig7.machines"))
    extra = {network: 100 * (ratio[timed].mean - 1) for network, ratio in ratios.items()}
    longest = max(extra.values())
    batch = scale.recipe(Run(networks[0], "hire")).snn.batch_size
    costs = ["model", "data set", "method", "peak memory, MiB", "time per batch, ms", "processor time, ms"]
    ratio_rows = [[*network_labels(network), *ratio] for network, ratio in ratios.items()]
    tables = [
        Table(text("fig7.costs", batch=batch), costs, rows),
        Table(text("fig7.ratios"), ["model", "data set", "memory", "time", "processor time"], ratio_rows),
    ]
    less, source = 100 * paper["memory_saving_max"], "abstract, sec. 5.2, 6"
    each_time = ", ".join(f"{network_labels(network)[0]} {percent:+.1f} %" for network, percent in extra.items())
    saves, no_more = verdict(None if saving is None else saving > 0), verdict(longest <= SLACK)
    claims = [
        Claim(text("fig7.less"), saves, numbers, "", "sec. 5.2", less, saving),
        Claim(text("fig7.no_more"), no_more, each_time, "", source, 100 * paper["extra_time"], longest),
    ]
    machines = "; ".join(dict.fromkeys(_machine(cost) for seeds in measured.values() for cost in seeds))
    memory = "resident memory of the process" if first["device"] == "cpu" else "GPU memory in tensors"
    notes = [
        text("fig7.process", scale=scale.name, warm=WARM_BATCHES, machines=machines, batches=first["batches"]),
        text("fig7.memory", memory=memory),
        *([text("fig7.small")] if first["peak_bytes"] < SMALL else []),
        text("fig7.random"),
        text("fig7.paper"),
        *left_out(NETWORKS, networks),
    ]
    draw = partial(_draw, ratios, timed, paper["memory_saving_max"])
    return Page(tables, draw, notes, networks, claims, text("fig7.images", batch=batch))


def _machine(cost: dict[str, Any]) -> str:
    return f"{cost['processor']}, {cost['threads']} threads"


def _draw(ratios: Ratios, timed: int, saving: float) -> Figure:
    drawing, panels = figures.figure(1, 2, height=2.6)
    time = "processor time" if timed == PROCESSOR else "time"
    axis = ("peak memory\n(traditional = 1)", f"{time} of a batch\n(traditional = 1)")
    titles = (f"paper: up to {100 * saving:.0f} % less", "paper: no extra time")
    for number, axes in enumerate(panels):
        series = [
            (figures.STYLES["traditional"], [SeedStat.of([1.0])] * len(ratios)),
            (figures.STYLES["hire"], [ratio[(0, timed)[number]] for ratio in ratios.values()]),
        ]
        figures.bars(axes, [network_labels(network)[0] for network in ratios], series, digits=2)
        figures.level(axes, (1 - saving, 1.0)[number], figures.Style("claim of the paper", "#000000"))
        figures.label(axes, x="", y=axis[number], title=titles[number], panel=number + 1)
        axes.margins(y=0.12)
    figures.outside(drawing, columns=3)
    return drawing
