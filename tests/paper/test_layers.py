from typing import Any

import pytest
import torch

from hiresnn import convert
from hiresnn.models import build
from hiresnn.network import record
from hiresnn.paper.layers import Layer, activity, names_of, total
from hiresnn.paper.stat import Stat

from .conftest import StubStudy


def test_sa_is_spikes_a_neuron_and_tasa_its_share_of_the_steps() -> None:
    layer = Layer("conv1", neurons=8, timesteps=4, spikes=Stat.of([8.0, 24.0]))
    assert layer.sa.values == (1.0, 3.0)
    assert layer.tasa.values == (0.25, 0.75)


def test_the_total_pools_neurons_not_layers() -> None:
    layers = [Layer("conv1", 30, 2, Stat.of([30.0, 60.0])), Layer("fc1", 10, 2, Stat.of([0.0, 20.0]))]
    whole = total(layers)
    assert (whole.name, whole.neurons, whole.timesteps) == ("total", 40, 2)
    # (30 + 0) / 40 and (60 + 20) / 40
    assert whole.sa.values == (0.75, 2.0)


def test_layers_are_named_by_what_their_neurons_form() -> None:
    spikes = {"relu1": torch.zeros(2, 3, 4, 5, 5), "relu2": torch.zeros(2, 3, 4, 1, 1), "relu3": torch.zeros(2, 3, 7)}
    assert names_of(spikes) == {"relu1": "conv1", "relu2": "conv2", "relu3": "fc1"}


def test_spikes_are_counted_over_all_images_also_in_parts(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    images = torch.rand(9, 1, 8, 8)
    ann = build("vgg5", 10, in_channels=1, image_size=8, width=0.125, hidden=32)
    network = convert(ann.eval(), images, timesteps=4, threshold_scale=0.4)
    monkeypatch.setattr("hiresnn.paper.layers.BATCH_ROWS", 8)  # two images at once
    monkeypatch.setattr(stub, "run", lambda name, method, seed: stub.root / f"{name}-{method}-{seed}")
    monkeypatch.setattr(stub, "network_of", lambda run: network)
    monkeypatch.setattr(stub.images, "shown", lambda name, count: (images, torch.zeros(9, dtype=torch.int64)))
    found = activity(stub, "vgg5-cifar10", "traditional")
    with record(network) as spikes:
        network(images)
    assert [layer.name for layer in found] == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    for layer, expected in zip(found, spikes.values(), strict=True):
        assert layer.neurons == expected[0, 0].numel()
        assert layer.timesteps == 4
        assert layer.spikes.values == pytest.approx([float(expected.sum()) / 9] * 2)
    assert found[0].spikes.mean > 0


def test_a_plan_has_no_layers_and_one_figure_a_seed(stub: StubStudy) -> None:
    found: list[Any] = []
    jobs = stub.plan([lambda study: found.append(activity(study, "vgg5-cifar10", "rate"))])
    assert found == [[]]
    assert len([job for job in jobs if job.name.startswith("activity")]) == len(stub.seeds_of("vgg5-cifar10", "rate"))
