"""Tables 6 and 7 and Fig. 11, energy of inference; Fig. 7, memory and time of training.

Energy is counted twice: as the paper prints it (Table 6, Eq. 7, 8), and with every operation that happens, see
docs/analysis.md. All of it is estimated arithmetic energy of the inference of one image at 45 nm.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from hiresnn.analysis import PRICES, EnergyReport, LayerOperations, Prices
from hiresnn.analysis.energy import DRAM_WORD_PJ, SRAM_WORD_PJ
from reproduction import figures
from reproduction.cost import WARM_BATCHES
from reproduction.page import OPEN, UNCLEAR, Cell, Claim, Page, Table, beside_paper, verdict
from reproduction.paper import (
    CLAIMS,
    LABELS,
    VGG5,
    VGG11,
    Run,
    Scale,
    left_out,
    network_label,
    network_labels,
    printed,
    section,
    text,
)
from reproduction.results import Results, accuracy, compared
from reproduction.statistics import SeedStat, one_decimal
from reproduction.study import Measurement

K = 1e3  # operations are shown in thousands, and energies in nanojoules, which are thousands of picojoules
BITS = range(1, 9)  # bits per activation that are tried for the quantised ANN
PRINTED, EVERY = "as printed", "every operation"  # the two ways of counting
PRICE_LABELS: dict[str, str] = section("energy.prices")
WHO: dict[str, str] = section("energy.who")
FIG11_ROWS = (("rate", PRINTED), ("ann", PRINTED), ("rate", EVERY), ("ann", EVERY), ("equal-accuracy", EVERY))
FP32, INT32 = PRICES["fp32"], PRICES["int32"]
TOTAL_COLUMNS, MEMORY_COLUMNS = section("table7.total_columns"), section("table7.memory_columns")
TRAFFIC = ("weight_reads", "activations", "membranes", "weights", "on_chip_pj", "off_chip_pj")
"""Attributes of `hiresnn.analysis.Traffic`, in the order of MEMORY_COLUMNS."""
LAYER_COLUMNS: dict[str, Callable[[EnergyReport, LayerOperations], float]] = {
    "FL_ANN, k": lambda report, layer: layer.dense / K,
    "zeta": lambda report, layer: layer.activity,
    "FL_SNN, k": lambda report, layer: layer.flops_snn / K,
    "as printed FP32, nJ": lambda report, layer: replace(report, layers=(layer,)).snn_printed(FP32) / K,
    "as printed INT32, nJ": lambda report, layer: replace(report, layers=(layer,)).snn_printed(INT32) / K,
    "connections, k": lambda report, layer: layer.connections / K,
    "MACs, k": lambda report, layer: layer.macs / K,
    "ACs, k": lambda report, layer: layer.acs / K,
    "multiplications, k": lambda report, layer: layer.multiplications / K,
    "FP32, nJ": lambda report, layer: report.layer_energy(layer, FP32) / K,
    "INT32, nJ": lambda report, layer: report.layer_energy(layer, INT32) / K,
}
"""Column of Table 6 -> its value for a layer."""
AS_PRINTED = tuple(LAYER_COLUMNS)[:5]  # columns of the paper's formulas; empty for a layer without weights

Reports = list[EnergyReport]  # the energy report of each seed
Energy = dict[str, SeedStat | None]
"""Picojoules of one image by price list, NaN for a seed that has none, and "bits" per activation of a quantised ANN."""
Totals = dict[tuple[str, str], Energy]  # (A key of WHO, PRINTED or EVERY) -> the energy of one network


def networks_with(scale: Scale) -> tuple[str, ...]:
    """The networks whose energy is counted: those of the paper's Table 1 that the scale has."""
    return scale.some(network for network in scale.networks if network in CLAIMS["table1"])


def counted(network: str, method: str, attack: str | None = None, variants: int = 1) -> Measurement:
    """The operations of an image that changes `variants` times within T."""
    return Measurement("operations", network, method, attack=attack, grid=(variants,))


def reports(results: Results, measurements: Iterable[Measurement]) -> list[Reports]:
    """The energy reports of each measurement."""
    return [
        [EnergyReport(tuple(LayerOperations(**layer) for layer in one["layers"]), one["timesteps"]) for one in seeds]
        for seeds in results.all(*measurements)
    ]


def table6(results: Results) -> Page:
    """Operations and energy of every layer."""
    scale = results.scale
    measured = [counted(name, method) for name in networks_with(scale) for method in _methods(scale, name)]
    tables = []
    for one, seeds in zip(measured, reports(results, measured), strict=True):
        rows = [_layer_row(seeds, number) for number in (*range(len(seeds[0].layers)), None)]
        caption = f"{network_label(one.network)}, {LABELS[one.method]}, T = {seeds[0].timesteps}."
        tables.append(Table(caption, ["layer", "input", *LAYER_COLUMNS], rows))
    return _page(results, tables, [text("table6.formulas")], [])


