"""Tables 6 and 7 and Fig. 11: operations of each layer, and the energy of an image against rate coding and the ANN.

Everything is counted twice: as the paper prints it (Table 6, Eq. 7, 8), and with every operation that happens, see
docs/analysis.md. All of it is estimated arithmetic energy of the inference of one image at 45 nm.
"""

from __future__ import annotations

from typing import Any

from hiresnn.analysis import PRICES
from hiresnn.analysis.energy import DRAM_WORD_PJ, SRAM_WORD_PJ
from reproduction import energy_rows as rows
from reproduction.accuracy_page import Values
from reproduction.claims import claims, printed
from reproduction.energy_rows import EVERY, PRINTED, K, Totals
from reproduction.labels import (
    METHOD_LABELS,
    VGG11,
    images_label,
    left_out,
    network_label,
    network_labels,
    section,
    setting_notes,
    text,
    with_rate,
)
from reproduction.measurements import Measurement
from reproduction.page import UNCLEAR, Cell, Claim, Page, Table, beside_paper, compared, verdict
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat, one_decimal

PRICE_LABELS: dict[str, str] = section("energy.prices")
OPERATIONS: dict[str, str] = section("energy.operations")
WHO: dict[str, str] = section("energy.who")
FIG11_ROWS = (("rate", PRINTED), ("ann", PRINTED), ("rate", EVERY), ("ann", EVERY), ("equal-accuracy", EVERY))
TOTAL_COLUMNS = [
    "model", "data set", "network", "count", "bits", "FP32, nJ", "INT32, nJ", "FP32, times", "INT32, times",
]  # fmt: skip
MEMORY_COLUMNS = [
    "model", "data set", "network", "weights read, k", "activations, k", "membranes, k", "parameters, k",
    "state, KiB", "weights on chip, nJ", "weights off chip, nJ",
]  # fmt: skip
TRAFFIC = ("weight_reads", "activations", "membranes", "weights", "on_chip_pj", "off_chip_pj")
"""Attributes of `hiresnn.analysis.Traffic`, in the order of MEMORY_COLUMNS."""


def networks_with(scale: Scale) -> tuple[str, ...]:
    """The networks whose energy is counted: those of the paper's Table 1 that the scale has."""
    return tuple(network for network in scale.networks if network in claims().table1)


def table6_needs(scale: Scale) -> list[Measurement]:
    """The operations of HIRE-SNN, and of the rate-coded network where there is one."""
    return [rows.counted(network, method) for network in networks_with(scale) for method in _methods(scale, network)]


def table6(values: Values) -> Page:
    """Operations and energy of every layer."""
    tables = []
    for wanted in table6_needs(values.scale):
        found = rows.reports(values, wanted)
        lines = [rows.row(found, place) for place in (*range(len(found[0].layers)), None)]
        caption = f"{network_label(wanted.network)}, {METHOD_LABELS[wanted.method]}, T = {found[0].timesteps}."
        tables.append(Table(caption, ["layer", "input", *rows.COLUMNS], lines))
    return _page(values.scale, tables, [text("table6.formulas")], [])


def totals_needs(scale: Scale) -> list[Measurement]:
    """The measurements of Table 7 and Fig. 11."""
    return [each for network in networks_with(scale) for each in rows.total_needs(scale, network)]


def table7(values: Values) -> Page:
    """Prices beside the paper's, totals of every network in both counts, and what memory would add."""
    energies: list[list[Cell]] = []
    moved: list[list[Cell]] = []
    for network in networks_with(values.scale):
        found = rows.totals(values, network)
        for (who, count), total in found.items():
            nanojoules = [None if stat is None else stat.map(lambda pj: pj / K) for stat in total.pj.values()]
            times = [_times(found, who, count, name) for name in PRICES]
            energies.append([*network_labels(network), WHO[who], count, total.bits, *nanojoules, *times])
        moved += _memory_rows(values, network)
    tables = [
        Table(text("table7.prices"), ["operation", *beside_paper("INT32", "FP32")], _price_rows()),
        Table(text("table7.totals"), TOTAL_COLUMNS, energies),
        Table(text("table7.memory"), MEMORY_COLUMNS, moved),
    ]
    quantised = text("table7.quantised", first=rows.BITS[0], last=rows.BITS[-1])
    words = text("table7.words", sram=SRAM_WORD_PJ, dram=DRAM_WORD_PJ)
    return _page(values.scale, tables, [], [text("table7.training"), quantised, words])


def fig11(values: Values, price: str) -> Page:
    """Energies at one price list as multiples of HIRE-SNN's."""
    name = {"fp32": "fig11a", "int32": "fig11b"}[price]
    found = {network: rows.totals(values, network) for network in networks_with(values.scale)}
    judged, times = [], []
    for network, each in found.items():
        for who, count in FIG11_ROWS:
            if (who, count) not in each:
                continue
            ours, theirs = _times(each, who, count, price), _printed_times(name, network, who)
            cells = compared(theirs if count == PRINTED else None, ours)
            times.append([*network_labels(network), WHO[who], count, *cells])
            if theirs is not None and ours is not None:
                judged.append(_cheaper(network, who, count, price, theirs, ours))
    columns = ["model", "data set", "network", "count", *beside_paper("times")]
    table = Table(text("fig11.caption", price=PRICE_LABELS[price]), columns, times)
    page = _page(values.scale, [table], [], _few_bits_notes(values.scale, found, price))
    page.figure, page.claims = lambda charts: _draw(charts, found, name, price), judged
    return page


