"""Energy: Table 6 (operations of a layer), Table 7 (prices and totals), Fig. 11 (against rate-coded SNN and ANN).

Everything twice: as the paper prints it (Table 6, Eq. 7, 8), and with every operation that happens, see
docs/analysis.md. All of it is estimated arithmetic energy of the inference of one image, 45 nm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hiresnn.analysis import PRICES, Traffic
from hiresnn.analysis.prices import DRAM_WORD_PJ, SRAM_WORD_PJ
from hiresnn.paper.accuracies import missing_note
from hiresnn.paper.artefact import Artefact, Cell, Table, beside_paper, compared
from hiresnn.paper.claims import printed
from hiresnn.paper.counting import BITS, has_rate, reports
from hiresnn.paper.directions import Directions
from hiresnn.paper.layer_costs import COLUMNS, K, layer_row, total_row
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.totals import EVERY, PRINTED, Total, totals
from hiresnn.paper.words import METHODS, network_words, setting_notes

PRICE_WORDS = {"fp32": "FP32", "int32": "INT32"}
OPERATIONS = {"mult": "multiplication", "add": "addition", "mac": "MAC", "ac": "AC"}
WHO = {
    "hire": METHODS["hire"],
    "attacked": f"{METHODS['hire']} on images of PGD",
    "training": f"{METHODS['hire']}, forward pass of training",
    "rate": METHODS["rate"],
    "ann": METHODS["ann"],
    "equal-levels": "ANN with as many levels as spike counts",
    "equal-accuracy": "ANN with the fewest bits that are as accurate",
}
ESTIMATE = (
    "All energies are estimated arithmetic energy of the inference of one image, 45 nm: operations times the prices of "
    "Table 7. They know no wires, control, clock or idle time."
)
COUNTS = (
    f'"{PRINTED}" is Table 6 with Eq. 7 (rate-coded) or Eq. 8 (direct): the FLOPs of the ANN, which are MACs, times '
    f'zeta, the spikes of a layer\'s input over all T; MACs on the image, ACs elsewhere. "{EVERY}" counts the '
    "connections that exist, a MAC where average pooling made spikes fractional, the updates, leaks and resets of "
    "membranes, and the readout; its ANN skips no zeros."
)


def table6(study: Study) -> Artefact:
    """Operations and energy of every layer of HIRE-SNN, and of the rate-coded network where the paper has one."""
    tables = []
    for network in study.networks:
        for method in ("hire", "rate") if has_rate(network) else ("hire",):
            found = reports(study, network, method)
            rows = [layer_row(found, place) for place in range(len(found[0].layers))]
            caption = f"{' on '.join(network_words(network))}, {METHODS[method]}, T = {found[0].timesteps}."
            tables.append(Table(caption, ["layer", "input", *COLUMNS], [*rows, total_row(found)]))
    notes = [
        *_settings(study),
        "Table 6 of the paper prints formulas and no numbers. FL_ANN, zeta and FL_SNN are those formulas on the "
        "trained networks, means over images and seeds; k is thousand.",
        COUNTS,
        ESTIMATE,
    ]
    return Artefact("table6", "Operations of a layer", tables, notes=notes)


def table7(study: Study) -> Artefact:
    """Prices beside the paper's; totals of every network under both counts; what memory would add."""
    prices: list[list[Cell]] = []
    for number, (key, words) in enumerate(OPERATIONS.items(), start=1):
        row: list[Cell] = [f"{number}. 32-bit {words}"]
        for name in ("int32", "fp32"):
            ours = {"mult": PRICES[name].multiplication, "add": PRICES[name].addition}
            ours |= {"mac": PRICES[name].mac, "ac": PRICES[name].ac}
            row += compared(printed("table7", name, key), round(ours[key], 6))
        prices.append(row)
    energies: list[list[Cell]] = []
    moved: list[list[Cell]] = []
    for network in study.networks:
        found = totals(study, network)
        energies += [_energy_row(network, total, found) for total in found.values()]
        moved += _memory_rows(study, network)
    tables = [
        Table("Picojoules of an operation.", ["operation", *beside_paper("INT32", "FP32")], prices),
        Table("Energy of one image in nJ, and how many times that of HIRE-SNN under the same count.", TOTALS, energies),
        Table("Memory: thousands of 32-bit words moved for one image, and their energy in nJ.", MEMORY, moved),
    ]
    return Artefact("table7", "Energy of an operation, and of an image", tables, notes=_table7_notes(study))


