"""Tables 6 and 7 and Fig. 11: operations of each layer, and the energy of an image against rate coding and the ANN.

Everything is counted twice: as the paper prints it (Table 6, Eq. 7, 8), and with every operation that happens, see
docs/analysis.md. All of it is estimated arithmetic energy of the inference of one image at 45 nm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hiresnn.analysis import PRICES, Traffic
from hiresnn.analysis.prices import DRAM_WORD_PJ, SRAM_WORD_PJ
from hiresnn.paper.accuracy_page import Values
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.energy_rows import (
    BITS,
    COLUMNS,
    EVERY,
    PRINTED,
    K,
    Total,
    counted,
    has_rate,
    layer_row,
    reports,
    total_needs,
    total_row,
    totals,
)
from hiresnn.paper.labels import METHOD_LABELS, left_out, network_label, network_labels, setting_notes, text
from hiresnn.paper.measurements import Measurement
from hiresnn.paper.page import Cell, Page, Table, beside_paper, compared, directions
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat

PRICE_LABELS = {"fp32": "FP32", "int32": "INT32"}
OPERATIONS = {"mult": "multiplication", "add": "addition", "mac": "MAC", "ac": "AC"}
WHO = {
    "hire": METHOD_LABELS["hire"],
    "attacked": f"{METHOD_LABELS['hire']} on images of PGD",
    "training": f"{METHOD_LABELS['hire']}, forward pass of training",
    "rate": METHOD_LABELS["rate"],
    "ann": METHOD_LABELS["ann"],
    "equal-levels": "ANN with as many levels as spike counts",
    "equal-accuracy": "ANN with the fewest bits that are as accurate",
}
FIG11_ROWS = (("rate", PRINTED), ("ann", PRINTED), ("rate", EVERY), ("ann", EVERY), ("equal-accuracy", EVERY))
TOTAL_COLUMNS = [
    "model",
    "data set",
    "network",
    "count",
    "bits",
    "FP32, nJ",
    "INT32, nJ",
    "FP32, times",
    "INT32, times",
]
MEMORY_COLUMNS = [
    "model", "data set", "network", "weights read, k", "activations, k", "membranes, k", "parameters, k",
    "state, KiB", "weights on chip, nJ", "weights off chip, nJ",
]  # fmt: skip
TRAFFIC: tuple[Callable[[Traffic], float], ...] = (
    lambda traffic: traffic.weight_reads, lambda traffic: traffic.activations, lambda traffic: traffic.membranes,
    lambda traffic: traffic.weights, lambda traffic: traffic.on_chip_pj, lambda traffic: traffic.off_chip_pj,
)  # fmt: skip


def table6_needs(scale: Scale) -> list[Measurement]:
    """The operations of HIRE-SNN, and of the rate-coded network where the paper has one."""
    return [counted(network, method) for network in scale.networks for method in _methods(network)]


def table6(values: Values) -> Page:
    """Operations and energy of every layer."""
    scale, tables = values.scale, []
    for network in scale.networks:
        for method in _methods(network):
            found = reports(values, counted(network, method))
            rows = [layer_row(found, place) for place in range(len(found[0].layers))]
            caption = f"{network_label(network)}, {METHOD_LABELS[method]}, T = {found[0].timesteps}."
            tables.append(Table(caption, ["layer", "input", *COLUMNS], [*rows, total_row(found)]))
    notes = [*_settings(scale), text("table6.formulas"), text("energy.counts"), text("energy.estimate")]
    return Page(tables, notes=notes, networks=tuple(scale.networks))


def totals_needs(scale: Scale) -> list[Measurement]:
    """The measurements of Table 7 and Fig. 11."""
    return [each for network in scale.networks for each in total_needs(scale, network)]


def table7(values: Values) -> Page:
    """Prices beside the paper's, totals of every network in both counts, and what memory would add."""
    scale = values.scale
    energies: list[list[Cell]] = []
    moved: list[list[Cell]] = []
    for network in scale.networks:
        found = totals(values, network)
        energies += [_energy_row(network, total, found) for total in found.values()]
        moved += _memory_rows(values, network)
    tables = [
        Table(text("table7.prices"), ["operation", *beside_paper("INT32", "FP32")], _price_rows()),
        Table(text("table7.totals"), TOTAL_COLUMNS, energies),
        Table(text("table7.memory"), MEMORY_COLUMNS, moved),
    ]
    notes = [
        *_settings(scale),
        text("energy.counts"),
        text("energy.estimate"),
        text("table7.training"),
        text("table7.quantised", first=BITS[0], last=BITS[-1]),
        text("table7.words", sram=SRAM_WORD_PJ, dram=DRAM_WORD_PJ),
    ]
    return Page(tables, notes=notes, networks=tuple(scale.networks))


