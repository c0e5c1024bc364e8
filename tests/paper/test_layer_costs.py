"""The columns of Table 6 on layers that are given."""

import pytest

from hiresnn.analysis import PRICES
from hiresnn.paper.layer_costs import AS_PRINTED, COLUMNS, layer_row, total_row

from .given import report


def cells(row: list[object]) -> dict[str, object]:
    """Column -> mean over seeds, or what else stands there."""
    return {name: getattr(cell, "mean", cell) for name, cell in zip(("layer", "input", *COLUMNS), row, strict=True)}


def test_a_layer_on_the_image_pays_macs_as_printed() -> None:
    found = cells(layer_row([report()], 0))
    assert (found["layer"], found["input"]) == ("conv1", "image")
    assert (found["FL_ANN, k"], found["zeta"], found["FL_SNN, k"]) == (1.0, 1.0, 1.0)
    assert found["as printed FP32, nJ"] == pytest.approx(4.6)  # 1,000 MACs
    assert found["as printed INT32, nJ"] == pytest.approx(3.2)
    assert found["FP32, nJ"] == pytest.approx(0.9 * 4.6)  # 900 connections that exist


def test_a_layer_on_spikes_pays_acs_for_its_activity() -> None:
    found = cells(layer_row([report()], 2))
    assert found["FL_SNN, k"] == pytest.approx(0.1)  # 200 x 0.5
    assert found["as printed FP32, nJ"] == pytest.approx(0.09)
    assert found["as printed INT32, nJ"] == pytest.approx(0.01)


def test_neurons_have_no_printed_cost_but_a_real_one() -> None:
    found = cells(layer_row([report()], 1))
    assert [found[name] for name in AS_PRINTED] == [None] * 5
    assert found["input"] == ""
    assert found["FP32, nJ"] == pytest.approx((120 * 0.9 + 80 * 3.7) / 1000)
    assert found["INT32, nJ"] == pytest.approx((120 * 0.1 + 80 * 3.1) / 1000)


def test_a_row_is_over_seeds() -> None:
    row = layer_row([report(zeta=0.5), report(zeta=0.7)], 2)
    zeta = row[2 + list(COLUMNS).index("zeta")]
    assert zeta.mean == pytest.approx(0.6)  # type: ignore[union-attr]
    assert zeta.deviation == pytest.approx(0.2 / 2**0.5)  # type: ignore[union-attr]


def test_the_total_is_the_sum_of_the_layers() -> None:
    found = cells(total_row([report()]))
    assert found["zeta"] is None
    assert found["FL_ANN, k"] == pytest.approx(1.2)
    assert found["FL_SNN, k"] == pytest.approx(1.1)
    assert found["as printed FP32, nJ"] * 1000 == pytest.approx(1000 * 4.6 + 100 * 0.9)  # type: ignore[operator]
    assert found["as printed FP32, nJ"] * 1000 == pytest.approx(report().snn_printed(PRICES["fp32"]))  # type: ignore[operator]
    assert found["FP32, nJ"] * 1000 == pytest.approx(report().snn(PRICES["fp32"]))  # type: ignore[operator]
