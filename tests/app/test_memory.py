"""The estimate of memory: what a pass on the meta device stores is what a real pass stores."""

import pytest
import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.memory import CALIBRATION, Footprint, calibration_images, fitting_batch, footprint, require_memory
from hiresnn.app.recipe import Recipe, override
from hiresnn.data import DataSet, Split
from hiresnn.network import SpikingNetwork, convert
from hiresnn.neurons import Window

SHAPE = torch.Size((3, 12, 16))


def ann() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(72, 3)),
    )


def spiking() -> SpikingNetwork:
    return convert(ann().eval(), torch.rand(4, *SHAPE), timesteps=5).fuse(False)


def stored(network: nn.Module, rows: int, timesteps: int) -> int:
    """Bytes of the tensors that autograd stores in a real pass, without the weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    found: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    images = torch.rand(rows, *SHAPE, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if isinstance(network, SpikingNetwork):
            network.train().present(images, Window(timesteps, rows))
        else:
            network.train()(images)
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


@pytest.mark.parametrize("timesteps", [1, 5])
def test_a_pass_without_memory_stores_what_a_real_pass_stores(timesteps: int) -> None:
    for network, steps in ((ann(), 1), (spiking(), timesteps)):
        expected = stored(network, 8, steps) / 8
        assert footprint(network, SHAPE, steps).stored == pytest.approx(expected, rel=0.05)


def test_the_network_itself_stays_as_it_is() -> None:
    network = spiking().train(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    footprint(network, SHAPE, 5)
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Reads(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) * float(images.sum())


def test_a_network_that_reads_values_has_no_estimate() -> None:
    assert footprint(Reads(), SHAPE) == Footprint(0, 0, 0)


def images(count: int) -> DataSet:
    split = Split(torch.zeros(count, *SHAPE, dtype=torch.uint8), torch.arange(count) % 3)
    return DataSet("grey", split, split, ("a", "b", "c"))


def test_a_batch_that_does_not_fit_becomes_smaller_and_that_is_said(heard, monkeypatch: pytest.MonkeyPatch) -> None:
    network, dataset = spiking(), images(300)
    assert fitting_batch(network, dataset, 200, "cpu", heard) == 200
    assert heard.lines == []
    monkeypatch.setattr("hiresnn.app.memory.system_memory", lambda: 2**20)
    few = fitting_batch(network, dataset, 200, "cpu", heard)
    assert 1 <= few < 200
    assert heard.lines == [f"Batches have {few} images instead of 200, so that they fit into the memory."]


def test_an_own_network_is_calibrated_on_fewer_images_where_they_are_large(tiny: Recipe) -> None:
    own = override(tiny, {"model.source": '"mine.py:network"', "conversion.images": "512"})
    network = spiking()
    assert calibration_images(own, network, SHAPE, 1000) == 512
    assert calibration_images(own, network, SHAPE, 100) == 100
    large = torch.Size((3, 120 * 4, 160 * 4))
    wide = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    network = convert(wide.eval(), torch.rand(1, 3, 8, 8), timesteps=4)
    few = calibration_images(own, network, large, 1000)
    assert 32 < few == int(CALIBRATION / (5 * footprint(network, large, 4).largest)) < 512
    assert calibration_images(override(tiny, {"conversion.images": "512"}), network, large, 1000) == 512


def test_recomputation_takes_less_memory(tiny: Recipe) -> None:
    long = override(tiny, {"snn.timesteps": "400"})
    less = require_memory(override(long, {"snn.recompute": "true"}), data.load("digits"), "cpu")
    assert less < require_memory(long, data.load("digits"), "cpu")


def test_the_estimate_grows_with_batch_timesteps_and_width(tiny: Recipe) -> None:
    dataset = data.load("digits")
    least = require_memory(tiny, dataset, "cpu")
    for changes in ({"snn.batch_size": "640"}, {"snn.timesteps": "400"}, {"model.width": "2.0"}):
        assert require_memory(override(tiny, changes), dataset, "cpu") > least
