"""Spiking neurons: Eq. 1 and 2, their surrogate gradient (Eq. 5), gradient rules, and a window of timesteps."""

from hiresnn.neurons.compiled import can_fuse
from hiresnn.neurons.layer import LIF, MIN_THRESHOLD, Neuron, Window
from hiresnn.neurons.lif import CONDITIONS, RESETS, Condition, Reset
from hiresnn.neurons.rules import RULES, LayerRule, Linear, Rule, Surrogate, gradient_rule, takes_rule

__all__ = [
    "CONDITIONS",
    "LIF",
    "MIN_THRESHOLD",
    "RESETS",
    "RULES",
    "Condition",
    "LayerRule",
    "Linear",
    "Neuron",
    "Reset",
    "Rule",
    "Surrogate",
    "Window",
    "can_fuse",
    "gradient_rule",
    "takes_rule",
]
