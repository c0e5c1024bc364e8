"""The network over time, and its recorded spikes."""

import copy
import logging
import pickle

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import calibrate, compiling_pays, convert, record, spiking_graph
from hiresnn.network import spiking as spiking_module
from hiresnn.neurons import MIN_THRESHOLD, Window, can_fuse

compiled = pytest.mark.skipif(not can_fuse(), reason="no C++ compiler")


def spiking(name="vgg5", *, classes=10, channels=3, size=8, timesteps=4, seed=0, leak=0.9, **options):
    torch.manual_seed(seed)
    ann = build(name, classes, in_channels=channels, image_size=size, width=1 / 16, hidden=8, **options)
    return convert(ann, torch.rand(16, channels, size, size), timesteps=timesteps, leak=leak).eval()


def pictures(batch=3, channels=3, size=8, seed=5):
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["vgg5", "resnet12"])
@pytest.mark.parametrize("training", [False, True])
def test_all_steps_layer_by_layer_equal_one_step_after_another(name, training):
    network, images = spiking(name).train(training), pictures()
    torch.manual_seed(1)
    with record(network) as together:
        logits = network(images)
    torch.manual_seed(1)  # the masks of dropout, drawn once in either way
    window, single = Window(1, 3, carried=True), []
    with record(network) as spikes:
        for t in range(4):
            window = window.following() if t else window
            network.present(images, window)
            single.append(dict(spikes))
    for layer, steps in together.items():
        assert torch.equal(steps, torch.cat([step[layer] for step in single]))
        assert steps.sum() > 0
    torch.testing.assert_close(window.logits, logits)


def test_logits_are_the_sum_of_the_last_layer_over_time():
    network = spiking()
    with record(network) as spikes:
        logits = network(pictures())
    counts = spikes["relu5"].sum(0)
    torch.testing.assert_close(logits, counts @ network.layers.linear3.weight.T)


def test_a_sample_does_not_depend_on_its_batch():
    network, images = spiking(), pictures()
    torch.testing.assert_close(network(images)[1:2], network(images[1:2]))


def test_two_networks_share_nothing():
    torch.manual_seed(0)
    ann = build("vgg5", 10, image_size=8, width=1 / 16, hidden=8)
    one, other = (convert(ann, pictures(), timesteps=3).eval() for _ in range(2))
    images = pictures()
    expected = other(images)
    storages = {tensor.data_ptr() for tensor in one.state_dict().values()}
    assert storages.isdisjoint(tensor.data_ptr() for tensor in (*other.state_dict().values(), *ann.parameters()))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(3)
    one(images)
    assert torch.equal(other(images), expected)


def test_a_call_may_name_its_own_timesteps():
    network, images = spiking(timesteps=4), pictures()
    two = network(images, timesteps=2)
    assert not torch.equal(two, network(images))
    assert network.timesteps == 4
    network.timesteps = 2
    assert torch.equal(network(images), two)


@pytest.mark.parametrize(
    ("batch", "channels", "size", "classes", "timesteps"),
    [(1, 3, 8, 10, 4), (3, 3, 8, 10, 1), (1, 1, 8, 100, 1), (2, 1, 9, 2, 5)],
)
@pytest.mark.parametrize("name", ["vgg5", "resnet12"])
def test_small_batches_images_and_times_train(name, batch, channels, size, classes, timesteps):
    network = spiking(name, classes=classes, channels=channels, size=size, timesteps=timesteps).train()
    logits = network(pictures(batch, channels, size))
    assert logits.shape == (batch, classes)
    logits.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_neurons_come_first_layer_first_with_scalar_parameters():
    network = spiking("resnet12")
    blocks = [f"block{block}.relu{relu}" for block in (1, 2, 3, 4) for relu in (1, 2)]
    assert list(network.neurons) == ["relu1", "relu2", "relu3", *blocks]
    for neuron in network.neurons.values():
        assert neuron.threshold.shape == neuron.leak.shape == ()


