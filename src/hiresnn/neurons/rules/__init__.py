"""Gradient rules: what an attacker may use as the derivative of a spike, per element or per layer."""

from hiresnn.neurons.rules.adaptive import ASSG, PDSG
from hiresnn.neurons.rules.layer_rules import BPTR, HART, HART_WIDTHS, RGA, Conversion, LayerPass, LayerRule, Unrolled
from hiresnn.neurons.rules.rules import Arctan, Erfc, Exponential, Rectangular, Sigmoid, StraightThrough, triangular
from hiresnn.neurons.rules.text import RULES, Rule, RuleInfo, canonical_rule, rule_from_text
from hiresnn.neurons.surrogate import Linear

__all__ = [
    "ASSG",
    "BPTR",
    "HART",
    "HART_WIDTHS",
    "PDSG",
    "RGA",
    "RULES",
    "Arctan",
    "Conversion",
    "Erfc",
    "Exponential",
    "LayerPass",
    "LayerRule",
    "Linear",
    "Rectangular",
    "Rule",
    "RuleInfo",
    "Sigmoid",
    "StraightThrough",
    "Unrolled",
    "canonical_rule",
    "rule_from_text",
    "triangular",
]