def _methods(scale: Scale, network: str) -> tuple[str, ...]:
    return ("hire", "rate") if scale.is_rated(network) else ("hire",)


def _layer_row(seeds: Reports, number: int | None) -> list[Cell]:
    """The cells of one layer over seeds: its name, its kind of input, and LAYER_COLUMNS; None sums all layers."""
    chosen = slice(number, None if number is None else number + 1)
    cells: list[Cell] = ["total", ""]
    empty: tuple[str, ...] = ("zeta",)
    if number is not None:
        first = seeds[0].layers[number]
        cells, empty = [first.name, first.inputs if first.dense else ""], () if first.dense else AS_PRINTED
    for name, value in LAYER_COLUMNS.items():
        stat = SeedStat.of(sum(value(report, layer) for layer in report.layers[chosen]) for report in seeds)
        cells.append(None if name in empty else stat)
    return cells


def totals(results: Results) -> dict[str, Totals]:
    """The totals of each network."""
    scale, measured = results.scale, {}
    for network in networks_with(scale):
        operations = {
            "hire": counted(network, "hire"),
            "attacked": counted(network, "hire", attack="pgd"),
            "training": counted(network, "hire", variants=scale.recipe(Run(network, "hire")).noise.periods),
        }
        if scale.is_rated(network):
            operations["rate"] = counted(network, "rate")
        quantised = Measurement("quantised-ann", network, "ann", grid=tuple(BITS))
        measured[network] = operations, (quantised, accuracy(network, "hire"))
    results.all(*(one for operations, others in measured.values() for one in (*operations.values(), *others)))
    return {network: _totals(results, *measurements) for network, measurements in measured.items()}


def _totals(results: Results, operations: dict[str, Measurement], others: Sequence[Measurement]) -> Totals:
    seeds = dict(zip(operations, reports(results, operations.values()), strict=True))

    def energies(who: str, energy: Callable[..., float], *per_seed: Sequence[int | None]) -> Energy:
        """By `energy(report, *of the seed, prices)`."""
        origins, rows = results.origins(operations[who]), list(zip(seeds[who], *per_seed, strict=True))
        return {name: SeedStat.of((energy(*row, prices) for row in rows), origins) for name, prices in PRICES.items()}

    def few_bits(bits: Sequence[int | None]) -> Energy:
        """An ANN with these bits per activation, one number per seed."""
        if not any(bits):
            return {}
        numbers = SeedStat.of(math.nan if number is None else number for number in bits)
        return {**energies("hire", quantised_energy, bits), "bits": numbers}

    lines: Totals = {}
    for who in seeds:
        if who != "training":  # Eq. 8 knows no images that change
            lines[who, PRINTED] = energies(who, EnergyReport.snn_printed)
        lines[who, EVERY] = energies(who, EnergyReport.snn)
    # the fewest bits with which the ANN is at least as accurate as HIRE-SNN
    enough = [
        next((bits for bits, value in zip(BITS, percent, strict=True) if value >= target), None)
        for percent, target in zip(*results.all(*others), strict=True)
    ]
    return lines | {
        ("ann", PRINTED): energies("hire", EnergyReport.ann_printed),
        ("ann", EVERY): energies("hire", EnergyReport.ann),
        ("equal-levels", EVERY): few_bits([report.bits for report in seeds["hire"]]),
        ("equal-accuracy", EVERY): few_bits(enough),
    }


def quantised_energy(report: EnergyReport, bits: int | None, prices: Prices) -> float:
    """Picojoules of the ANN with activations of `bits` bits and the image in full; NaN for no bits."""
    # The report prices an ANN of as many bits as its T needs, and 2^b - 1 steps need b.
    return math.nan if bits is None else replace(report, timesteps=2**bits - 1).quantised_ann(prices)


def _times(totals: Totals, who: str, count: str, price: str) -> SeedStat | None:
    """Energy as a multiple of that of HIRE-SNN in the same count; None where it is not counted or has no price.

    Also None where the two were measured on different trainings of their networks (`SeedStat.over`).
    """
    ours, theirs = totals.get((who, count), {}).get(price), totals["hire", count][price]
    times = ours and theirs and ours.over(theirs)
    return times if times and times.known else None


