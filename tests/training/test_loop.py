"""The training loop: what a batch reports, how often it updates, and what its loss sees."""

import math

import pytest
import torch
from torch import Tensor, nn

from hiresnn.network import spiking_graph
from hiresnn.network.layers import SharedDropout
from hiresnn.neurons import MIN_THRESHOLD
from hiresnn.training import Method, Noise, Presentation, cross_entropy, method, train_batch
from hiresnn.training.losses import sparse_gradients


class Frozen:
    """Stands in for an optimiser: counts updates and changes nothing."""

    def __init__(self):
        self.updates = 0

    def zero_grad(self, set_to_none):
        pass

    def step(self):
        self.updates += 1


def spiking(dropout=0.0):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 3))
    nn.init.constant_(ann[1].weight, 1.0)
    return spiking_graph(ann, 4)


def batches(*sizes):
    return [(torch.full((size, 1, 2, 2), 0.5), torch.ones(size, dtype=torch.int64)) for size in sizes]


@pytest.mark.parametrize(("periods", "timesteps"), [(1, 1), (1, 4), (2, 5), (3, 4)])
def test_every_period_is_one_update(periods, timesteps):
    frozen = Frozen()
    seen = train_batch(spiking(), frozen, *batches(1)[0], Method(periods), timesteps=timesteps)
    assert (len(seen), frozen.updates) == (periods, periods)


def test_a_loss_sees_images_noise_logits_and_the_logits_of_the_period_before():
    seen: list[Presentation] = []

    class Half(Noise):
        def apply(self, images):
            return images / 2

    def loss(presentation):
        seen.append(presentation)
        return 3 * cross_entropy(presentation)

    network, (images, labels) = spiking(), batches(3)[0]
    results = train_batch(network, Frozen(), images, labels, Method(2, Half(), loss=loss))
    plain = train_batch(network, Frozen(), images, labels, Method(2, Half()))
    assert [result.loss for result in results] == pytest.approx([3 * result.loss for result in plain])
    assert [each.timesteps for each in seen] == [2, 2]
    assert all(torch.equal(each.images, images) and torch.equal(each.shown, images / 2) for each in seen)
    assert seen[0].earlier is None
    assert torch.equal(seen[1].earlier, seen[0].logits.detach() / 2)
    assert not seen[1].earlier.requires_grad


@pytest.mark.parametrize(("state", "same"), [("carry", True), ("reset", False)])
def test_carried_periods_share_a_dropout_mask_and_others_draw_new_ones(state, same):
    network, masks = spiking(dropout=0.5), []
    for lif in network.neurons.values():
        nn.init.constant_(lif.threshold, 0.1)  # every neuron spikes at every step, so zeros come from the mask
    (dropout,) = (module for module in network.modules() if isinstance(module, SharedDropout))
    dropout.register_forward_hook(lambda module, inputs, output: masks.append(output == 0))
    train_batch(network, Frozen(), *batches(3)[0], Method(2, Noise(), state), timesteps=4)
    assert len(masks) == 2
    assert masks[0].any()
    assert torch.equal(masks[0], masks[1]) is same


def test_with_carried_state_the_loss_of_a_period_covers_all_steps_so_far():
    network, (images, labels) = spiking(), batches(3)[0]
    carried = train_batch(network, Frozen(), images, labels, Method(2, Noise(), "carry"), timesteps=4)
    fresh = train_batch(network, Frozen(), images, labels, Method(2), timesteps=4)
    whole = train_batch(network, Frozen(), images, labels, Method(), timesteps=4)
    assert carried[1] == pytest.approx(whole[0])
    assert fresh[1] == fresh[0] == carried[0]


@pytest.mark.parametrize(
    ("leak", "threshold", "expected"),
    [(1.5, -2.0, (1.0, MIN_THRESHOLD)), (-0.5, 0.0, (0.0, MIN_THRESHOLD)), (0.7, 2.0, (0.7, 2.0))],
)
def test_an_update_that_leaves_the_range_of_leak_or_threshold_is_clamped(leak, threshold, expected):
    network = spiking()
    (lif,) = network.neurons.values()

    class Overshoot(Frozen):
        @torch.no_grad()
        def step(self):
            lif.leak.fill_(leak)
            lif.threshold.fill_(threshold)

    train_batch(network, Overshoot(), *batches(2)[0], Method(), timesteps=4)
    assert (lif.leak.item(), lif.threshold.item()) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "passes"), [("traditional", 1), ("trades", 4), ("sparse", 4), ("mppd-tv", 3)])