TOTALS = ["model", "data set", "network", "count", "bits", "FP32, nJ", "INT32, nJ", "FP32, times", "INT32, times"]
MEMORY = [
    "model", "data set", "network", "weights read, k", "activations, k", "membranes, k", "parameters, k",
    "state, KiB", "weights on chip, nJ", "weights off chip, nJ",
]  # fmt: skip


def _energy_row(network: str, total: Total, found: dict[tuple[str, str], Total]) -> list[Cell]:
    hire = found["hire", total.count]
    cells: list[Cell] = [*network_words(network), WHO[total.who], total.count, total.bits]
    cells += [_scaled(total.pj[name], 1 / K) for name in PRICES]
    return cells + [total.over(hire, name) for name in PRICES]


def _memory_rows(study: Study, network: str) -> list[list[Cell]]:
    hire = reports(study, network, "hire")
    moved = {"hire": [report.snn_traffic() for report in hire], "ann": [report.ann_traffic() for report in hire]}
    state = {"hire": hire[0].state_bytes, "ann": 0}
    if has_rate(network):
        rate = reports(study, network, "rate")
        moved["rate"], state["rate"] = [report.snn_traffic() for report in rate], rate[0].state_bytes
    quantities: list[Callable[[Traffic], float]] = [
        lambda traffic: traffic.weight_reads, lambda traffic: traffic.activations, lambda traffic: traffic.membranes,
        lambda traffic: traffic.weights, lambda traffic: traffic.on_chip_pj, lambda traffic: traffic.off_chip_pj,
    ]  # fmt: skip
    rows = []
    for who, traffics in moved.items():
        cells: list[Cell] = [Stat.of(value(traffic) / K for traffic in traffics) for value in quantities]
        rows.append([*network_words(network), WHO[who], *cells[:4], state[who] / 1024, *cells[4:]])
    return rows


def _scaled(stat: Stat | None, factor: float) -> Stat | None:
    return None if stat is None else Stat.of(factor * value for value in stat.values)


def _settings(study: Study) -> list[str]:
    counted = f"the first {study.scale.analysed:,} of them" if study.scale.analysed else "all of them"
    return [
        *setting_notes(study, study.networks, "rate"),
        *missing_note(study, "table1"),
        f"Operations are counted on {counted}.",
    ]


def _table7_notes(study: Study) -> list[str]:
    return [
        *_settings(study),
        COUNTS,
        ESTIMATE,
        f'"{WHO["training"]}" shows N variants of the image within T, so that the layers on the image work N times; '
        "the backward pass is not counted.",
        "ANNs with few bits: assumption, not from the paper, that a multiplication by b bits costs b / 32 of one by 32 "
        "bits, while weights, sums and the image keep 32. As many levels as spike counts takes ceil(log2(T + 1)) bits "
        f"and does not look at accuracy. As accurate takes the fewest of {BITS[0]} to {BITS[-1]} bits with which the "
        "ANN, rounded after its training, gets at least as many clean test images right as HIRE-SNN.",
        "Memory is an estimate under assumptions: no weight is reused, so that each MAC and AC reads its own from an "
        f"8 KiB SRAM, {SRAM_WORD_PJ:g} pJ a word; an activation that is not zero is written and read once, the ANN's "
        "are dense; a membrane is read and written at every step. Off chip, each weight also comes once an image from "
        f"DRAM, {DRAM_WORD_PJ:g} pJ a word.",
    ]


def fig11a(study: Study) -> Artefact:
    """Energies as multiples of HIRE-SNN's, FP32."""
    return _fig11(study, "fig11a", "fp32")


def fig11b(study: Study) -> Artefact:
    """Energies as multiples of HIRE-SNN's, INT32."""
    return _fig11(study, "fig11b", "int32")


