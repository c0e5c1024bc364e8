"""Gradient rules: what an attacker may put for the derivative of a spike, element by element or layer by layer."""

from __future__ import annotations

from collections.abc import Callable

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
from hiresnn.neurons.surrogate import Linear, Surrogate

Rule = Surrogate | LayerRule
"""What `gradient_rule` takes."""

RULES: dict[str, Callable[..., Rule]] = {
    "linear": Linear,
    "triangular": triangular,
    "arctan": Arctan,
    "sigmoid": Sigmoid,
    "exponential": Exponential,
    "rectangular": Rectangular,
    "erfc": Erfc,
    "straight-through": StraightThrough,
    "unrolled": Unrolled,
    "bptr": BPTR,
    "rga": RGA,
    "conversion": Conversion,
    "hart": HART,
    "assg": ASSG,
    "pdsg": PDSG,
}
"""Name -> what makes the rule, with its published defaults."""

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
    "Sigmoid",
    "StraightThrough",
    "Unrolled",
    "triangular",
]
