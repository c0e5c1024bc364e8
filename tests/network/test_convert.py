"""What a conversion makes of an ANN, and what it refuses."""

import operator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.nn.utils import parametrizations

from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import SharedDropout, calibrate, convert, record, spiking_graph
from hiresnn.neurons import Linear, Neuron, Window

FOUR = torch.tensor([0.25, 0.5, 0.75, 1.0]).view(4, 1, 1, 1)


def chain():
    """Two neurons in a row: the first sees the pixel, the second twice what the first says."""
    ann = nn.Sequential(
        nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2)
    )
    with torch.no_grad():
        ann[1].weight.fill_(1)
        ann[3].weight.fill_(2)
    return ann


def thresholds(network):
    return [neuron.threshold.item() for neuron in network.neurons.values()]


class Residual(nn.Module):
    """conv, then ReLU, then a sum with `shortcut`."""

    def __init__(self, shortcut):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=1)
        self.linear, self.shortcut = nn.Linear(16, 3), shortcut

    def forward(self, images):
        features = F.relu(self.conv1(images))
        return self.linear(torch.relu(self.conv2(features) + self.shortcut(images, features)).flatten(1))


# The percentile is the 50th, so the second smallest of four; threshold_scale 1.5; T = 3.
#   First layer: 0.25 0.5 0.75 1.0 at every step -> 0.5, threshold 0.75. With it the four pixels spike
#     0.25: u = 0.25  0.5   0.75 (equal: no)  -> 0 0 0
#     0.5:  u = 0.5   1.0   0.75              -> 0 1 0
#     0.75: u = 0.75  1.5   1.5               -> 0 1 1
#     1.0:  u = 1.0   1.25  1.5               -> 1 1 1
#   Second layer, twice that: 0 0 0 2 | 0 2 2 2 | 0 0 2 2 -> 0 | 2 | 0, maximum 2, threshold 3.
# The first step, the last, the mean over steps or all steps pooled would give less than 2; the ANN's own
# activations 0.5 1 1.5 2 would give 1.
def test_thresholds_are_the_highest_percentile_over_steps_with_earlier_layers_spiking():
    network = convert(chain(), FOUR, timesteps=3, percentile=50, threshold_scale=1.5)
    assert thresholds(network) == [0.75, 3.0]


# A neuron that waits gets 2 * (0 1 2 3) / 3 per step, in the mean: the second smallest is 2 / 3, times 1.5.
def test_the_threshold_of_a_neuron_that_waits_comes_from_the_mean_over_steps():
    network = convert(chain(), FOUR, timesteps=3, percentile=50, threshold_scale=1.5, wait=True)
    assert thresholds(network) == pytest.approx([0.75, 1.0])


def test_the_hundredth_percentile_is_the_maximum():
    assert thresholds(convert(chain(), FOUR, timesteps=2, percentile=100, threshold_scale=1.0)) == [1.0, 2.0]


def test_every_neuron_of_a_residual_network_is_calibrated():
    ann = build("resnet12", 10, width=1 / 16, image_size=8)
    network = spiking_graph(ann, 4)
    assert thresholds(network) == [1.0] * 11
    calibrate(network, torch.rand(8, 3, 8, 8))
    assert len(set(thresholds(network))) == 11
    with record(network.eval()) as spikes:
        network(torch.rand(8, 3, 8, 8))
    assert all(layer.sum() > 0 for layer in spikes.values())


def test_the_options_of_neurons_are_those_asked_for_together_or_by_their_names_of_version_0_2():
    neuron = Neuron(0.5, "subtract-unleaked", 0.25, True, True, Linear(0.7), False)
    network = convert(chain(), FOUR, timesteps=2, neuron=neuron, encoding="poisson")
    assert network.neuron == replace(neuron, leak=1.0)
    assert {lif.leak.item() for lif in network.neurons.values()} == {0.5}
    assert network.encoding.encoding == "poisson"
    old = {"reset": "subtract-unleaked", "condition": ">=", "start": 0.25, "wait": True, "surrogate": Linear(0.7)}
    assert convert(chain(), FOUR, timesteps=2, leak=0.5, trainable=False, **old).neuron == network.neuron


