"""Options that neurons, rules and windows refuse, by the option that is wrong."""

import math

import pytest

from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Linear, Neuron, Window
from hiresnn.neurons.rules import (
    ASSG,
    HART,
    RGA,
    Arctan,
    Conversion,
    Erfc,
    Exponential,
    Rectangular,
    Sigmoid,
    triangular,
)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: LIF(0.0), "threshold"),
        (lambda: LIF(math.nan), "threshold"),
        (lambda: LIF(leak=1.5), "leak"),
        (lambda: Neuron(leak=-0.1), "leak"),
        (lambda: Neuron(v_init=1.0), "v_init"),
        (lambda: Neuron(reset="none"), "choose one of subtract, subtract-unleaked, zero"),
        (lambda: Neuron().changed(condition=">>"), "choose one of >, >="),
        (lambda: Neuron(surrogate="arctan"), "a surrogate itself"),
        (lambda: Linear(gamma=0.0), "gamma"),
        (lambda: Linear(width=math.nan), "width"),
        (lambda: triangular(0), "width"),
        (lambda: Arctan(0), "alpha"),
        (lambda: Sigmoid(-1), "k is -1"),
        (lambda: Exponential(height=-0.3), "height"),
        (lambda: Rectangular(math.nan), "width"),
        (lambda: Erfc(0), "sigma"),
        (lambda: HART(0), "width"),
        (lambda: HART(math.inf), "width is inf"),
        (lambda: RGA(1.5), "g is 1.5"),
        (lambda: Conversion(0), "ceiling"),
        (lambda: ASSG(vanishing=1.0), "vanishing"),
        (lambda: ASSG(relax=-1.0), "relax"),
        (lambda: ASSG(decay=1.0), "decay"),
        (lambda: ASSG(start=-1.0), "start"),
        (lambda: Window(0, 2), "timesteps"),
    ],
)
def test_options_out_of_range_are_refused(make, word):
    with pytest.raises(UsageError, match=word):
        make()
