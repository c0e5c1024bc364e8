"""A conversion computes what the ANN computes where its layers overwrite their input, or refuses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.network import analogue, convert, record

IMAGES = torch.rand(16, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Shortcut(nn.Module):
    """first -> activation -> second, plus what the first layer's tensor holds by then."""

    def __init__(self, activate):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(64, 3)
        self.activate, self.relu = activate, nn.ReLU(inplace=True)

    def forward(self, images):
        before = self.first(images)
        after = self.activate(self, before)
        return self.last((self.second(after) + before).relu().flatten(1))


def discarded(self, before):
    self.relu(before)
    return before


CASES = {
    "module": lambda self, before: self.relu(before),
    "function": lambda self, before: F.relu(before, inplace=True),
    "position": lambda self, before: F.relu(before, True),
    "underscore": lambda self, before: torch.relu_(before),
    "method": lambda self, before: before.relu_(),
    "result not used": discarded,
    "not in place": lambda self, before: before.relu(),
}


@pytest.mark.parametrize("activate", CASES.values(), ids=CASES)
@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
def test_who_uses_the_input_of_an_activation_in_place_gets_its_result(activate):
    ann = Shortcut(activate).eval()
    network = convert(ann, IMAGES, timesteps=4)
    assert len(network.neurons) == 2
    with torch.no_grad():
        torch.testing.assert_close(analogue(ann, network).eval()(IMAGES), ann(IMAGES))


def test_a_graph_that_gives_other_answers_than_the_ann_is_refused():
    torch.manual_seed(0)

    class Wide(nn.Module):
        """Four rows per image, whose batch norm is over the rows and not over the features, of which there are four."""

        def __init__(self):
            super().__init__()
            self.rows, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(16, 3)

        def forward(self, images):
            return self.last(self.norm(self.rows(images[:, 0])).relu().flatten(1))

    ann = Wide()
    convert(ann.eval(), IMAGES, timesteps=4)  # without statistics, both are the same
    nn.init.uniform_(ann.norm.running_mean, -1, 1)
    nn.init.uniform_(ann.norm.weight, 0.5, 2)
    with pytest.raises(UsageError, match=r"Wide cannot be converted: .* other logits, .* BatchNorm1d behind a linear"):
        convert(ann, IMAGES, timesteps=4)


def test_recorded_spikes_stay_as_they_were_where_the_next_layer_overwrites_them():
    torch.manual_seed(0)

    class Adds(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(16, 8), nn.Linear(8, 3)

        def forward(self, images):
            return self.last(self.first(images.flatten(1)).relu().add_(2.0))

    network = convert(Adds().eval(), IMAGES, timesteps=4)
    with torch.no_grad(), record(network) as spikes:
        network(IMAGES)
    (found,) = spikes.values()
    assert found.unique().tolist() == [0, 1]


def test_calibration_leaves_images_alone_that_the_network_overwrites():
    class Centres(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))

        def forward(self, images):
            return self.layers(images.sub_(0.5))

    torch.manual_seed(0)
    images = IMAGES.clone()
    convert(Centres().eval(), images, timesteps=2)
    assert torch.equal(images, IMAGES)
