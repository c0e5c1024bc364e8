"""`snn.rounding`: a run that is trained with rounded weights is the network that `--as` audits."""

import pytest
import torch

from hiresnn.app.folder import MODEL
from hiresnn.app.networks import load
from hiresnn.app.recipe import override
from hiresnn.app.train import train
from hiresnn.exchange import deployed
from hiresnn.network import SpikingNetwork


def network_of(run):
    network = load(run / MODEL)
    assert isinstance(network, SpikingNetwork)
    return network


@pytest.mark.parametrize(
    "changes", [{"method": "hire"}, {"snn.average": "0.9"}, {"method": "converted"}, {"method": "rate"}]
)
@pytest.mark.parametrize("rounding", ["int4", "int8", "int4+shared-scale"])
def test_the_audited_view_is_the_rounding_that_was_trained_with(tiny, tmp_path, heard, rounding, changes):
    recipe = override(tiny, {**changes, "ann.epochs": "1", "snn.epochs": "1", "snn.rounding": rounding})
    network = network_of(train(recipe, out=tmp_path / "run", progress=heard))
    view = deployed(network, rounding)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), view.parameters(), strict=True))
    levels = 15 if rounding.startswith("int4") else 255
    weights = [value for name, value in network.named_parameters() if name.endswith("weight")]
    assert len(weights) == 6
    assert all(len(weight.unique()) <= levels for weight in weights)
    assert any(len(weight.unique()) > levels / 4 for weight in weights)


def test_a_recipe_without_rounding_keeps_its_key(tiny):
    assert "rounding" not in tiny.keyed()["snn"]
    recipe = override(tiny, {"snn.rounding": "int4"})
    assert recipe.keyed()["snn"]["rounding"] == "int4"
    assert override(recipe, {"snn.rounding": "none"}) == tiny
