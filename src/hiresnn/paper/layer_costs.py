"""What Table 6 says of a layer: FLOPs and energy as printed, and every operation that happens."""

from __future__ import annotations

from collections.abc import Callable

from hiresnn.analysis import PRICES, EnergyReport, LayerOperations, Prices
from hiresnn.paper.artefact import Cell
from hiresnn.paper.stat import Stat

K = 1e3
"""Operations are shown in thousands, energies in nanojoules, a thousand picojoules."""
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
"""Column -> what it holds of a layer."""
AS_PRINTED = tuple(COLUMNS)[:5]
"""Columns of the paper's formulas; empty where a layer has no weights."""


def layer_row(found: list[EnergyReport], place: int) -> list[Cell]:
    """The cells of one layer, over seeds: its name, what reaches it, and COLUMNS."""
    first = found[0].layers[place]
    cells: list[Cell] = [first.name, first.inputs if first.dense else ""]
    for name, value in COLUMNS.items():
        stat = Stat.of(value(report, report.layers[place]) for report in found)
        cells.append(None if name in AS_PRINTED and not first.dense else stat)
    return cells


def total_row(found: list[EnergyReport]) -> list[Cell]:
    """The sums over layers, over seeds."""
    cells: list[Cell] = ["total", ""]
    for name, value in COLUMNS.items():
        stat = Stat.of(sum(value(report, layer) for layer in report.layers) for report in found)
        cells.append(None if name == "zeta" else stat)
    return cells
