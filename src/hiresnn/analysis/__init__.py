"""Accuracy, activity (Definition 1), distance (Definition 2), energy (Eq. 7, 8) and conversion error of a network.

Every measure is an accumulator: `update` adds a batch, `compute` returns the result for all images so far.
"""

from hiresnn.analysis.accuracy import evaluate
from hiresnn.analysis.activity import LayerActivity, SpikingActivity, spike_rates
from hiresnn.analysis.conversion import ConversionError, LayerError
from hiresnn.analysis.distance import Distances, PerturbationDistance, SpikeDistance
from hiresnn.analysis.energy import Energy, EnergyReport, Traffic, count_operations
from hiresnn.analysis.operations import LayerOperations
from hiresnn.analysis.prices import PRICES, Prices, equivalent_bits

__all__ = [
    "PRICES",
    "ConversionError",
    "Distances",
    "Energy",
    "EnergyReport",
    "LayerActivity",
    "LayerError",
    "LayerOperations",
    "PerturbationDistance",
    "Prices",
    "SpikeDistance",
    "SpikingActivity",
    "Traffic",
    "count_operations",
    "equivalent_bits",
    "evaluate",
    "spike_rates",
]