def test_batch_norm_is_folded_into_convolution_and_linear_layer():
    torch.manual_seed(0)
    ann = nn.Sequential(
        *(nn.Conv2d(1, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2)),
    )
    images = torch.rand(16, 1, 4, 4)
    for _ in range(3):
        ann(images * 2)
    ann.eval()
    for norm in (ann[1], ann[5]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    graph = spiking_graph(ann, 2).layers
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in graph.modules())
    torch.testing.assert_close(graph.get_submodule("0")(images), ann[:2](images))
    rows = torch.rand(4, 48)
    torch.testing.assert_close(graph.get_submodule("4")(rows), ann[4:6](rows))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.linear = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Linear(16, 2)
        nn.init.constant_(self.norm.weight, 3.0)


def test_a_block_that_is_used_twice_is_folded_once():
    class Twice(Normed):
        def forward(self, images):
            once = F.relu(self.norm(self.conv(images)))
            return self.linear(F.relu(self.norm(self.conv(once))).flatten(1))

    ann, images = Twice().eval(), torch.rand(2, 1, 4, 4)
    folded = spiking_graph(ann, 2).layers.conv
    torch.testing.assert_close(folded(images), ann.norm(ann.conv(images)))


def test_a_relu_module_that_is_used_twice_becomes_two_neurons():
    class Twice(Normed):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)
            self.relu = nn.ReLU(inplace=True)

        def forward(self, images):
            return self.third(self.relu(self.second(self.relu(self.first(images.flatten(1))))))

    network = convert(Twice(), torch.rand(16, 1, 2, 2), timesteps=2)
    assert list(network.neurons) == ["relu", "relu_2"]
    assert network.neurons["relu"] is not network.neurons["relu_2"]


@pytest.mark.parametrize(
    "relu",
    [
        F.relu,
        torch.relu,
        F.relu_,
        F.relu6,
        lambda rows: rows.relu(),
        lambda rows: rows.relu_(),
        lambda rows: F.relu(input=rows),
    ],
)
@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
def test_functional_relus_become_neurons(relu):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, images):
            return self.second(relu(self.first(images.flatten(1))))

    network = convert(Functional(), torch.rand(16, 1, 2, 2), timesteps=2)
    assert len(network.neurons) == 1
    with record(network) as spikes:
        network(torch.rand(3, 1, 2, 2))
    assert next(iter(spikes.values())).shape == (2, 3, 6)


def test_names_that_conversion_wants_may_be_taken():
    class Taken(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.relu = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU()), nn.Linear(32, 5)
            self.relu_1 = nn.Linear(5, 2)

        def forward(self, images):
            return self.relu_1(F.relu(self.relu(self.encoder(images).flatten(1))))

    torch.manual_seed(1)
    network = convert(Taken(), torch.rand(16, 1, 4, 4), timesteps=2)
    assert len(network.neurons) == 2
    assert next(iter(network.neurons)) == "encoder.1"
    assert network(torch.rand(3, 1, 4, 4)).shape == (3, 2)


def test_a_shortcut_around_the_first_relu_is_given_time():
    torch.manual_seed(0)
    ann, images = Residual(lambda images, features: images), torch.rand(8, 1, 4, 4)
    network = convert(ann, images, timesteps=3)
    first, second = network.neurons.values()
    currents = []
    second.register_forward_hook(lambda _, inputs, __: currents.append(inputs[0]))
    with record(network) as spikes:
        network(images)
    steps = spikes[next(iter(network.neurons))]
    for step, current in zip(steps, Window(3, 8).by_step(currents[0]), strict=True):
        torch.testing.assert_close(current, ann.conv2(step) + images)
    assert first is not second