def fig11(values: Values, name: str, price: str) -> Page:
    """Energies as multiples of HIRE-SNN's; `name` is fig11a or fig11b, `price` its price list."""
    scale = values.scale
    found = {network: totals(values, network) for network in scale.networks}
    comparisons, rows = [], []
    for network, each in found.items():
        for who, count in FIG11_ROWS:
            if (who, count) not in each:
                continue
            ours, theirs = each[who, count].over(each["hire", count], price), _printed_times(name, network, who)
            labels = (*network_labels(network), WHO[who], count)
            rows.append([*labels, *compared(theirs if count == PRINTED else None, ours)])
            # The paper's direction is that HIRE-SNN needs less energy, in whichever count.
            words = f"{' / '.join(network_labels(network))}, {WHO[who]}, {count}, times HIRE-SNN less 1"
            less = None if ours is None else ours.map(lambda times: times - 1)
            comparisons.append((words, None if theirs is None else theirs - 1, less))
    columns = ["model", "data set", "network", "count", *beside_paper("times")]
    table = Table(text("fig11.caption", price=PRICE_LABELS[price]), columns, rows)
    notes = [*_settings(scale), text("energy.counts"), text("energy.estimate")]
    notes += [*_few_bits_notes(scale, found, price), *directions(comparisons)]
    return Page([table], lambda charts: _fig11(charts, found, name, price), notes, tuple(scale.networks))


def _methods(network: str) -> tuple[str, ...]:
    return ("hire", "rate") if has_rate(network) else ("hire",)


def _price_rows() -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for number, (key, words) in enumerate(OPERATIONS.items(), start=1):
        row: list[Cell] = [f"{number}. 32-bit {words}"]
        for name in ("int32", "fp32"):
            prices = PRICES[name]
            ours = {"mult": prices.multiplication, "add": prices.addition, "mac": prices.mac, "ac": prices.ac}
            row += compared(printed("table7", name, key), round(ours[key], 6))
        rows.append(row)
    return rows


def _energy_row(network: str, total: Total, found: dict[tuple[str, str], Total]) -> list[Cell]:
    hire = found["hire", total.count]
    cells: list[Cell] = [*network_labels(network), WHO[total.who], total.count, total.bits]
    cells += [None if stat is None else stat.map(lambda pj: pj / K) for stat in total.pj.values()]
    return cells + [total.over(hire, name) for name in PRICES]


def _memory_rows(values: Values, network: str) -> list[list[Cell]]:
    hire = reports(values, counted(network, "hire"))
    moved = {"hire": [report.snn_traffic() for report in hire], "ann": [report.ann_traffic() for report in hire]}
    state = {"hire": hire[0].state_bytes, "ann": 0}
    if has_rate(network):
        rate = reports(values, counted(network, "rate"))
        moved["rate"], state["rate"] = [report.snn_traffic() for report in rate], rate[0].state_bytes
    rows = []
    for who, traffics in moved.items():
        cells: list[Cell] = [SeedStat.of(value(traffic) / K for traffic in traffics) for value in TRAFFIC]
        rows.append([*network_labels(network), WHO[who], *cells[:4], state[who] / 1024, *cells[4:]])
    return rows


def _settings(scale: Scale) -> list[str]:
    images = f"the first {scale.analysed:,} of them" if scale.analysed else "all of them"
    missing = left_out(claims().table1, scale.networks)
    return [*setting_notes(scale, scale.networks, "rate"), *missing, text("energy.images", images=images)]


def _printed_times(name: str, network: str, who: str) -> float | None:
    """What Fig. 11 says of VGG11; it prints no number for another network."""
    return printed(name, f"over_{who}") if network == "vgg11-cifar100" else None


def _few_bits_notes(scale: Scale, found: dict[str, dict[tuple[str, str], Total]], price: str) -> list[str]:
    """Where the quantised ANN needs less energy than HIRE-SNN, and where none is as accurate."""
    less, missing = [], []
    for network, each in found.items():
        times, seeds = each["equal-accuracy", EVERY].over(each["hire", EVERY], price), len(scale.seeds_of(network))
        known = 0 if times is None else times.seeds
        if times is not None and times.mean < 1:
            less.append(f"{network_label(network)} ({times.mean:.2f} times)")
        if known < seeds:
            missing.append(f"{network_label(network)} in {seeds - known} of {seeds} seeds")
    notes = [text("fig11.less", networks=", ".join(less))] if less else []
    return [
        *notes,
        *([text("fig11.none", first=BITS[0], last=BITS[-1], networks=", ".join(missing))] if missing else []),
    ]


def _fig11(charts: Any, found: dict[str, dict[tuple[str, str], Total]], name: str, price: str) -> Any:
    styles = {
        "hire": charts.STYLES["hire"].named(WHO["hire"]),
        "rate": charts.STYLES["rate"],
        "ann": charts.STYLES["ann"],
        "equal-accuracy": charts.Style("ANN, few bits, as accurate", "#009E73", hatch="xxxx"),
    }
    groups = [" / ".join(network_labels(network)) for network in found]
    drawn, panels = charts.figure(2, 1, width=charts.FULL_WIDTH, height=4.6, share_y=True)
    for axes, count, letter in zip(panels, (PRINTED, EVERY), "ab", strict=True):
        everything = count == EVERY  # its bars have numbers above them, the others the paper's stars
        present = [who for who in styles if everything or who != "equal-accuracy"]
        series = []
        for who in present:
            bars = [
                each[who, count].over(each["hire", count], price) if (who, count) in each else None
                for each in found.values()
            ]
            series.append((styles[who], bars))
        stars = [[_printed_times(name, network, who) for network in found] for who in present]
        charts.bars(axes, groups, series, paper=() if everything else stars, digits=2 if everything else None)
        charts.logarithmic(axes, "y")
        axes.margins(y=0.15)
        charts.label(axes, x="", y=f"energy, {PRICE_LABELS[price]}\n(HIRE-SNN = 1)", title=f"({letter}) {count}")
    charts.outside(drawn, columns=5)
    return drawn
