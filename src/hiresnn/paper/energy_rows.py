"""Energies of one image from counted operations: the columns of Table 6, and the totals of Table 7 and Fig. 11."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hiresnn.analysis import PRICES, EnergyReport, LayerOperations, Prices
from hiresnn.paper.accuracy_page import Values
from hiresnn.paper.accuracy_tables import methods_of
from hiresnn.paper.measurements import Measurement, Run, accuracy
from hiresnn.paper.page import Cell
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat

K = 1e3
"""Operations are shown in thousands, and energies in nanojoules, which are thousands of picojoules."""
BITS = range(1, 9)
"""Bits per activation that are tried for the quantised ANN."""
PRINTED, EVERY = "as printed", "every operation"
"""The two ways of counting."""
FP32, INT32 = PRICES["fp32"], PRICES["int32"]


def _printed_pj(layer: LayerOperations, prices: Prices) -> float:
    return layer.flops_snn * (prices.mac if layer.inputs == "image" else prices.ac)


COLUMNS: dict[str, Callable[[EnergyReport, LayerOperations], float]] = {
    "FL_ANN, k": lambda report, layer: layer.dense / K,
    "zeta": lambda report, layer: layer.activity,
    "FL_SNN, k": lambda report, layer: layer.flops_snn / K,
    "as printed FP32, nJ": lambda report, layer: _printed_pj(layer, FP32) / K,
    "as printed INT32, nJ": lambda report, layer: _printed_pj(layer, INT32) / K,
    "connections, k": lambda report, layer: layer.connections / K,
    "MACs, k": lambda report, layer: layer.macs / K,
    "ACs, k": lambda report, layer: layer.acs / K,
    "multiplications, k": lambda report, layer: layer.multiplications / K,
    "FP32, nJ": lambda report, layer: report.layer_energy(layer, FP32) / K,
    "INT32, nJ": lambda report, layer: report.layer_energy(layer, INT32) / K,
}
"""Column of Table 6 -> its value for a layer."""
AS_PRINTED = tuple(COLUMNS)[:5]
"""Columns of the paper's formulas; empty for a layer without weights."""


def counted(network: str, method: str, attack: str | None = None, variants: int = 1) -> Measurement:
    """The operations of an image that changes `variants` times within T."""
    return Measurement("operations", network, method, attack=attack, grid=(variants,))


def reports(values: Values, measurement: Measurement) -> list[EnergyReport]:
    """The energy report of each seed."""
    return [
        EnergyReport(tuple(LayerOperations(**layer) for layer in each["layers"]), each["timesteps"])
        for each in values.all(measurement)
    ]


def layer_row(found: Sequence[EnergyReport], place: int) -> list[Cell]:
    """The cells of one layer over seeds: its name, its kind of input, and COLUMNS."""
    first = found[0].layers[place]
    cells: list[Cell] = [first.name, first.inputs if first.dense else ""]
    for name, value in COLUMNS.items():
        stat = SeedStat.of(value(report, report.layers[place]) for report in found)
        cells.append(None if name in AS_PRINTED and not first.dense else stat)
    return cells


def total_row(found: Sequence[EnergyReport]) -> list[Cell]:
    """The sums over the layers, over seeds."""
    cells: list[Cell] = ["total", ""]
    for name, value in COLUMNS.items():
        stat = SeedStat.of(sum(value(report, layer) for layer in report.layers) for report in found)
        cells.append(None if name == "zeta" else stat)
    return cells


@dataclass(frozen=True)
class Total:
    """Energy of one image in picojoules.

    Attributes:
        who: a key of `energy.WHO`.
        count: PRINTED or EVERY.
        pj: price list ("fp32", "int32") -> over seeds, NaN for a seed that has none; None where no seed has it.
        bits: bits per activation of a quantised ANN, over seeds as `pj`.
    """

    who: str
    count: str
    pj: dict[str, SeedStat | None]
    bits: SeedStat | None = None

    def over(self, other: Total, price: str) -> SeedStat | None:
        """How many times the energy of `other` this is, seed by seed over the first seeds, which both have."""
        ours, theirs = self.pj[price], other.pj[price]
        return None if ours is None or theirs is None else ours.over(theirs)


def operations(scale: Scale, network: str) -> dict[str, Measurement]:
    """Whose operations are counted -> the measurement; "rate" where the paper has a rate-coded network."""
    periods = scale.recipe(Run(network, "hire", 0)).noise.periods
    found = {
        "hire": counted(network, "hire"),
        "attacked": counted(network, "hire", attack="pgd"),
        "training": counted(network, "hire", variants=periods),
    }
    return found | ({"rate": counted(network, "rate")} if "rate" in methods_of(scale, network) else {})


def total_needs(scale: Scale, network: str) -> list[Measurement]:
    """The measurements of `totals`."""
    return [*operations(scale, network).values(), _quantised(network), accuracy(network, "hire")]


def totals(values: Values, network: str) -> dict[tuple[str, str], Total]:
    """(who, count) -> the total of one network."""
    found = {who: reports(values, each) for who, each in operations(values.scale, network).items()}
    hire, lines = found["hire"], []
    for who, each in found.items():
        if who != "training":  # Eq. 8 knows no images that change
            lines.append(_total(who, PRINTED, each, EnergyReport.snn_printed))
        lines.append(_total(who, EVERY, each, EnergyReport.snn))
    lines += [
        _total("ann", PRINTED, hire, EnergyReport.ann_printed),
        _total("ann", EVERY, hire, EnergyReport.ann),
        _quantised_total("equal-levels", hire, [report.bits for report in hire]),
        _quantised_total("equal-accuracy", hire, equal_bits(values, network)),
    ]
    return {(total.who, total.count): total for total in lines}


def _total(
    who: str, count: str, found: Sequence[EnergyReport], energy: Callable[[EnergyReport, Prices], float]
) -> Total:
    return Total(
        who, count, {name: SeedStat.of(energy(each, prices) for each in found) for name, prices in PRICES.items()}
    )


def equal_bits(values: Values, network: str) -> list[int | None]:
    """For each seed, the fewest bits with which the ANN is at least as accurate as HIRE-SNN; None if no BITS are."""
    seeds = zip(values.all(_quantised(network)), values.all(accuracy(network, "hire")), strict=True)
    return [
        next((bits for bits, percent in zip(BITS, found, strict=True) if percent >= wanted), None)
        for found, wanted in seeds
    ]


def quantised_energy(report: EnergyReport, bits: int | None, prices: Prices) -> float:
    """Picojoules of the ANN with activations of `bits` bits and the image in full; NaN for no bits."""
    # The report prices an ANN of as many bits as its T needs, and 2^b - 1 steps need b.
    return math.nan if bits is None else replace(report, timesteps=2**bits - 1).quantised_ann(prices)


def _quantised_total(who: str, found: Sequence[EnergyReport], bits: Sequence[int | None]) -> Total:
    """The total of an ANN with these bits per activation, one number per seed."""
    if all(each is None for each in bits):
        return Total(who, EVERY, dict.fromkeys(PRICES))
    pj: dict[str, SeedStat | None] = {
        name: SeedStat.of(quantised_energy(*seed, prices) for seed in zip(found, bits, strict=True))
        for name, prices in PRICES.items()
    }
    return Total(who, EVERY, pj, SeedStat.of(math.nan if each is None else each for each in bits))


def _quantised(network: str) -> Measurement:
    return Measurement("quantised-ann", network, "ann", grid=tuple(BITS))
