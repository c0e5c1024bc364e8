"""Spikes and energy of a network in snnTorch or SpikingJelly equal our own count of the same network."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from hiresnn.analysis import count_operations, spike_rates
from hiresnn.exchange import export, from_snntorch, from_spikingjelly
from hiresnn.foreign import snntorch, spikingjelly

from ..scripts import imported
from .small import T, images, network

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


@pytest.fixture(params=["snntorch", "spikingjelly"])
def library(request):
    pytest.importorskip(request.param, exc_type=ImportError)
    return str(request.param)


def written(subject, library, folder):
    export(subject, folder / "a.py", images(), torch.zeros(4).long(), to=library)
    return imported(folder / "a.py").Network()


def same(found, own):
    """Equal but for the names, and for the parameters of neurons: in a library, threshold and leak are not trained."""
    assert found.timesteps == own.timesteps
    assert len(found.layers) == len(own.layers)
    for here, there in zip(found.layers, own.layers, strict=True):
        assert here.name.rpartition(".")[2] == there.name.replace(".", "_")
        assert there.acs + there.macs > 0
        parameters = 0 if there.kind == "neurons" else there.parameters
        assert here == replace(there, name=here.name, parameters=parameters)


@pytest.mark.parametrize("kind", [{"reset": "subtract"}, {"reset": "zero"}, {"reset": "subtract", "leak": 1.0}])
@pytest.mark.parametrize("model", ["vgg5", "resnet12"])
def test_an_exported_network_has_our_rates_and_operations(model, kind, library, tmp_path):
    subject = network(model, **kind)
    adapter = snntorch if library == "snntorch" else spikingjelly
    carried = adapter(written(subject, library, tmp_path), T, own_loop=True, readout="sum")
    torch.testing.assert_close(carried(images()), subject(images()), rtol=0, atol=1e-4)
    assert list(spike_rates(carried, images()).values()) == list(spike_rates(subject, images()).values())
    same(count_operations(carried, images()), count_operations(subject, images()))


def test_an_imported_network_has_its_librarys_rates_and_operations(library, tmp_path):
    timestep = written(network(reset="subtract"), library, tmp_path).timestep
    adapter, read = (snntorch, from_snntorch) if library == "snntorch" else (spikingjelly, from_spikingjelly)
    carried, own = adapter(timestep, T, readout="sum"), read(timestep, T)
    assert list(spike_rates(carried, images()).values()) == list(spike_rates(own, images()).values())
    same(count_operations(carried, images()), count_operations(own, images()))


def test_pools_of_spikes_and_batch_norms_count_as_in_the_imported_network():
    library = pytest.importorskip("snntorch", exc_type=ImportError)
    torch.manual_seed(0)

    def neuron():
        return library.Leaky(0.9, threshold=0.5, init_hidden=True, reset_mechanism="zero", reset_delay=False)

    folded, affine = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    for norm in (folded, affine):
        norm.running_mean = torch.full((4,), -0.5)
        norm.running_var = torch.rand(4) + 0.5
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), folded, neuron(), nn.MaxPool2d(2), affine,
        nn.Conv2d(4, 6, 3, stride=2, groups=2), neuron(), nn.Flatten(), nn.Linear(6, 3),
    ).eval()  # fmt: skip
    carried, own = snntorch(layers, T, readout="sum"), from_snntorch(layers, T)
    torch.testing.assert_close(carried(images()), own(images()), rtol=0, atol=1e-5)
    whole, parts = (count_operations(carried, images(5), batch_size=size) for size in (5, 2))
    assert whole == parts
    assert [layer.kind for layer in whole.layers] == [
        "conv", "neurons", "affine", "conv", "neurons", "linear", "readout",
    ]  # fmt: skip
    same(whole, count_operations(own, images(5)))