def test_a_residual_network_of_torchvision_is_converted():
    torch.manual_seed(0)
    network = convert(torchvision.models.resnet18(num_classes=10), torch.rand(4, 3, 32, 32), timesteps=2)
    assert len(network.neurons) == 17
    assert list(network.neurons)[:3] == ["relu", "layer1.0.relu", "layer1.0.relu_2"]
    logits = network(torch.rand(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    logits.sum().backward()
    assert network.layers.conv1.weight.grad.abs().max() > 0


def test_normalisation_stands_before_the_poisson_encoder():
    ann = build("vgg5", 10, in_channels=1, image_size=8, width=1 / 16, hidden=8, mean=[0.5], std=[0.25])
    network = convert(ann, torch.rand(8, 1, 8, 8), timesteps=3, encoding="poisson")
    seen = []
    network.encoding.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    network(torch.full((2, 1, 8, 8), 0.25))
    assert torch.equal(seen[0][0], torch.full((2, 1, 8, 8), -1.0))  # (0.25 - 0.5) / 0.25
    assert torch.equal(seen[0][1], torch.full((6, 1, 8, 8), -1.0))


def test_dropout_is_shared_over_time():
    ann = build("vgg5", 10, image_size=8, width=1 / 16, hidden=8, dropout=0.5)
    network = convert(ann, torch.rand(8, 3, 8, 8), timesteps=3)
    kinds = {type(module).__name__ for module in network.modules()}
    assert "SharedDropout" in kinds
    assert "Dropout" not in kinds
    assert network.layers.drop1.p == 0.5


@pytest.mark.parametrize("training", [True, False])
def test_the_ann_is_left_as_it_was_and_its_mode_is_taken_over(training):
    ann = torchvision.models.resnet18(num_classes=2).train(training)
    before = {name: tensor.clone() for name, tensor in ann.state_dict().items()}
    network = convert(ann, torch.rand(2, 3, 32, 32), timesteps=1)
    assert {module.training for module in network.modules()} == {training}
    assert {module.training for module in ann.modules()} == {training}
    assert any(isinstance(module, nn.ReLU) for module in ann.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in ann.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in ann.parameters())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in ann.state_dict().items())


def test_the_spec_of_the_ann_goes_along():
    ann = build("vgg5", 10, image_size=8, width=1 / 16, hidden=8)
    assert convert(ann, torch.rand(4, 3, 8, 8), timesteps=1).spec == ann.spec
    assert convert(chain(), FOUR, timesteps=1).spec is None


class Scaled(Residual):
    """With a buffer and a parameter at the root of the network, the latter of the shape of a batch."""

    def __init__(self):
        super().__init__(lambda images, features: features + self.offset.exp())
        self.register_buffer("mean", torch.full((1, 1, 4, 4), 0.5))
        self.offset = nn.Parameter(torch.zeros(1, 1, 4, 4))

    def forward(self, images):
        return super().forward(images - self.mean)


def test_what_is_reckoned_from_parameters_alone_is_given_no_time():
    network = convert(Scaled(), torch.rand(8, 1, 4, 4), timesteps=3)
    assert "with_time" not in network.layers.code
    assert network(torch.rand(2, 1, 4, 4)).shape == (2, 3)


@pytest.mark.parametrize("change", ["dtype", "assign", "buffer", "layer"])
def test_a_network_follows_what_is_replaced_in_its_graph(change):
    torch.manual_seed(0)
    network, images = convert(Scaled(), torch.rand(8, 1, 4, 4), timesteps=3).eval(), torch.rand(2, 1, 4, 4)
    before = network(images)
    if change == "dtype":
        assert network.double()(images.double()).dtype == torch.float64
        return
    if change == "assign":
        values = {name: value + 0.25 * (name == "layers.mean") for name, value in network.state_dict().items()}
        network.load_state_dict(values, assign=True)
    elif change == "buffer":
        network.layers.mean = network.layers.mean + 0.25
    else:
        network.layers.linear = nn.Linear(16, 3)
    window = Window(3, 2)
    expected = window.by_step(network.layers(images, window)).sum(0)
    torch.testing.assert_close(network(images), expected)
    assert not torch.equal(before, expected)


def test_neurons_are_made_where_the_ann_is():
    network = spiking_graph(chain().to("meta"), 2)
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


class Dropping(nn.Module):
    def __init__(self, drop):
        super().__init__()
        self.conv, self.linear, self.drop = nn.Conv2d(1, 8, 1), nn.Linear(128, 2), drop

    def forward(self, images):
        features = torch.relu(self.conv(images))
        return self.linear(self.drop(features, self.training).flatten(1))


@pytest.mark.parametrize(
    ("drop", "channels"),
    [
        (lambda x, training: F.dropout(x, training=training), False),
        (lambda x, training: F.dropout(x, 0.5, training), False),
        (lambda x, training: F.dropout2d(x, p=0.5, training=training), True),
    ],
)
def test_functional_dropout_is_shared_over_time(drop, channels):
    network = convert(Dropping(drop), torch.rand(4, 1, 4, 4), timesteps=3)
    (found,) = (module for module in network.modules() if isinstance(module, SharedDropout))
    assert (found.p, found.channels) == (0.5, channels)
    network.train()
    images = torch.rand(2, 1, 4, 4)
    assert not torch.equal(network(images), network(images))
    assert torch.equal(network.eval()(images), network(images))


@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
def test_dropout_that_never_stops_is_left_as_it_is():
    network = convert(Dropping(lambda x, training: F.dropout(x)), torch.rand(4, 1, 4, 4), timesteps=3).eval()
    assert not any(isinstance(module, SharedDropout) for module in network.modules())
    images = torch.rand(2, 1, 4, 4)
    assert not torch.equal(network(images), network(images))


def biased():
    torch.manual_seed(0)
    body = (
        *(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)),
    )
    ann = nn.Sequential(*body, nn.Flatten(), nn.Linear(4 * 16, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    for layer in ann.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.bias, 0.5, 1.5)
    return ann


def test_a_rescaled_network_with_biases_comes_to_the_logits_of_its_ann_as_t_grows():
    ann, images = biased(), torch.rand(16, 2, 8, 8)
    options = {"percentile": 100.0, "threshold_scale": 1.0, "start": 0.5}
    expected = ann(images)
    errors = []
    for timesteps in (8, 400):
        rates = convert(ann, images, timesteps=timesteps, rescale=True, **options)(images) / timesteps
        errors.append((rates - expected).abs().max().item() / expected.abs().max().item())
    assert errors[1] < 0.02 < errors[0]
    plain = convert(ann, images, timesteps=400, **options)(images) / 400
    assert not torch.allclose(plain / plain.norm(), expected / expected.norm(), atol=0.02)  # not even in proportion


@pytest.mark.parametrize(
    ("short", "options"),
    [
        ({}, {"threshold_scale": 0.4, "v_init": 0.0, "rescale": False}),
        ({"conversion": "paper"}, {"threshold_scale": 0.4, "v_init": 0.0, "rescale": False}),
        ({"conversion": "closest"}, {"threshold_scale": 0.7, "v_init": 0.5, "rescale": True}),
        (
            {"conversion": "closest", "threshold_scale": 0.5, "v_init": 0.0, "rescale": False},
            {"threshold_scale": 0.5, "v_init": 0.0, "rescale": False},
        ),
        (
            {"conversion": "closest", "neuron": Neuron(leak=0.9)},
            {"threshold_scale": 0.7, "v_init": 0.5, "rescale": True, "leak": 0.9},
        ),
        (
            {"conversion": "closest", "neuron": Neuron(v_init=0.25), "rescale": False},
            {"threshold_scale": 0.7, "v_init": 0.25, "rescale": False},
        ),
    ],
)
def test_a_conversion_stands_for_options_which_those_that_are_given_replace(short, options):
    ann, images = biased(), torch.rand(16, 2, 8, 8)
    network, expected = convert(ann, images, **short), convert(ann, images, conversion="paper", **options)
    assert network.neuron == expected.neuron
    assert network.neuron.v_init == options["v_init"]
    assert thresholds(network) == thresholds(expected)
    assert torch.equal(network(images), expected(images))


def test_the_closest_conversion_takes_learned_thresholds_as_they_are():
    torch.manual_seed(0)
    ann = build("resnet9", 3, activation="qcfs", levels=4, width=0.05, in_channels=1, image_size=8)
    images = torch.rand(4, 1, 8, 8)
    network = convert(ann.eval(), images, conversion="closest", timesteps=4)
    expected = convert(ann, images, timesteps=4, threshold_scale=1.0, v_init=0.5, rescale=True)
    assert thresholds(network) == thresholds(expected)


def test_rescaling_leaves_the_ann_alone_and_the_first_weights_as_they_are():
    ann, images = biased(), torch.rand(16, 2, 8, 8)
    before = {name: value.clone() for name, value in ann.state_dict().items()}
    one, other = (convert(ann, images, timesteps=2, rescale=rescale) for rescale in (False, True))
    assert all(torch.equal(value, before[name]) for name, value in ann.state_dict().items())
    weights = [dict(network.layers.named_parameters()) for network in (one, other)]
    assert torch.equal(weights[0]["0.weight"], weights[1]["0.weight"])
    threshold = other.neurons["2"].threshold
    torch.testing.assert_close(weights[1]["3.weight"], weights[0]["3.weight"] * threshold)
    assert torch.equal(weights[0]["3.bias"], weights[1]["3.bias"])


class AddsSpikes(nn.Module):
    def __init__(self, combine):
        super().__init__()
        self.first, self.body = nn.Conv2d(2, 4, 1), nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1))
        self.last, self.combine = nn.Linear(4, 3), combine

    def forward(self, images):
        spikes = self.first(images).relu()
        return self.last(self.combine(self.body(spikes), spikes).relu().mean((2, 3)))


