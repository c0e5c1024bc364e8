"""What a spiking network does and costs: activity (Definition 1), distance (Definition 2), energy (Eq. 7, 8).

Every measure is an accumulator: `update` adds a batch, `compute` answers for all images seen so far.
"""

from hiresnn.analysis.accuracy import evaluate
from hiresnn.analysis.activity import LayerActivity, SpikingActivity
from hiresnn.analysis.connectivity import Synapses, fan_out, synapses
from hiresnn.analysis.distance import Distances, PerturbationDistance, SpikeDistance
from hiresnn.analysis.energy import Energy, EnergyReport, direct_energy, rate_coded_energy
from hiresnn.analysis.memory import Traffic, ann_traffic, snn_traffic
from hiresnn.analysis.operations import LayerOperations
from hiresnn.analysis.prices import PRICES, Prices, equivalent_bits

__all__ = [
    "PRICES",
    "Distances",
    "Energy",
    "EnergyReport",
    "LayerActivity",
    "LayerOperations",
    "PerturbationDistance",
    "Prices",
    "SpikeDistance",
    "SpikingActivity",
    "Synapses",
    "Traffic",
    "ann_traffic",
    "direct_energy",
    "equivalent_bits",
    "evaluate",
    "fan_out",
    "rate_coded_energy",
    "snn_traffic",
    "synapses",
]
