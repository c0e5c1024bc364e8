"""Modules of stateful libraries outside an adapter are refused by name, with the line that wraps them."""

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled, once, require_adapter, spikingjelly

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


def module_of(library, *methods, name="Neuron"):
    """A module whose class pretends to come from `library`, with these methods."""
    return type(name, (nn.Identity,), {"__module__": f"{library}.neuron", **dict.fromkeys(methods, print)})()


@pytest.mark.parametrize(
    ("library", "method"), [("spikingjelly", "reset"), ("snntorch", "reset_mem"), ("sinabs", "reset_states")]
)
def test_a_stateful_module_is_named_with_its_layer_and_the_adapter(library, method):
    network = nn.Sequential(nn.Flatten(), nn.Sequential(module_of(library, method)))
    message = rf"{library}\.neuron\.Neuron \(layer '1\.0'\).*hiresnn\.foreign\.{library}\(network, timesteps=\.\.\.\)"
    with pytest.raises(UsageError, match=message):
        require_adapter(network)


def test_a_class_derived_from_a_foreign_neuron_is_refused_too():
    own = type("Mine", (type(module_of("spikingjelly", "reset")),), {"__module__": "user"})
    with pytest.raises(UsageError, match=r"user\.Mine.*foreign\.spikingjelly"):
        require_adapter(nn.Sequential(own()))


@pytest.mark.parametrize("library", ["lava", "bindsnet", "brian2"])
def test_a_library_without_an_adapter_is_named_with_the_general_one(library):
    with pytest.raises(UsageError, match=rf"foreign\.Unrolled.*library='{library}'.*no adapter"):
        require_adapter(nn.Sequential(module_of(library)))


def test_modules_without_state_are_accepted():
    require_adapter(nn.Sequential(nn.Linear(2, 2), module_of("spikingjelly"), module_of("sinabs")))
    require_adapter(lambda images: images)


def test_norse_is_refused_only_where_its_state_is_returned_to_the_caller():
    with pytest.raises(UsageError, match=r"returns its state.*foreign\.norse\(network"):
        require_adapter(module_of("norse"))
    require_adapter(nn.Sequential(module_of("norse")))


def test_networks_inside_an_adapter_are_accepted():
    neuron = module_of("snntorch", "reset_mem")
    adapted = Unrolled(neuron, 2, library="snnTorch", show=once, own_loop=True)
    require_adapter(adapted)
    require_adapter(nn.Sequential(nn.Identity(), adapted))
    require_adapter(adapted.forward)


def test_a_module_with_a_gradient_rule_is_an_adapter():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron = module_of("spikingjelly", "reset")

        def gradient_rule(self, rule): ...

    require_adapter(Mine())


def test_real_spikingjelly_is_refused_and_accepted_in_its_adapter():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
    network = nn.Sequential(nn.Flatten(), nn.Identity(), neuron.IFNode(v_threshold=3.0))
    images = torch.ones(2, 1, 1, 1)
    # the membrane is kept: one spike after every third call
    assert [network(images).sum().item() for _ in range(6)] == [0, 0, 2, 0, 0, 2]
    with pytest.raises(UsageError, match=r"IFNode \(layer '2'\).*hiresnn\.foreign\.spikingjelly\(network"):
        require_adapter(network)
    require_adapter(spikingjelly(network, 4))


@pytest.mark.parametrize(
    ("module", "library", "make"),
    [
        ("snntorch", "snntorch", lambda snn: snn.Leaky(beta=0.9, init_hidden=True)),
        ("sinabs.layers", "sinabs", lambda layers: layers.IAFSqueeze(batch_size=1)),
    ],
)
def test_a_real_neuron_is_refused_without_its_adapter(module, library, make):
    network = nn.Sequential(nn.Flatten(), make(pytest.importorskip(module, exc_type=ImportError)))
    for model in (network, network.forward):
        with pytest.raises(UsageError, match=rf"layer '1'.*hiresnn\.foreign\.{library}\(network"):
            require_adapter(model)