def test_a_current_that_is_added_to_spikes_is_brought_to_their_units():
    torch.manual_seed(0)
    ann, images = AddsSpikes(operator.add).eval(), torch.rand(16, 2, 8, 8)
    network = convert(ann, images, timesteps=400, percentile=100.0, threshold_scale=1.0, start=0.5, rescale=True)
    torch.testing.assert_close(network(images) / 400, ann(images), rtol=0, atol=0.01)


def test_the_rates_of_resnet12_with_batch_norm_stand_for_the_activations_of_its_ann():
    torch.manual_seed(0)
    ann = build("resnet12", 10, width=1 / 16, image_size=16, batch_norm=True)
    images, activations = torch.rand(8, 3, 16, 16), []
    for _ in range(30):  # statistics of batch norm
        ann(images)
    ann.eval().block1.relu2.register_forward_hook(lambda _, __, output: activations.append(output))
    ann(images)
    network = convert(ann, images, timesteps=300, percentile=100.0, threshold_scale=1.0, start=0.5, rescale=True)
    with record(network) as spikes:
        network(images)
    # The sum with the identity is in units of the spikes that enter the block, those of relu3.
    amplitude = network.neurons["block1.relu2"].threshold * network.neurons["relu3"].threshold
    error = amplitude * spikes["block1.relu2"].mean(0) - activations[0]
    assert error.norm() < 0.15 * activations[0].norm()


@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
@pytest.mark.parametrize("combine", [operator.mul, lambda one, other: F.avg_pool2d(one, 3, 1, 1) + other])
def test_spikes_that_meet_something_else_cannot_be_rescaled(combine):
    torch.manual_seed(0)
    with pytest.raises(UsageError, match="combines spikes of two layers, or spikes with something else"):
        convert(AddsSpikes(combine), torch.rand(4, 2, 8, 8), timesteps=2, rescale=True)


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
        ({"percentle": 99}, "convert has no option 'percentle'; did you mean \"percentile\"?"),
        ({"conversion": "close"}, "conversion is 'close'; did you mean \"closest\"?"),
        (
            {"conversion": "closest", "exact": True},
            "exact=True is a conversion of its own, not 'closest'; leave one out",
        ),
        ({"encoding": "latency"}, "encoding is 'latency'; choose one of direct, poisson"),
        ({"threshold_scale": 1e-6}, r"a threshold is at least 0\.001; raise threshold_scale"),
        ({"images": FOUR * 255}, "divide by 255"),
        ({"images": (FOUR * 255).byte()}, "uint8.* divide by 255"),
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
        (lambda: convert(chain(), FOUR, timesteps=2).fuse("always"), "choose True, False or .auto."),
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
