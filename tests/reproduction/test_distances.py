"""Fig. 5: distances against traces worked out by hand and against one image at a time."""

import pytest
import torch

from hiresnn import convert
from hiresnn.attacks import pgd
from hiresnn.models import build
from hiresnn.network import record
from reproduction.measure import lif_distances, spike_distances
from reproduction.study import Measurement

from .conftest import TWO_SEEDS, study_in

# Threshold 0.8, ten steps, reset by subtraction. s marks a spike, with the membrane after it.
# leak 1, current 0.25: .25 .5 .75 s.2 .45 .7 s.15 .4 .65 s.1                     3 spikes
# leak 1, current 0.45: .45 s.1 .55 s.2 .65 s.3 .75 s.4 s.05 .5                    5 spikes
# leak .5, current 0.25: nears .5 and stays below the threshold                      0 spikes
# leak .5, current 0.45: .45 .675 .7875 s.044 .472 .686 .793 s.046 .473 .687         2 spikes
# leak 0, current 0.45: .45 at every step                                             0 spikes
# leak 0, current 0.9: s at every step                                               10 spikes
CLEAN, PERTURBED = torch.tensor([[[[0.25, 0.45]]], [[[0.45, 0.45]]]]), torch.tensor([[[[0.45, 0.25]]], [[[0.45, 0.9]]]])


@pytest.mark.parametrize(
    ("leak", "first", "second"),
    [
        # first image: both pixels change by 5 - 3 = 2 spikes of 10 steps; sqrt(0.2^2 + 0.2^2)
        # second image: 0.9 at leak 1: s.1 s.2 s.3 s.4 s.5 s.6 s.7 s.8 s.9 s1.0, 10 spikes against 5
        (1.0, 0.08**0.5, 0.5),
        # first: 2 spikes against 0, twice; second: 0.9 spikes at every step, against 2
        (0.5, 0.08**0.5, 0.8),
        # first: none spikes at all; second: all ten against none
        (0.0, 0.0, 1.0),
    ],
)
def test_distance_behind_the_layer_equals_traces_by_hand(leak, first, second):
    found = lif_distances(CLEAN, PERTURBED, threshold=0.8, leak=leak, timesteps=10)
    assert found.tolist() == pytest.approx([first, second], abs=1e-9)


IMAGES = 40
NETWORKS = Measurement("spike-distances", "vgg5-cifar10", "traditional", 0, "pgd", grid=(0, 1, 2))


def network_of_seed(seed):
    torch.manual_seed(seed)
    ann = build("vgg5", 10, in_channels=1, image_size=8, width=0.125, hidden=32)
    return convert(ann.eval(), torch.rand(20, 1, 8, 8), timesteps=4, threshold_scale=0.4)


def map_of(network, image):
    """Spikes of each neuron over T, layer by layer, of one image."""
    with record(network) as spikes:
        network(image[None])
    return [layer.double().mean(0).flatten() for layer in spikes.values()]


@pytest.fixture
def given(monkeypatch, tmp_path):
    """A study with networks of seeds 0, 1, 2, images, and labels on which the first two agree."""
    networks = [network_of_seed(seed) for seed in (3, 3, 5)]
    with torch.no_grad():  # the second is the first, a little changed
        for parameter in networks[1].parameters():
            parameter.mul_(1 + 0.2 * torch.randn_like(parameter))
    torch.manual_seed(7)
    images = torch.rand(IMAGES, 1, 8, 8)
    labels = networks[0](images).argmax(1)
    study = study_in(tmp_path, TWO_SEEDS)
    monkeypatch.setattr(study, "network", lambda run: networks[run.seed])
    monkeypatch.setattr(study, "images", lambda name, count: (images, labels))
    return study, networks, images, labels


def test_the_right_and_the_wrong_network_are_told_apart_image_by_image(given):
    study, networks, images, labels = given
    setting = study.scale.recipe(NETWORKS.runs()[2]).attack
    attacked = pgd(networks[2], images, labels, eps=setting.eps, step=setting.step, iterations=setting.iterations)
    expected: list[tuple[list[float], list[float]]] = []
    for image, adversarial, label in zip(images, attacked, labels, strict=True):
        clean = [int(network(image[None]).argmax()) == int(label) for network in networks[:2]]
        after = [int(network(adversarial[None]).argmax()) == int(label) for network in networks[:2]]
        if all(clean) and sum(after) == 1:
            moved = [
                [float((a - b).norm()) for a, b in zip(map_of(each, image), map_of(each, adversarial), strict=True)]
                for each in networks[:2]
            ]
            expected.append((moved[after.index(True)], moved[after.index(False)]))
    assert len(expected) >= 2, "the networks must differ on some images for this test to say anything"
    found = spike_distances(study, NETWORKS)
    assert (found["images"], found["of"]) == (len(expected), IMAGES)
    for side, place in (("right", 0), ("wrong", 1)):
        assert found[side]["all"] == [pytest.approx(pair[place]) for pair in expected]
        assert found[side]["one"] in found[side]["all"]