def table7(results: Results) -> Page:
    """Prices beside the paper's, totals of every network in both counts, and what memory would add."""
    energies: list[list[Cell]] = []
    memory: list[list[Cell]] = []
    for network, lines in totals(results).items():
        for (who, count), energy in lines.items():
            picojoules = [energy.get(price) for price in PRICES]
            nanojoules = [stat and stat.map(lambda pj: pj / K) for stat in picojoules]
            times = [_times(lines, who, count, price) for price in PRICES]
            energies.append([*network_labels(network), WHO[who], count, energy.get("bits"), *nanojoules, *times])
        memory += _memory_rows(results, network)
    prices: list[list[Cell]] = []
    for number, (key, operation) in enumerate(section("energy.operations").items(), start=1):
        prices.append([f"{number}. 32-bit {operation}"])
        for name in ("int32", "fp32"):
            mult, add, mac, ac = (*PRICES[name], PRICES[name].mac, PRICES[name].ac)
            ours = {"mult": mult, "add": add, "mac": mac, "ac": ac}[key]
            prices[-1] += compared(printed("table7", name, key), round(ours, 6))
    tables = [
        Table(text("table7.prices"), ["operation", *beside_paper("INT32", "FP32")], prices),
        Table(text("table7.totals"), TOTAL_COLUMNS, energies),
        Table(text("table7.memory"), MEMORY_COLUMNS, memory),
    ]
    quantised = text("table7.quantised", first=BITS[0], last=BITS[-1])
    words = text("table7.words", sram=SRAM_WORD_PJ, dram=DRAM_WORD_PJ)
    return _page(results, tables, [], [text("table7.training"), quantised, words])


def _memory_rows(results: Results, network: str) -> list[list[Cell]]:
    methods = _methods(results.scale, network)
    seeds = dict(zip(methods, reports(results, [counted(network, method) for method in methods]), strict=True))
    rows = []
    for who in ("hire", "ann", *methods[1:]):
        one = seeds["hire" if who == "ann" else who]
        traffics = [report.ann_traffic() if who == "ann" else report.snn_traffic() for report in one]
        cells: list[Cell] = [SeedStat.of(getattr(traffic, name) / K for traffic in traffics) for name in TRAFFIC]
        state = 0.0 if who == "ann" else one[0].state_bytes / 1024
        rows.append([*network_labels(network), WHO[who], *cells[:4], state, *cells[4:]])
    return rows


def fig11(results: Results, price: str) -> Page:
    """Energies at one price list as multiples of HIRE-SNN's."""
    name, networks = {"fp32": "fig11a", "int32": "fig11b"}[price], totals(results)
    # what Fig. 11 says of VGG11; it prints no number for another network
    paper = {(VGG11, who): printed(name, f"over_{who}") for who in WHO}
    claims, rows = [], []
    for network, lines in networks.items():
        for who, count in FIG11_ROWS:
            if (who, count) in lines:
                ours, theirs = _times(lines, who, count, price), paper.get((network, who))
                cells = compared(theirs if count == PRINTED else None, ours)
                rows.append([*network_labels(network), WHO[who], count, *cells])
                if theirs is not None and ours is not None:
                    claim = _cheaper(network, who, count, price, theirs, ours)
                    counts = who != "rate" or results.scale.counts_rate(network)
                    claims.append(replace(claim, counted=counts))
    columns = ["model", "data set", "network", "count", *beside_paper("times")]
    table = Table(text("fig11.caption", price=PRICE_LABELS[price]), columns, rows)
    notes, draw = _few_bits_notes(results.scale, networks, price), partial(_draw, networks, paper, price)
    return _page(results, [table], [], notes, figure=draw, claims=claims)


def _cheaper(network: str, who: str, count: str, price: str, theirs: float, ours: SeedStat) -> Claim:
    """The claim that HIRE-SNN needs less energy than another network, judged in one of the two counts."""
    claim = text("fig11.claim", who=WHO[who], times=theirs, price=PRICE_LABELS[price])
    of, numbers = f"{network_label(network)}, {count}", f"{one_decimal(ours.mean)} times"
    source = "abstract, sec. 5.4, 6" if (who, price) == ("rate", "fp32") else "sec. 5.4"
    low, high = ours.limits
    result = UNCLEAR if low <= 1 <= high else verdict(low > 1)
    paper = theirs if count == PRINTED else None
    return Claim(claim, result, numbers, of, source, paper, ours)


