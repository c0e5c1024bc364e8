"""Interval bounds: hand-computed, against every image of a grid, exact for one layer, and refused where they fail."""

import itertools

import pytest
import torch
from tests.certify.small import converted
from torch import nn

from hiresnn import attacks, convert
from hiresnn.certify import certify_intervals, margins, require_intervals
from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Window


def differences(network, images, labels):
    """Logit of the label minus logit of each class."""
    logits = network(images)
    return logits.gather(1, labels[:, None]) - logits


def test_more_summed_input_never_causes_fewer_spikes():
    """The lemma, on random currents whose sums are ordered at every timestep although single currents are not."""
    generator = torch.Generator().manual_seed(0)
    for wait, fires in itertools.product((False, True), repeat=2):
        lif = LIF(0.7, v_init=0.3, wait=wait, fires_at_threshold=fires)
        low = torch.randn(6, 500, generator=generator)
        above = torch.rand(6, 500, generator=generator)  # what the second input has more, summed up to each step
        high = low + above.diff(dim=0, prepend=torch.zeros(1, 500))
        spikes = [lif(current.view(6 * 500, 1), Window(6, 500)).view(6, 500).cumsum(0) for current in (low, high)]
        assert (high < low).any()
        assert (spikes[0] <= spikes[1]).all()
        assert (spikes[0] < spikes[1]).any()


def test_a_leaking_neuron_does_not_have_the_lemma():
    """Threshold 1, leak 0.5: 1.1 at the second step fires; 0.6 at both steps has the larger sum and fires not."""
    lif = LIF(1.0, leak=0.5)
    late, early = torch.tensor([[0.0], [1.1]]), torch.tensor([[0.6], [0.6]])
    assert (early.cumsum(0) >= late.cumsum(0)).all()
    assert lif(late, Window(2, 1)).sum() == 1
    assert lif(early, Window(2, 1)).sum() == 0