def test_every_pass_of_a_method_is_in_the_precision_of_the_training(name, passes):
    network, outputs = spiking(), []
    network.get_submodule("layers.1").register_forward_hook(lambda _, __, output: outputs.append(output.dtype))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    chosen = method(name, periods=1, step=0.1)
    train_batch(network, optimizer, *batches(3)[0], chosen, timesteps=4, precision=torch.bfloat16)
    assert outputs == passes * [torch.bfloat16]


def test_bfloat16_computes_products_in_bfloat16_and_keeps_weights_and_gradients_in_float32():
    network, outputs = spiking(), []
    first = next(module for module in network.modules() if isinstance(module, nn.Linear))
    first.register_forward_hook(lambda module, inputs, output: outputs.append(output.dtype))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    ((loss, *_),) = train_batch(network, optimizer, *batches(2)[0], Method(), timesteps=4, precision=torch.bfloat16)
    assert outputs == [torch.bfloat16]
    assert math.isfinite(loss)
    for parameter in network.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad.dtype == torch.float32


@pytest.mark.parametrize(("state", "steps"), [("carry", [2, 4]), ("reset", [2, 2])])
def test_the_logits_of_carried_periods_are_divided_by_all_their_timesteps(state, steps):
    seen: list[Presentation] = []

    def loss(presentation):
        seen.append(presentation)
        return cross_entropy(presentation)

    network, (images, labels) = spiking(), batches(3)[0]
    train_batch(network, Frozen(), images, labels, Method(2, state=state, loss=loss))
    assert [each.timesteps for each in seen] == steps
    for each in seen:
        torch.testing.assert_close(each.logits, network(images, each.timesteps))
        torch.testing.assert_close(each.model(images), each.logits)  # over as many steps, from rest
    torch.testing.assert_close(seen[1].earlier, network(images, 2) / 2)


def test_a_further_pass_of_a_loss_can_have_the_dropout_masks_of_the_first():
    network, (images, labels) = spiking(dropout=0.5).train(), batches(3)[0]
    others: list[Tensor] = []

    def loss(seen):
        drawn = torch.get_rng_state()
        for _ in range(2):
            torch.testing.assert_close(seen.model(images, same_draws=True), seen.logits)
        assert torch.equal(torch.get_rng_state(), drawn)
        others.append(seen.model(images) - seen.logits)
        return cross_entropy(seen)

    train_batch(network, Frozen(), images, labels, Method(loss=loss))
    assert others[0].abs().max() > 0


@pytest.mark.parametrize("name", ["mppd-tv", "mpd-sgr"])
def test_an_interrupted_batch_leaves_no_hook(name):
    network, (images, labels) = spiking(), batches(3)[0]

    def interrupted(*_):
        if any(module._forward_hooks for module in (network.readout, *network.neurons.values())):
            raise KeyboardInterrupt

    handle = network.layers.get_submodule("4").register_forward_hook(interrupted)
    made = method(name, periods=1, step=0.0)
    made.noise.needs_gradient = False
    with pytest.raises(KeyboardInterrupt):
        train_batch(network, Frozen(), images, labels, made)
    handle.remove()
    assert not [module for module in network.modules() if module._forward_hooks]


def test_dropout_is_no_gradient_to_the_loss_of_sparse_gradients():
    """Without a gradient in the images, masks of their own would still make f(x + h d) - f(x) large."""
    network, (images, labels) = spiking(dropout=0.5).train(), batches(3)[0]
    network.layers.get_submodule("1").weight.data.fill_(100.0)  # every neuron spikes at every step
    lost: list[tuple[Tensor, Tensor]] = []

    def loss(seen):
        lost.append((sparse_gradients(seen, strength=1.0), cross_entropy(seen._replace(logits=seen.logits / 4))))
        return lost[-1][0]

    train_batch(network, Frozen(), images, labels, Method(loss=loss))
    torch.testing.assert_close(*lost[0])
