"""The same network in each library, with its neurons in each form, has the operations of ours."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from hiresnn import foreign
from hiresnn.analysis import count_operations
from hiresnn.network import spiking_graph

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
T = 4


def layers(neuron):
    """Weights are multiples of 1/8 and pixels of 1/4, so that every library computes exact membranes."""
    generator = torch.Generator().manual_seed(0)
    made = [
        nn.Conv2d(1, 4, 3, padding=1, bias=False), neuron(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 12),
        neuron(), nn.Linear(12, 3),
    ]  # fmt: skip
    for layer in made:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            for parameter in layer.parameters():
                parameter.data = torch.randint(-3, 6, parameter.shape, generator=generator) / 8
    return made


IMAGES = torch.randint(0, 5, (3, 1, 4, 4), generator=torch.Generator().manual_seed(1)) / 4


def same(carried, condition):
    own = spiking_graph(nn.Sequential(*layers(nn.ReLU)), T, reset="zero", condition=condition).eval()
    torch.testing.assert_close(carried(IMAGES), own(IMAGES), rtol=0, atol=1e-5)
    expected, found = count_operations(own, IMAGES), count_operations(carried, IMAGES)
    assert [layer.events > 0 for layer in found.layers] == [True] * 5 + [False]
    for here, there in zip(found.layers, expected.layers, strict=True):
        parameters = 0 if there.kind == "neurons" else there.parameters
        assert replace(here, name="", parameters=parameters) == replace(there, name="", parameters=parameters)


def test_spikingjelly_in_both_step_modes():
    pytest.importorskip("spikingjelly", exc_type=ImportError)
    from spikingjelly.activation_based import functional, layer, neuron

    def node():
        return neuron.IFNode(v_reset=0.0)

    same(foreign.spikingjelly(nn.Sequential(*layers(node)), T, readout="sum"), ">=")
    whole = layers(node)
    wrapped = nn.Sequential(
        layer.SeqToANNContainer(whole[0]), whole[1], layer.SeqToANNContainer(*whole[2:5]), whole[5], whole[6]
    )
    functional.set_step_mode(wrapped, "m")
    same(foreign.spikingjelly(wrapped, T, readout="sum"), ">=")
    own = [layer.Conv2d(1, 4, 3, padding=1, bias=False), layer.AvgPool2d(2), layer.Flatten(), layer.Linear(16, 12)]
    own[0].load_state_dict(whole[0].state_dict())
    own[3].load_state_dict(whole[4].state_dict())
    network = nn.Sequential(own[0], whole[1], own[1], own[2], own[3], whole[5], copy.deepcopy(whole[6]))
    functional.set_step_mode(network, "m")
    same(foreign.spikingjelly(network, T, readout="sum"), ">=")


@pytest.mark.parametrize("squeeze", [True, False])
def test_sinabs_in_both_forms(squeeze):
    pytest.importorskip("sinabs", exc_type=ImportError)
    from sinabs import activation
    from sinabs.layers import IAF, IAFSqueeze

    options: dict[str, Any] = {"spike_fn": activation.SingleSpike, "reset_fn": activation.MembraneReset()}
    if squeeze:
        made = layers(lambda: IAFSqueeze(num_timesteps=T, **options))
        same(foreign.sinabs(nn.Sequential(*made), T, readout="sum"), ">=")
        return
    made = layers(lambda: IAF(**options))

    class Folding(nn.Module):
        """Applies a layer to all timesteps at once."""

        def __init__(self, *inner):
            super().__init__()
            self.inner = nn.Sequential(*inner)

        def forward(self, x):
            out: torch.Tensor = self.inner(x.flatten(0, 1))
            return out.unflatten(0, x.shape[:2])

    network = nn.Sequential(Folding(made[0]), made[1], Folding(*made[2:5]), made[5], made[6])
    same(foreign.sinabs(network, T, readout="sum"), ">=")


def test_norse_cells():
    norse = pytest.importorskip("norse.torch", exc_type=ImportError)
    made = layers(lambda: norse.IAFCell(norse.IAFParameters(v_th=torch.tensor(1.0), v_reset=torch.tensor(0.0))))
    same(foreign.norse(norse.SequentialState(*made), T, readout="sum"), ">")
