"""Energies of one image from counted operations: the columns of Table 6, and the totals of Table 7 and Fig. 11."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hiresnn.analysis import PRICES, EnergyReport, LayerOperations, Prices
from reproduction.accuracy_page import Values
from reproduction.measurements import Measurement, Run, accuracy
from reproduction.page import Cell
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat

K = 1e3
"""Operations are shown in thousands, and energies in nanojoules, which are thousands of picojoules."""
BITS = range(1, 9)
"""Bits per activation that are tried for the quantised ANN."""
PRINTED, EVERY = "as printed", "every operation"
"""The two ways of counting."""
FP32, INT32 = PRICES["fp32"], PRICES["int32"]


COLUMNS: dict[str, Callable[[EnergyReport, LayerOperations], float]] = {
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


def row(found: Sequence[EnergyReport], place: int | None) -> list[Cell]:
    """The cells of one layer over seeds: its name, its kind of input, and COLUMNS; None is the sum over all layers."""
    chosen = slice(place, None if place is None else place + 1)
    cells: list[Cell] = ["total", ""]
    empty: tuple[str, ...] = ("zeta",)
    if place is not None:
        first = found[0].layers[place]
        cells, empty = [first.name, first.inputs if first.dense else ""], () if first.dense else AS_PRINTED
    for name, value in COLUMNS.items():
        stat = SeedStat.of(sum(value(report, layer) for layer in report.layers[chosen]) for report in found)
        cells.append(None if name in empty else stat)
    return cells


@dataclass(frozen=True)
class Total:
    """Energy of one image in picojoules.

    Attributes:
        pj: price list ("fp32", "int32") -> over seeds, NaN for a seed that has none; None where no seed has it.
        bits: bits per activation of a quantised ANN, over seeds as `pj`.
    """

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
    return found | ({"rate": counted(network, "rate")} if scale.is_rated(network) else {})


def total_needs(scale: Scale, network: str) -> list[Measurement]:
    """The measurements of `totals`."""
    return [*operations(scale, network).values(), _quantised(network), accuracy(network, "hire")]


Totals = dict[tuple[str, str], Total]
"""(A key of `energy.WHO`, PRINTED or EVERY) -> the total of one network."""


def totals(values: Values, network: str) -> Totals:
    """The totals of one network."""
    wanted, lines = operations(values.scale, network), Totals()
    for who, each in wanted.items():
        found, origins = reports(values, each), values.origins(each)
        if who != "training":  # Eq. 8 knows no images that change
            lines[who, PRINTED] = _total(found, EnergyReport.snn_printed, origins)
        lines[who, EVERY] = _total(found, EnergyReport.snn, origins)
    hire, origins = reports(values, wanted["hire"]), values.origins(wanted["hire"])
    return lines | {
        ("ann", PRINTED): _total(hire, EnergyReport.ann_printed, origins),
        ("ann", EVERY): _total(hire, EnergyReport.ann, origins),
        ("equal-levels", EVERY): _quantised_total(hire, [report.bits for report in hire], origins),
        ("equal-accuracy", EVERY): _quantised_total(hire, equal_bits(values, network), origins),
    }


def _total(
    found: Sequence[EnergyReport], energy: Callable[[EnergyReport, Prices], float], origins: Sequence[str]
) -> Total:
    pj: dict[str, SeedStat | None] = {
        name: SeedStat.of((energy(each, prices) for each in found), origins) for name, prices in PRICES.items()
    }
    return Total(pj)


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


def _quantised_total(found: Sequence[EnergyReport], bits: Sequence[int | None], origins: Sequence[str]) -> Total:
    """The total of an ANN with these bits per activation, one number per seed."""
    if all(each is None for each in bits):
        return Total(dict.fromkeys(PRICES))
    pj: dict[str, SeedStat | None] = {
        name: SeedStat.of((quantised_energy(*seed, prices) for seed in zip(found, bits, strict=True)), origins)
        for name, prices in PRICES.items()
    }
    return Total(pj, SeedStat.of(math.nan if each is None else each for each in bits))


def _quantised(network: str) -> Measurement:
    return Measurement("quantised-ann", network, "ann", grid=tuple(BITS))
