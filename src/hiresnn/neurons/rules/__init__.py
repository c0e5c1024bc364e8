"""Gradient rules: what an attacker may put for the derivative of a spike, element by element or layer by layer."""

from hiresnn.neurons.rules.adaptive import ASSG, PDSG
from hiresnn.neurons.rules.elementwise import (
    Arctan,
    Erfc,
    Exponential,
    Rectangular,
    Sigmoid,
    StraightThrough,
    triangular,
)
from hiresnn.neurons.rules.layer import LayerRule
from hiresnn.neurons.rules.rate import BPTR, RGA, Conversion
from hiresnn.neurons.rules.temporal import HART, HART_WIDTHS, Unrolled
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