def test_bfloat16_keeps_membranes_and_logits_in_float32():
    network, dtypes = spiking(), set()
    for neuron in network.neurons.values():
        neuron.register_forward_hook(lambda _, inputs, output: dtypes.add((inputs[0].dtype, output.dtype)))
    window = Window(4, 3, carried=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network.present(pictures(), window)
    logits.sum().backward()
    assert dtypes == {(torch.bfloat16, torch.bfloat16)}
    assert {residue.dtype for residue in window.membranes.values()} == {torch.float32}
    assert logits.dtype == torch.float32
    assert {parameter.grad.dtype for parameter in network.parameters()} == {torch.float32}


def test_bfloat16_rounds_no_membrane_away_from_its_threshold():
    # A pixel of 2^-8 on top of a membrane of 1 vanishes in bfloat16; the threshold 1 + 2^-9 lies between.
    ann = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    network = convert(ann.requires_grad_(False).apply(ones), torch.ones(1, 1, 1, 1), timesteps=1)
    network.neurons["2"].threshold.data.fill_(1 + 2.0**-9)
    window = Window(1, 1, carried=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network.present(torch.ones(1, 1, 1, 1), window).item() == 0
        assert network.present(torch.full((1, 1, 1, 1), 2.0**-8), window.following()).item() == 1


def ones(layer):
    if isinstance(layer, nn.Linear):
        layer.weight.fill_(1)


def test_clamping_reaches_every_neuron():
    network = spiking()
    with torch.no_grad():
        for neuron in network.neurons.values():
            neuron.leak.fill_(2)
            neuron.threshold.fill_(-1)
    network.clamp_neurons_()
    for neuron in network.neurons.values():
        assert neuron.leak.item() == 1
        assert neuron.threshold.item() == pytest.approx(MIN_THRESHOLD)


def updates(network, batch):
    """Neuron updates of one forward pass."""
    with record(network) as spikes:
        network(pictures(batch))
    return sum(layer.numel() for layer in spikes.values())


def test_a_new_network_compiles_once_the_work_done_pays_for_it_and_says_so_once(no_compiler, monkeypatch, caplog):
    network = spiking().fuse("auto")
    monkeypatch.setattr(spiking_module, "COMPILING_PAYS_ABOVE", 2 * updates(spiking(), 3))
    for _ in range(3):
        network(pictures())
        assert not network.fused
    with caplog.at_level(logging.WARNING, "hiresnn"):
        expected = spiking()(pictures())
        assert torch.equal(network(pictures()), expected)
        network(pictures())
    assert network.fused
    assert [message for message in caplog.messages if "compiles the neurons" in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_auto_is_the_default_and_a_choice_turns_it_off(no_compiler, monkeypatch):
    monkeypatch.setattr(spiking_module, "COMPILING_PAYS_ABOVE", 0)
    network, off = spiking(), spiking().fuse(False)
    for _ in range(2):
        network(pictures())
        off(pictures())
    assert network.fused
    assert not off.fused


def test_a_network_that_compiles_between_forward_and_backward_recomputes_what_it_computed(no_compiler, monkeypatch):
    network = spiking("resnet12").recompute()
    plain = spiking("resnet12")
    plain(pictures()).sum().backward()
    logits = network(pictures())
    monkeypatch.setattr(spiking_module, "COMPILING_PAYS_ABOVE", 0)
    with torch.no_grad():
        network(pictures())
    assert network.fused
    logits.sum().backward()
    assert torch.equal(network.layers.conv1.weight.grad, plain.layers.conv1.weight.grad)


def test_an_output_of_another_number_of_rows_is_refused():
    network = spiking()
    network.layers.linear3 = nn.Sequential(network.layers.linear3, nn.Unflatten(0, (-1, 4)), nn.Flatten(1, 2))
    with pytest.raises(UsageError, match="returns 3 rows for 3 images and 4 timesteps"):
        network(pictures())


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=compiled)])
def test_a_network_is_pickled_and_copied_with_all_that_it_computes(fused):
    ann = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    images = torch.rand(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    network = convert(ann.eval(), images, timesteps=2).fuse(fused)
    expected = network(images)
    for other in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert torch.equal(other(images), expected)
        assert list(other.neurons) == list(network.neurons)
        assert other.fused is fused


def one_pixel_network():
    """Two IF layers of one neuron: threshold 1 on the pixel, threshold 2 on three times its spikes."""
    ann = nn.Sequential(
        nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2)
    )
    network = spiking_graph(ann, 4)
    with torch.no_grad():
        network.layers.get_submodule("1").weight.fill_(1)
        network.layers.get_submodule("3").weight.fill_(3)
        network.neurons["4"].threshold.fill_(2)
    return network


