"""Networks on event grids [B, T, P, H, W]: timestep t sees bin t, and the ANN sees the mean over the bins."""

import pytest
import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.models import MeanOverBins, build
from hiresnn.network import SpikingNetwork, convert, spiking_graph
from hiresnn.network.layers import Encoder
from hiresnn.neurons import Window


def grids(batch: int = 8, bins: int = 6, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(batch, bins, 2, size, size, generator=generator) < 0.1).float()


def events_ann() -> nn.Module:
    torch.manual_seed(0)
    return build("vgg5", 3, in_channels=2, image_size=16, width=0.1, hidden=16, dropout=0.0, events=True)


def one_neuron(timesteps: int) -> SpikingNetwork:
    """One input of weight 0.6, one neuron of threshold 1 without leak, one output of weight 2."""
    ann = nn.Sequential(MeanOverBins(), nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1))
    for layer, weight in ((ann[2], 0.6), (ann[4], 2.0)):
        nn.init.constant_(layer.weight, weight)
    nn.init.zeros_(ann[4].bias)
    return spiking_graph(ann, timesteps).eval()


@pytest.mark.parametrize(
    ("events", "spikes"),
    [
        # u = 0.6 and 0.6, then 0.6 + 1.2 = 1.8 > 1: one spike
        ([1, 0, 2], 1),
        # 0.6, then 1.2 > 1 and 0.2 are left, then 0.8
        ([1, 1, 1], 1),
        # 1.8 > 1 and 0.8 are left, which stay: 0.8, 0.8 are no spikes; the order of the bins matters
        ([3, 0, 0], 1),
        # 1.8 > 1, 0.8 left; 0.8 + 0.6 = 1.4 > 1, 0.4 left; 0.4 + 1.2 = 1.6 > 1
        ([3, 1, 2], 3),
        ([0, 0, 0], 0),
    ],
)
def test_timestep_t_sees_bin_t(events: list[int], spikes: int):
    """Membranes worked out by hand; the logit is 2 for each spike."""
    grid = torch.tensor(events, dtype=torch.float32).view(1, 3, 1, 1, 1)
    assert one_neuron(3)(grid).item() == 2 * spikes


def test_rows_of_the_encoder_are_the_bins_of_all_samples_one_after_the_other():
    batch = grids(batch=3, bins=4)
    rows = Encoder("frames")(batch, Window(4, 3)).view(4, 3, 2, 16, 16)
    assert all(torch.equal(rows[t, b], batch[b, t]) for t in range(4) for b in range(3))


def test_a_constant_grid_gives_what_direct_coding_gives():
    ann = events_ann()
    frames = (torch.rand(4, 2, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    constant = frames[:, None].repeat(1, 5, 1, 1, 1)
    network = convert(ann, constant, timesteps=5, rescale=True).eval()
    layers = nn.Sequential(*list(ann.children())[1:])
    direct = convert(layers, frames, timesteps=5, rescale=True).eval()
    assert network.encoding.encoding == "frames"
    torch.testing.assert_close(network(constant), direct(frames))


def test_the_ann_sees_the_mean_over_the_bins_and_the_network_approaches_it():
    batch = grids(bins=64)
    ann = events_ann().eval()
    options = {"percentile": 100, "threshold_scale": 1.0, "v_init": 0.5, "wait": True, "rescale": True}
    network = convert(ann, batch, timesteps=64, **options).eval()
    with torch.no_grad():
        expected, frames = ann(batch), ann(batch.mean(1))
        logits = network(batch) / 64
    assert torch.equal(expected, frames)
    assert (logits.argmax(1) == expected.argmax(1)).float().mean() >= 0.75
    assert (logits - expected).norm() < 0.1 * expected.norm()


def test_an_own_ann_of_frames_needs_no_mean_layer_to_be_converted():
    ann = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    network = convert(ann, grids(), timesteps=6)
    assert network.encoding.encoding == "frames"
    assert network(grids()).shape == (8, 3)


def test_the_gradient_reaches_every_bin():
    batch = grids().requires_grad_()
    network = convert(events_ann(), grids(), timesteps=6).eval()
    network(batch).square().sum().backward()
    assert batch.grad is not None
    assert (batch.grad.flatten(2).abs().sum((0, 2)) > 0)[:5].all()  # the last may come too late to cause a spike


def test_compiled_and_recomputed_networks_give_the_same(no_compiler: None):
    network = convert(events_ann(), grids(), timesteps=6).eval()
    logits = network(grids())
    assert torch.equal(network.fuse(True)(grids()), logits)
    assert torch.equal(network.fuse(False).recompute()(grids().requires_grad_()).detach(), logits)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: convert(events_ann(), grids(), timesteps=5), "merge adjacent bins"),
        (lambda: convert(events_ann(), grids(), timesteps=6)(grids(bins=3)), "merge adjacent bins"),
        (lambda: convert(events_ann(), grids(), timesteps=6)(grids()[:, 0]), "takes event grids"),
        (lambda: convert(events_ann(), grids(), timesteps=6, encoding="poisson"), "no rates"),
        (lambda: one_neuron(3).forward(torch.zeros(1, 1, 1, 1)), "takes event grids"),
        (lambda: convert(events_ann(), -grids(), timesteps=6), "at least 0"),
        (lambda: convert(events_ann(), grids().byte(), timesteps=6), "give floats"),
    ],
)
def test_what_does_not_fit_is_refused(call, word: str):
    with pytest.raises(UsageError, match=word):
        call()


def test_a_network_of_images_refuses_event_grids():
    ann = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3))
    network = convert(ann, torch.rand(4, 2, 16, 16), timesteps=6)
    with pytest.raises(UsageError, match="takes images"):
        network(grids())
