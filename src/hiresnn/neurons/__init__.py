"""What a spike is: the LIF neuron (Eq. 1, 2), its surrogate gradient (Eq. 5), and a window of timesteps."""

from hiresnn.neurons.lif import LIF, MIN_THRESHOLD
from hiresnn.neurons.rules import RULES, LayerRule, Rule
from hiresnn.neurons.scan import RESETS, Reset, can_fuse
from hiresnn.neurons.surrogate import Linear, Surrogate, gradient_rule, takes_rule
from hiresnn.neurons.window import Window

__all__ = [
    "LIF",
    "MIN_THRESHOLD",
    "RESETS",
    "RULES",
    "LayerRule",
    "Linear",
    "Reset",
    "Rule",
    "Surrogate",
    "Window",
    "can_fuse",
    "gradient_rule",
    "takes_rule",
]