def _cheaper(network: str, who: str, count: str, price: str, theirs: float, ours: SeedStat) -> Claim:
    """The claim that HIRE-SNN needs less energy than another network, judged in one of the two counts."""
    claim = text("fig11.claim", who=WHO[who], times=theirs, price=PRICE_LABELS[price])
    of, found = f"{network_label(network)}, {count}", f"{one_decimal(ours.mean)} times"
    where = "abstract, sec. 5.4, 6" if (who, price) == ("rate", "fp32") else "sec. 5.4"
    low, high = ours.limits
    result = UNCLEAR if low <= 1 <= high else verdict(low > 1)
    return Claim(claim, result, found, of, where, theirs if count == PRINTED else None, ours)


def _page(scale: Scale, tables: list[Table], before: list[str], after: list[str]) -> Page:
    """A page with the notes that all pages about energy share, and its own before and after them."""
    networks = networks_with(scale)
    notes = [
        *setting_notes(scale, networks, "rate"),
        *left_out(claims().table1, networks),
        *before,
        text("energy.counts"),
        text("energy.estimate"),
        *after,
    ]
    return Page(tables, notes=notes, networks=networks, images=with_rate(scale, networks, images_label(scale.analysed)))


def _methods(scale: Scale, network: str) -> tuple[str, ...]:
    return ("hire", "rate") if scale.is_rated(network) else ("hire",)


def _price_rows() -> list[list[Cell]]:
    found: list[list[Cell]] = []
    for number, (key, words) in enumerate(OPERATIONS.items(), start=1):
        row: list[Cell] = [f"{number}. 32-bit {words}"]
        for name in ("int32", "fp32"):
            prices = PRICES[name]
            ours = {"mult": prices.multiplication, "add": prices.addition, "mac": prices.mac, "ac": prices.ac}
            row += compared(printed("table7", name, key), round(ours[key], 6))
        found.append(row)
    return found


def _memory_rows(values: Values, network: str) -> list[list[Cell]]:
    found = {method: rows.reports(values, rows.counted(network, method)) for method in _methods(values.scale, network)}
    moved = {method: ([each.snn_traffic() for each in one], one[0].state_bytes) for method, one in found.items()}
    moved = {"hire": moved.pop("hire"), "ann": ([each.ann_traffic() for each in found["hire"]], 0), **moved}
    lines = []
    for who, (traffics, state) in moved.items():
        cells: list[Cell] = [SeedStat.of(getattr(each, name) / K for each in traffics) for name in TRAFFIC]
        lines.append([*network_labels(network), WHO[who], *cells[:4], state / 1024, *cells[4:]])
    return lines


def _printed_times(name: str, network: str, who: str) -> float | None:
    """What Fig. 11 says of VGG11; it prints no number for another network."""
    return printed(name, f"over_{who}") if network == VGG11 else None


def _few_bits_notes(scale: Scale, found: dict[str, Totals], price: str) -> list[str]:
    """Where the quantised ANN needs less energy than HIRE-SNN, and where none is as accurate."""
    less, missing = [], []
    for network, each in found.items():
        times, seeds = _times(each, "equal-accuracy", EVERY, price), len(scale.seeds_of(network))
        known = 0 if times is None else times.seeds
        if times is not None and times.mean < 1:
            less.append(f"{network_label(network)} ({times.mean:.2f} times)")
        if known < seeds:
            missing.append(f"{network_label(network)} in {seeds - known} of {seeds} seeds")
    notes = [text("fig11.less", networks=", ".join(less))] if less else []
    if missing:
        notes.append(text("fig11.none", first=rows.BITS[0], last=rows.BITS[-1], networks=", ".join(missing)))
    return notes


def _draw(charts: Any, found: dict[str, Totals], name: str, price: str) -> Any:
    styles = {
        "hire": charts.STYLES["hire"].named(WHO["hire"]),
        "rate": charts.STYLES["rate"],
        "ann": charts.STYLES["ann"],
        "equal-accuracy": charts.Style("ANN, few bits, as accurate", "#009E73", hatch="xxxx"),
    }
    groups = [" / ".join(network_labels(network)) for network in found]
    drawn, panels = charts.figure(2, 1, width=charts.FULL_WIDTH, height=4.6, share_y=True)
    for number, (axes, count) in enumerate(zip(panels, (PRINTED, EVERY), strict=True), start=1):
        present = [who for who in styles if count == EVERY or who != "equal-accuracy"]
        stats = {who: [_times(each, who, count, price) for each in found.values()] for who in present}
        stars = [[_printed_times(name, network, who) for network in found] for who in present]
        series = [(styles[who], stats[who]) for who in present]
        charts.bars(axes, groups, series, paper=() if count == EVERY else stars, digits=2)
        charts.logarithmic(axes, "y")
        axes.margins(y=0.15)
        charts.label(axes, x="", y=f"energy, {PRICE_LABELS[price]}\n(HIRE-SNN = 1)", title=count, panel=number)
    charts.outside(drawn, columns=5)
    return drawn


def _times(totals: Totals, who: str, count: str, price: str) -> SeedStat | None:
    """Energy as a multiple of that of HIRE-SNN in the same count; None where it is not counted or has no price.

    Also None where the two were measured on different trainings of their networks (`SeedStat.over`).
    """
    found = totals[who, count].over(totals["hire", count], price) if (who, count) in totals else None
    return found if found is not None and found.known else None
