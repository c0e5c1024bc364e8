"""Spikes and energy of a network in snnTorch or SpikingJelly equal our own count of the same network."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn.analysis import EnergyReport, count_operations, spike_rates
from hiresnn.exchange import export, from_snntorch, from_spikingjelly
from hiresnn.foreign import snntorch, spikingjelly
from hiresnn.network import SpikingNetwork

from ..scripts import imported
from .small import T, images, network

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


class Leaky(nn.Module):
    """What an exported file needs of snnTorch's neuron: a reset by subtraction within the step."""

    def __init__(self, beta: float, threshold: float, **options: Any) -> None:
        super().__init__()
        self.beta, self.threshold = torch.tensor(beta), torch.tensor(threshold)
        self.spike_grad = lambda x: (x > 0).float()
        self.init_hidden, self.output = True, False
        self.reset_mechanism, self.reset_delay = options["reset_mechanism"], options["reset_delay"]
        self.reset_mem()

    def reset_mem(self) -> None:
        self.mem: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        u = self.beta * self.mem + x
        spikes = self.spike_grad(u - self.threshold)
        self.mem = u - spikes * (u if self.reset_mechanism == "zero" else self.threshold)
        return spikes


Leaky.__module__ = "snntorch"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> str:
    """An exported file for snnTorch can be imported, whether the library is installed or not."""
    module = ModuleType("snntorch")
    module.Leaky = Leaky  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "snntorch", module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # nothing is compared while it is written
    return "snntorch"


@pytest.fixture(params=["fake", "snntorch", "spikingjelly"])
def library(request: pytest.FixtureRequest) -> str:
    if request.param == "fake":
        return str(request.getfixturevalue("fake"))
    pytest.importorskip(request.param, exc_type=ImportError)
    return str(request.param)


def written(subject: SpikingNetwork, library: str, folder: Path) -> Any:
    export(subject, folder / "a.py", images(), torch.zeros(4).long(), to=library)
    return imported(folder / "a.py").Network()


def same(found: EnergyReport, own: EnergyReport) -> None:
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
def test_an_exported_network_has_our_rates_and_operations(
    model: str, kind: dict[str, Any], library: str, tmp_path: Path
) -> None:
    subject = network(model, **kind)
    adapter = snntorch if library == "snntorch" else spikingjelly
    carried = adapter(written(subject, library, tmp_path), T, own_loop=True, readout="sum")
    torch.testing.assert_close(carried(images()), subject(images()), rtol=0, atol=1e-4)
    assert list(spike_rates(carried, images()).values()) == list(spike_rates(subject, images()).values())
    same(count_operations(carried, images()), count_operations(subject, images()))


def test_an_imported_network_has_its_librarys_rates_and_operations(library: str, tmp_path: Path) -> None:
    timestep = written(network(reset="subtract"), library, tmp_path).timestep
    adapter, read = (snntorch, from_snntorch) if library == "snntorch" else (spikingjelly, from_spikingjelly)
    carried, own = adapter(timestep, T, readout="sum"), read(timestep, T)
    assert list(spike_rates(carried, images()).values()) == list(spike_rates(own, images()).values())
    same(count_operations(carried, images()), count_operations(own, images()))


def test_a_network_that_pools_spikes_is_imported_with_the_pool_behind_them() -> None:
    torch.manual_seed(0)
    neurons = [Leaky(0.9, 0.2, reset_mechanism="subtract", reset_delay=False) for _ in range(2)]
    features = 2 * nn.MaxPool2d(2)(images()).flatten(1).shape[1]
    layers = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), neurons[0], nn.MaxPool2d(2), nn.Flatten(), nn.Linear(features, 8), neurons[1],
        nn.Linear(8, 3),
    )  # fmt: skip
    carried, own = snntorch(layers, T, readout="sum"), from_snntorch(layers, T)
    torch.testing.assert_close(own(images()), carried(images()), rtol=0, atol=1e-5)
    assert list(spike_rates(own, images()).values()) == list(spike_rates(carried, images()).values())


def test_a_batch_norm_of_a_foreign_network_counts_as_the_imported_one() -> None:
    torch.manual_seed(0)

    def neuron() -> Leaky:
        return Leaky(0.9, 0.5, reset_mechanism="subtract", reset_delay=False)

    folded, affine = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
    for norm in (folded, affine):
        norm.running_mean = torch.full((4,), -0.5)
        norm.running_var = torch.rand(4) + 0.5
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False), folded, neuron(), nn.AvgPool2d(2), affine,
        nn.Conv2d(4, 6, 3, stride=2, groups=2), neuron(), nn.Flatten(), nn.Linear(6, 3),
    ).eval()  # fmt: skip
    carried, own = snntorch(layers, T, readout="sum"), from_snntorch(layers, T)
    torch.testing.assert_close(carried(images()), own(images()), rtol=0, atol=1e-5)
    found = count_operations(carried, images())
    assert [layer.kind for layer in found.layers] == [
        "conv", "neurons", "affine", "conv", "neurons", "linear", "readout",
    ]  # fmt: skip
    same(found, count_operations(own, images()))


def test_batches_do_not_change_what_is_counted(fake: str, tmp_path: Path) -> None:
    carried = snntorch(written(network(reset="subtract"), fake, tmp_path), T, own_loop=True)
    whole, parts = (count_operations(carried, images(5), batch_size=size) for size in (4, 2))
    assert whole == parts
