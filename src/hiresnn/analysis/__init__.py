"""Accuracy, activity (Definition 1), distance (Definition 2), energy (Eq. 7, 8) and conversion error of a network.

Every measure is an accumulator: `update` adds a batch, `compute` returns the result for all images so far.
"""

from hiresnn.analysis.accuracy import corruption_accuracy, evaluate, mean_accuracy
from hiresnn.analysis.conversion import ConversionError, LayerError
from hiresnn.analysis.energy import PRICES, EnergyReport, LayerOperations, Prices, Traffic, equivalent_bits
from hiresnn.analysis.operations import Energy, ForeignEnergy, count_operations, energy_counter
from hiresnn.analysis.raster import spike_raster
from hiresnn.analysis.spikes import (
    Distances,
    LayerActivity,
    PerturbationDistance,
    SpikeDistance,
    SpikingActivity,
    recording,
    spike_rates,
)

__all__ = [
    "PRICES",
    "ConversionError",
    "Distances",
    "Energy",
    "EnergyReport",
    "ForeignEnergy",
    "LayerActivity",
    "LayerError",
    "LayerOperations",
    "PerturbationDistance",
    "Prices",
    "SpikeDistance",
    "SpikingActivity",
    "Traffic",
    "corruption_accuracy",
    "count_operations",
    "energy_counter",
    "equivalent_bits",
    "evaluate",
    "mean_accuracy",
    "recording",
    "spike_raster",
    "spike_rates",
]