def test_bounds_computed_by_hand():
    """One neuron of threshold 1 and T = 2 gets 0.6 a step: sums 0.6 and 1.2, one spike. Logits are 0 and 3 per spike.

    Pixels from 0.5 to 0.7 give one spike at least at 0.55 (sum 1.1) and none at 0.5 (1.0 does not exceed 1).
    """
    ann = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2, bias=False))
    ann[1].weight.data.fill_(1.0)
    ann[3].weight.data.copy_(torch.tensor([[0.0], [3.0]]))
    image, label = torch.full((1, 1, 1, 1), 0.6), torch.tensor([1])
    network = convert(ann, image, timesteps=2)
    network.neurons["_2" if "_2" in network.neurons else next(iter(network.neurons))].threshold.data.fill_(1.0)
    last = next(layer for layer in reversed(list(network.layers.modules())) if isinstance(layer, nn.Linear))
    last.weight.data.copy_(torch.tensor([[0.0], [3.0]]))
    assert margins(network, image, label, 0.0).tolist() == [[3.0, 0.0]]
    assert margins(network, image, label, 0.05).tolist() == [[3.0, 0.0]]
    assert margins(network, image, label, 0.11).tolist() == [[0.0, 0.0]]
    assert certify_intervals(network, image, label).item() == pytest.approx(0.1, abs=3e-4)
    assert certify_intervals(network, image, 1 - label).item() == 0


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("eps", [0.02, 0.1, 0.4])
def test_no_image_of_a_grid_is_below_the_bounds(wait, seed, eps):
    """All 11^3 images of the box around 10 images; the bounds themselves are not vacuous."""
    network = converted(wait=wait, seed=seed)
    images = torch.rand(10, 1, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = network(images).argmax(1)
    bounds = margins(network, images, labels, eps)
    steps = torch.tensor(list(itertools.product(torch.linspace(-eps, eps, 11).tolist(), repeat=3))).double()
    lowest = torch.stack(
        [differences(network, (image + steps.view(-1, 1, 1, 3)).clamp(0, 1), label.expand(len(steps))).amin(0)
         for image, label in zip(images, labels, strict=True)]
    )  # fmt: skip
    assert (bounds <= lowest + 1e-9).all()
    torch.testing.assert_close(margins(network, images, labels, 0.0), differences(network, images, labels))


def test_one_layer_of_neurons_is_bounded_exactly():
    """One pixel: spikes rise with it, so its two ends attain the bounds of every neuron."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    network = converted(timesteps=5, layers=layers)
    weight = network.layers.get_submodule("1").weight
    weight.data[:, 1:] = 0  # the other pixels have no influence
    weight.data.abs_()
    readout = network.layers.get_submodule("3").weight.data
    readout.copy_(torch.tensor([[1.0] * 4, [0.0] * 4]))
    image = torch.full((1, 1, 1, 3), 0.5, dtype=torch.float64)
    low = image.clone()
    low[..., 0] = 0.2
    bound = margins(network, image, torch.tensor([0]), 0.3)[0, 1]
    assert bound.item() == pytest.approx(differences(network, low, torch.tensor([0]))[0, 1].item())


def test_convolutions_pools_and_shortcuts_are_bounded():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 4, 3, padding=1)
            self.second = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
            self.relu1, self.relu2, self.pool = nn.ReLU(), nn.ReLU(), nn.AvgPool2d(2)
            self.last = nn.Linear(16, 3)

        def forward(self, images):
            features = self.relu1(self.first(images))
            return self.last(self.pool(self.relu2(self.second(features) + features)).flatten(1))

    torch.manual_seed(0)
    images = torch.rand(16, 1, 4, 4)
    network = convert(Residual(), images, timesteps=3, v_init=0.5).double().eval()
    images = images.double()
    labels = network(images).argmax(1)
    bounds = margins(network, images, labels, 0.03)
    for seed in range(50):
        corners = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed)).double().sign()
        assert (bounds <= differences(network, (images + 0.03 * corners).clamp(0, 1), labels) + 1e-9).all()


def test_bounds_have_gradients_for_training():
    network = converted().train()
    images, labels = torch.rand(8, 1, 1, 3).double(), torch.zeros(8, dtype=torch.long)
    margins(network, images, labels, 0.05).sum().backward()
    assert all(p.grad.abs().sum() > 0 for name, p in network.named_parameters() if "weight" in name)


def test_the_certified_radius_is_below_what_attacks_find():
    network = converted(timesteps=3)
    images = torch.rand(40, 1, 1, 3, generator=torch.Generator().manual_seed(3)).double()
    labels = network(images).argmax(1)
    radius = certify_intervals(network, images, labels)
    assert (radius > 0).sum() > 20
    for eps in (0.01, 0.05, 0.1, 0.2, 0.4):
        adversarial = attacks.square(network, images, labels, eps=eps, queries=100)
        broken = network(adversarial).argmax(1) != labels
        assert (radius[broken] < eps).all()


@pytest.mark.parametrize(
    ("options", "word"),
    [({"leak": 0.9}, "leak"), ({"reset": "zero"}, "reset"), ({"encoding": "poisson"}, "direct")],
)
def test_other_neurons_are_refused(options, word):
    with pytest.raises(UsageError, match=word):
        require_intervals(converted(**options))


def test_other_networks_and_operations_are_refused():
    with pytest.raises(UsageError, match="Linear"):
        require_intervals(nn.Linear(2, 2))
    pooled = nn.Sequential(
        nn.Conv2d(1, 2, (1, 3)), nn.ReLU(), nn.MaxPool2d(1), nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)
    )
    network = converted(layers=pooled, max_pool="spikes")
    with pytest.raises(UsageError, match="MaxPool2d"):
        margins(network, torch.rand(2, 1, 1, 3).double(), torch.tensor([0, 1]), 0.1)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3), nn.Flatten())
    with pytest.raises(UsageError, match="last layer"):
        margins(converted(layers=flat), torch.rand(2, 1, 1, 3).double(), torch.tensor([0, 1]), 0.1)


class Odd(nn.Module):
    """Two layers with one operation between them that bounds do not know."""

    def __init__(self, operation):
        super().__init__()
        self.first, self.relu, self.last, self.operation = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), operation

    def forward(self, images):
        return self.last(self.operation(self.relu(self.first(images.flatten(1)))))


@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
@pytest.mark.parametrize(
    "operation",
    [
        lambda spikes: torch.cat([spikes[:, :2], spikes[:, 2:]], 1),
        lambda spikes: torch.add(spikes, spikes, alpha=-3),
        lambda spikes: spikes * spikes,
        lambda spikes: spikes + 1,
        lambda spikes: spikes - spikes,
        lambda spikes: spikes.T.T,
    ],
)
def test_no_operation_loses_a_bound_in_silence(operation):
    network = converted(layers=Odd(operation))
    with pytest.raises(UsageError, match="do not know"):
        margins(network, torch.rand(2, 1, 1, 3).double(), torch.tensor([0, 1]), 0.1)


def test_shapes_that_a_network_reads_from_its_rows_are_followed():
    network = converted(layers=Odd(lambda spikes: spikes.reshape(spikes.shape[0], spikes.size(1))))
    images, labels = torch.rand(4, 1, 1, 3).double(), torch.tensor([0, 1, 0, 1])
    torch.testing.assert_close(margins(network, images, labels, 0.0), differences(network, images, labels))