def _few_bits_notes(scale: Scale, networks: dict[str, Totals], price: str) -> list[str]:
    """Where the quantised ANN needs less energy than HIRE-SNN, and where none is as accurate."""
    less, missing = [], []
    for network, lines in networks.items():
        times, seeds = _times(lines, "equal-accuracy", EVERY, price), len(scale.seeds_of(network))
        if times is not None and times.mean < 1:
            less.append(f"{network_label(network)} ({times.mean:.2f} times)")
        if (known := 0 if times is None else times.seeds) < seeds:
            missing.append(f"{network_label(network)} in {seeds - known} of {seeds} seeds")
    notes = [text("fig11.less", networks=", ".join(less))] if less else []
    if missing:
        notes.append(text("fig11.none", first=BITS[0], last=BITS[-1], networks=", ".join(missing)))
    return notes


def _draw(networks: dict[str, Totals], paper: Mapping[tuple[str, str], float | None], price: str) -> Figure:
    styles = {
        "hire": figures.STYLES["hire"].named(WHO["hire"]),
        "rate": figures.STYLES["rate"],
        "ann": figures.STYLES["ann"],
        "equal-accuracy": figures.Style("ANN, few bits, as accurate", "#009E73", hatch="xxxx"),
    }
    groups = [" / ".join(network_labels(network)) for network in networks]
    drawing, panels = figures.figure(2, 1, height=4.6, share_y=True)
    for number, (axes, count) in enumerate(zip(panels, (PRINTED, EVERY), strict=True), start=1):
        present = [who for who in styles if count == EVERY or who != "equal-accuracy"]
        series = [(styles[who], [_times(lines, who, count, price) for lines in networks.values()]) for who in present]
        stars = [[paper.get((network, who)) for network in networks] for who in present]
        figures.bars(axes, groups, series, paper=() if count == EVERY else stars, digits=2)
        figures.logarithmic(axes, "y")
        axes.margins(y=0.15)
        figures.label(axes, x="", y=f"energy, {PRICE_LABELS[price]}\n(HIRE-SNN = 1)", title=count, panel=number)
    figures.outside(drawing, columns=5)
    return drawing


def _page(results: Results, tables: list[Table], before: list[str], after: list[str], **about: Any) -> Page:
    """A page with the notes that all pages about energy share, and its own before and after them."""
    networks, notes = networks_with(results.scale), [*before, text("energy.counts"), text("energy.estimate"), *after]
    images = results.scale.analysed_label(networks)
    return results.page(networks, tables, notes, rated=True, lacking=CLAIMS["table1"], images=images, **about)


# Fig. 7: a training batch

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
    batch = scale.cost_recipe(Run(networks[0], "hire")).snn.batch_size
    costs = ["model", "data set", "method", "peak memory, MiB", "time per batch, ms", "processor time, ms"]
    ratio_rows = [
        [*network_labels(network), *(one.map(lambda times: 100 * times) for one in ratio)]
        for network, ratio in ratios.items()
    ]
    tables = [
        Table(text("fig7.costs", batch=batch), costs, rows),
        Table(text("fig7.ratios"), ["model", "data set", "memory", "time", "processor time"], ratio_rows),
    ]
    less, source = 100 * paper["memory_saving_max"], "abstract, sec. 5.2, 6"
    each_time = ", ".join(f"{network_labels(network)[0]} {percent:+.1f} %" for network, percent in extra.items())
    saves, no_more = verdict(None if saving is None else saving > 0), verdict(longest <= SLACK)
    if batch != paper["batch_size"]:  # both depend on it: small batches wait for the start of operations
        saves = no_more = OPEN
        numbers, each_time = (text("fig7.batch", found=found, batch=batch) for found in (numbers, each_time))
    claims = [
        Claim(text("fig7.less"), saves, numbers, "", "sec. 5.2", less, saving),
        Claim(text("fig7.no_more"), no_more, each_time, "", source, 100 * paper["extra_time"], longest),
    ]
    machines = "; ".join(dict.fromkeys(_machine(cost) for seeds in measured.values() for cost in seeds))
    memory = "resident memory of the process" if first["device"] == "cpu" else "GPU memory in tensors"
    notes = [
        *scale.setting_notes(networks, rated=False),
        text("fig7.process", scale=scale.name, warm=WARM_BATCHES, machines=machines, batches=first["batches"]),
        text("fig7.memory", memory=memory),
        *([text("fig7.small")] if first["peak_bytes"] < SMALL else []),
        text("fig7.random"),
        text("fig7.paper"),
        *left_out(NETWORKS, networks),
    ]
    draw = partial(_draw_ratios, ratios, timed, paper["memory_saving_max"])
    return Page(tables, draw, notes, networks, claims, text("fig7.images", batch=batch))


def _machine(cost: dict[str, Any]) -> str:
    return f"{cost['processor']}, {cost['threads']} threads"


def _draw_ratios(ratios: Ratios, timed: int, saving: float) -> Figure:
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