def test_recorded_spikes_are_those_counted_by_hand():
    # First layer, threshold 1:             pixel 0.75: u = 0.75, 1.5, 1.25, 1.0 (not above 1)  -> 0 1 1 0
    #                                       pixel 0.25: u = 0.25, 0.5, 0.75, 1.0                -> 0 0 0 0
    # Second, I = 3 a spike, threshold 2:   u = 0, 3, 1 + 3, 2 + 0 (not above 2)                -> 0 1 1 0
    network = one_pixel_network()
    with record(network) as spikes:
        network(torch.tensor([0.75, 0.25]).view(2, 1, 1, 1))
    assert list(spikes) == ["2", "4"]
    for layer in spikes.values():
        assert layer.shape == (4, 2, 1)
        assert layer[:, 0].flatten().tolist() == [0, 1, 1, 0]
        assert layer[:, 1].flatten().tolist() == [0, 0, 0, 0]


def test_every_layer_is_recorded_by_step_and_sample_without_gradient():
    ann = build("vgg5", 10, width=1 / 16, hidden=8, image_size=8)
    network = convert(ann, torch.rand(4, 3, 8, 8), timesteps=3).eval()
    with record(network) as spikes:
        network(torch.rand(2, 3, 8, 8).requires_grad_())
    assert {name: tuple(layer.shape) for name, layer in spikes.items()} == {
        "relu1": (3, 2, 4, 8, 8),
        "relu2": (3, 2, 8, 4, 4),
        "relu3": (3, 2, 8, 4, 4),
        "relu4": (3, 2, 8),
        "relu5": (3, 2, 8),
    }
    for layer in spikes.values():
        assert set(layer.unique().tolist()) <= {0.0, 1.0}
        assert not layer.requires_grad


def test_the_latest_forward_is_kept_and_nothing_is_recorded_outside():
    network, bright = one_pixel_network(), torch.ones(1, 1, 1, 1)
    with record(network) as spikes:
        network(bright)
        network(bright * 0, timesteps=2)
    assert spikes["2"].flatten().tolist() == [0, 0]
    network(bright)
    assert spikes["2"].flatten().tolist() == [0, 0]


@pytest.mark.parametrize(
    "look", [lambda network, images: compiling_pays(network, images[:1], 1), calibrate], ids=["count", "calibrate"]
)
def test_a_layer_in_eval_mode_inside_a_network_in_training_mode_stays_so(look):
    network, images = one_pixel_network().train(), torch.rand(4, 1, 1, 1)
    network.neurons["2"].eval()
    look(network, images)
    assert [name for name, module in network.named_modules() if not module.training] == ["layers.2"]


def test_one_means_true_to_fuse(no_compiler):
    assert spiking().fuse(1).fused


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "are torch.uint8, not floats"),
        (torch.rand(2, 1, 8, 8), r"takes \[N, 3, H, W\]"),  # the normalisation would make three channels of it
        (torch.rand(3, 8, 8), r"takes \[N, 3, H, W\]"),
    ],
)
def test_images_of_another_type_or_other_channels_are_refused(images, message):
    with pytest.raises(UsageError, match=message):
        spiking(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(images)
