"""Tables 6 and 7 and Fig. 11 on operations that are easy to add up by hand."""

from dataclasses import asdict
from typing import Any

import pytest

from hiresnn.analysis import EnergyReport, LayerOperations
from reproduction.artefacts import needs
from reproduction.pages_cost import AS_PRINTED, EVERY, PRINTED, totals
from reproduction.paper import VGG11
from reproduction.results import Results
from reproduction.study import StoredValue

from .conftest import HERE, TWO_SEEDS, page

# As printed, FP32 and INT32: HIRE 1,000 MACs and 100 ACs; ANN 1,200 MACs; rate 3,000 + 100 ACs.
HIRE, ANN, RATE = (4690.0, 3210.0), (5520.0, 3840.0), (2790.0, 310.0)
# Every operation of HIRE: 900 MACs, 160 ACs, 80 multiplications; of the ANN: 1,100 MACs.
HIRE_EVERY, ANN_EVERY = (4140 + 144 + 296, 2880 + 16 + 248), (5060.0, 3520.0)


def report(*, zeta=0.5, acs=40.0, rate=False, timesteps=4):
    """A convolution on the image (direct) or on spikes (rate), neurons, a linear layer on spikes."""
    first = LayerOperations(
        name="conv1", kind="conv", inputs="spikes" if rate else "image", sources=10, units=20, dense=1000,
        connections=900, activity=3.0 if rate else 1.0, events=10.0, macs=0.0 if rate else 900.0,
        acs=2700.0 if rate else 0.0, multiplications=0.0, parameters=50, state_bytes=0,
    )  # fmt: skip
    neurons = LayerOperations(
        name="relu1", kind="neurons", inputs="current", sources=20, units=20, dense=0, connections=0, activity=0.0,
        events=40.0, macs=0.0, acs=120.0, multiplications=80.0, parameters=2, state_bytes=80,
    )  # fmt: skip
    last = LayerOperations(
        name="linear1", kind="linear", inputs="spikes", sources=20, units=10, dense=200, connections=200,
        activity=zeta, events=40.0, macs=0.0, acs=acs, multiplications=0.0, parameters=200, state_bytes=0,
    )  # fmt: skip
    return EnergyReport((first, neurons, last), timesteps)


def answer(wanted):
    """Operations by hand; an ANN that is as accurate as HIRE-SNN with 2 bits, and never on a ResNet."""
    if wanted.kind == "accuracy":
        return 50.0
    if wanted.kind == "quantised-ann":
        return [10.0] * 8 if wanted.network[0] == "r" else [10.0, *[60.0] * 7]
    zeta = 0.7 if wanted.attack and wanted.seed == 0 else 0.5
    made = report(rate=wanted.method == "rate", zeta=zeta)
    return {"timesteps": made.timesteps, "layers": [asdict(layer) for layer in made.layers]}


def found(network, answered=answer):
    records = {one: StoredValue(answered(one), HERE) for one in needs("table7", TWO_SEEDS)}
    return totals(Results(TWO_SEEDS, records))[network]


def pair(energy):
    return tuple(stat.mean for stat in energy.values() if stat is not None)


def test_a_layer_pays_for_its_image_for_its_spikes_or_for_its_neurons():
    table = page("table6", answer).tables[0]
    conv, neurons, linear, total = (
        {name: getattr(cell, "mean", cell) for name, cell in zip(table.columns, row, strict=True)} for row in table.rows
    )
    assert (conv["as printed FP32, nJ"], conv["FP32, nJ"]) == pytest.approx((4.6, 0.9 * 4.6))
    assert (linear["FL_SNN, k"], linear["as printed INT32, nJ"]) == pytest.approx((0.1, 0.01))  # 200 x 0.5
    assert [neurons[name] for name in AS_PRINTED] == [None] * 5
    assert neurons["FP32, nJ"] == pytest.approx((120 * 0.9 + 80 * 3.7) / 1000)
    assert (total["zeta"], total["as printed FP32, nJ"]) == (None, pytest.approx(4.6 + 0.09))


def test_totals_are_the_equations_of_the_paper_and_the_sum_of_all_operations():
    all_ = found(VGG11)
    assert pair(all_["hire", PRINTED]) == pytest.approx(HIRE)
    assert pair(all_["ann", PRINTED]) == pytest.approx(ANN)
    assert pair(all_["rate", PRINTED]) == pytest.approx(RATE)
    assert pair(all_["hire", EVERY]) == pytest.approx(HIRE_EVERY)
    assert pair(all_["ann", EVERY]) == pytest.approx(ANN_EVERY)
    # seeds 0.7 and 0.5: 140 and 100 ACs
    assert pair(all_["attacked", PRINTED]) == pytest.approx((4600 + 0.9 * 120, 3200 + 0.1 * 120))


def test_memory_is_words_times_the_price_of_a_word():
    rows: list[Any] = [row for row in page("table7", answer).tables[2].rows if row[0] == "VGG5"]
    assert [row[2] for row in rows] == ["HIRE-SNN", "ANN", "rate-coded SNN"]
    # weights 900 + 40, activations 2 x (10 + 40), membranes 2 x 4 steps x 20 neurons, 250 parameters
    reads, activations, membranes, parameters, state, on_chip, off_chip = rows[0][3:]
    counts = [cell.mean for cell in (reads, activations, membranes, parameters)]
    assert counts == pytest.approx([0.94, 0.1, 0.16, 0.25])
    assert state == 80 / 1024
    assert on_chip.mean == pytest.approx(5 * 1.2)
    assert off_chip.mean == pytest.approx(5 * 1.2 + 650 * 0.25)
