"""What `convert` and `calibrate` refuse, each by its sentence."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from hiresnn.errors import UsageError
from hiresnn.network import SharedDropout, convert

FOUR = torch.tensor([0.25, 0.5, 0.75, 1.0]).view(4, 1, 1, 1)


def chain():
    """Two neurons in a row, a pixel in front."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2)
    ).apply(positive)


def positive(layer):
    if isinstance(layer, nn.Linear):
        nn.init.ones_(layer.weight)


class Branching(nn.Module):
    def forward(self, images):
        return images if images.sum() > 0 else -images


class TwoInputs(nn.Module):
    def forward(self, images, more):
        return F.relu(images + more)


class TwoOutputs(nn.Module):
    def forward(self, images):
        return F.relu(images), images


class SizeOfImages(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(1, 2)

    def forward(self, images):
        return self.last(F.relu(images).view(images.shape[0], 1))


REFUSED = {
    "branch": (Branching(), "Branching cannot be traced by torch.fx .*; its forward must not branch on data"),
    "inputs": (TwoInputs(), "the network takes 2 inputs; a spiking network takes images alone"),
    "outputs": (TwoOutputs(), "TwoOutputs returns several values; its forward must return the logits alone"),
    "gelu": (nn.Sequential(nn.Flatten(), nn.GELU()), r"the network has no ReLU \(nn.ReLU or torch.relu\)"),
    "no statistics": (
        nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, track_running_stats=False), nn.ReLU()),
        "batch norm '1' has no running statistics, so it cannot be folded",
    ),
    "compiled": (
        torch.jit.script(nn.Sequential(nn.Flatten(), nn.ReLU())),
        "RecursiveScriptModule cannot be traced by torch.fx; give the network that it was made from",
    ),
    "parallel": (nn.DataParallel(nn.Sequential(nn.Flatten(), nn.ReLU())), "DataParallel cannot be traced"),
    "parametrized": (
        nn.Sequential(parametrizations.weight_norm(nn.Conv2d(1, 1, 1)), nn.BatchNorm2d(1), nn.ReLU()),
        "batch norm '1' cannot be folded into '0', whose weights are parametrized; remove that first",
    ),
    "recurrent": (
        nn.Sequential(nn.Flatten(), nn.ReLU(), nn.GRUCell(1, 1)),
        "layer '2' keeps state over time; only stateless layers can be converted",
    ),
    "size": (SizeOfImages(), "called with 12 images, failed: .*; a network must accept batches of any size"),
}


@pytest.mark.parametrize(("ann", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_networks_that_cannot_be_converted_are_refused(ann, message):
    with pytest.raises(UsageError, match=message):
        convert(ann, FOUR, timesteps=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"timesteps": 0}, "timesteps is 0; a spiking network needs at least 1"),
        ({"max_pool": "average"}, "max_pool is 'average'; choose one of currents, spikes"),
        ({"percentile": 0.0}, r"percentile is 0.0; it must lie in \(0, 100\]"),
        ({"percentile": 100.5}, "percentile is 100.5"),
        ({"threshold_scale": 0.0}, "threshold_scale is 0.0; it must be above 0"),
        ({"leak": 1.5}, "leak is 1.5"),
        ({"encoding": "latency"}, "encoding is 'latency'; choose one of direct, poisson"),
        ({"threshold_scale": 1e-6}, r"a threshold is at least 0\.001; raise threshold_scale"),
        ({"images": FOUR * 255}, "divide by 255"),
        ({"images": (FOUR * 255).byte()}, "uint8.* divide by 255"),
        ({"images": FOUR - 0.5}, "normalisation into the model"),
        ({"images": FOUR * float("nan")}, "not finite"),
        ({"images": FOUR[:0]}, "no images"),
        ({"images": FOUR.repeat(1, 2, 1, 1)}, r"itself, on images of shape \[2, 1, 1\], failed: RuntimeError: mat1"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        convert(chain(), **{"images": FOUR, "timesteps": 2, **arguments})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SharedDropout(1.0), "dropout is 1.0"),
        (
            lambda: convert(chain(), FOUR, timesteps=2).fuse("always"),
            "choose True, False or .auto.",
        ),
        (lambda: convert(chain(), FOUR, timesteps=2)(FOUR, timesteps=0), "timesteps is 0; a window needs at least 1"),
    ],
)
def test_calls_of_a_network_out_of_range_are_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_a_layer_that_never_activates_is_named_in_one_sentence():
    ann = chain()
    with torch.no_grad():
        ann[3].weight.fill_(0)
    with pytest.raises(UsageError) as caught:
        convert(ann, FOUR, timesteps=2)
    assert str(caught.value).startswith("layer '4': the 99.7th percentile of its input times threshold_scale is 0, ")
    assert str(caught.value).endswith("so it would never spike; train the ANN first.")


def test_a_network_that_spikes_already_is_refused():
    with pytest.raises(UsageError, match="SpikingNetwork spikes already: convert takes an ANN"):
        convert(convert(chain(), FOUR, timesteps=2), FOUR, timesteps=2)


def test_a_network_of_another_spiking_library_is_refused_by_its_name():
    neuron = type("Leaky", (nn.ReLU,), {"__module__": "snntorch._neurons.leaky"})
    with pytest.raises(UsageError, match=r"Leaky of snntorch: .* hiresnn.foreign.snntorch"):
        convert(nn.Sequential(nn.Flatten(), neuron()), FOUR, timesteps=2)