def _fig11(study: Study, name: str, price: str) -> Artefact:
    found = {network: totals(study, network) for network in study.networks}
    directions, rows = Directions(), []
    for network, each in found.items():
        for who, count in SHOWN:
            if (who, count) in each:
                ours = each[who, count].over(each["hire", count], price)
                paper = _printed_times(name, network, who) if count == PRINTED else None
                rows.append([*network_words(network), WHO[who], count, *compared(paper, ours)])
                # the paper's direction is that HIRE-SNN takes less, whatever is counted
                words = f"{' / '.join(network_words(network))}, {WHO[who]}, {count}, times HIRE-SNN less 1"
                paper = _printed_times(name, network, who)
                if paper is not None and ours is not None:
                    directions.compare(words, paper - 1, Stat.of(times - 1 for times in ours.values))
    caption = f"Energy of one image, {PRICE_WORDS[price]}, times that of {WHO['hire']} under the same count."
    columns = ["model", "data set", "network", "count", *beside_paper("times")]

    def figure(plotting: Any) -> Any:
        styles = {
            "hire": plotting.STYLES["hire"].named(WHO["hire"]),
            "rate": plotting.STYLES["rate"],
            "ann": plotting.STYLES["ann"],
            "equal-accuracy": plotting.Style("ANN, few bits, as accurate", "#009E73", hatch="xxxx"),
        }
        groups = [" / ".join(network_words(network)) for network in found]
        drawn, panels = plotting.figure(2, 1, width=plotting.FULL_WIDTH, height=4.6, share_y=True)
        for axes, count, letter in zip(panels, (PRINTED, EVERY), "ab", strict=True):
            shown = [who for who in styles if who != "equal-accuracy" or count == EVERY]
            printed_count = count == PRINTED  # its bars have no numbers above them: the paper's stars stand there
            series = [(styles[who], [_bar(each, who, count, price) for each in found.values()]) for who in shown]
            stars = [[_printed_times(name, network, who) for network in found] for who in shown]
            plotting.bars(
                axes, groups, series, paper=stars if printed_count else (), digits=None if printed_count else 2
            )
            plotting.logarithmic(axes, "y")
            axes.margins(y=0.15)
            said = f"energy, {PRICE_WORDS[price]}\n(HIRE-SNN = 1)"
            plotting.label(axes, x="", y=said, title=f"({letter}) {count}")
        plotting.outside(drawn, columns=5)
        return drawn

    notes = [*_settings(study), COUNTS, ESTIMATE, *_few_bits_notes(study, found, price), *directions.notes()]
    title = f"Energy of an image against rate-coded SNN and ANN, {PRICE_WORDS[price]}"
    return Artefact(name, title, [Table(caption, columns, rows)], figure, notes)


SHOWN = (("rate", PRINTED), ("ann", PRINTED), ("rate", EVERY), ("ann", EVERY), ("equal-accuracy", EVERY))
"""Rows of Fig. 11 for each network."""


def _printed_times(name: str, network: str, who: str) -> float | None:
    """What Fig. 11 says of VGG11; it names no number for another network."""
    return printed(name, f"over_{who}") if network == "vgg11-cifar100" else None


def _bar(found: dict[tuple[str, str], Total], who: str, count: str, price: str) -> Stat | None:
    return found[who, count].over(found["hire", count], price) if (who, count) in found else None


def _few_bits_notes(study: Study, found: dict[str, dict[tuple[str, str], Total]], price: str) -> list[str]:
    """Which of the two takes less, HIRE-SNN or the ANN with few bits; and where no few bits are as accurate."""
    less, missing = [], []
    for network, each in found.items():
        words, few = " on ".join(network_words(network)), each["equal-accuracy", EVERY]
        times, seeds = few.over(each["hire", EVERY], price), len(study.seeds_of(network))
        known = 0 if times is None else times.seeds
        if times is not None and times.mean < 1:
            less.append(f"{words} ({times.mean:.2f} times)")
        if known < seeds:
            missing.append(f"{words} in {seeds - known} of {seeds} seeds")
    notes = []
    if less:
        notes.append(f"Every operation counted, the ANN with few bits takes less than HIRE-SNN: {', '.join(less)}.")
    if missing:
        notes.append(f"No {BITS[0]} to {BITS[-1]} bits are as accurate as HIRE-SNN: {', '.join(missing)}.")
    return notes
