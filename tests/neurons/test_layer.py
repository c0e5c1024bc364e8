import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.neurons import CONDITIONS, LIF, MIN_THRESHOLD, RESETS, Linear, Window, can_fuse

from ..reference import Neuron


def explicit_layer(currents, threshold, leak, reset, condition=">"):
    """Spikes of a layer, one timestep after another, for plain autograd."""
    neuron = Neuron(threshold, leak, reset, condition=condition)
    return [neuron(current) for current in currents]


def leaves(*tensors):
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def double(threshold, leak, reset="subtract"):
    return LIF(threshold, leak, reset=reset).double()


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("timed", [True, False], ids=["timed", "untimed"])
def test_gradients_equal_an_explicit_loop_over_time(reset, timed):
    torch.manual_seed(0)
    timesteps, batch = 6, 4
    rows = torch.rand(timesteps * batch if timed else batch, 5, dtype=torch.float64)
    weights = torch.randn(timesteps, batch, 5, dtype=torch.float64)

    neuron = double(0.6, 0.85, reset)
    (current,) = leaves(rows)
    spikes = neuron(current, Window(timesteps, batch), timed)
    (spikes.view_as(weights) * weights).sum().backward()

    reference, threshold, leak = leaves(rows, neuron.threshold, neuron.leak)
    steps = reference.view(timesteps, batch, 5) if timed else [reference] * timesteps
    expected = torch.stack(explicit_layer(steps, threshold, leak, reset))
    (expected * weights).sum().backward()

    assert torch.equal(spikes.view_as(expected), expected)
    assert 0.1 < expected.mean() < 0.9
    assert threshold.grad != 0
    assert leak.grad != 0
    close(current.grad, reference.grad)
    close(neuron.threshold.grad, threshold.grad)
    close(neuron.leak.grad, leak.grad)


@pytest.mark.parametrize("reset", RESETS)
def test_with_the_inclusive_condition_a_membrane_at_the_threshold_spikes_and_resets(reset):
    torch.manual_seed(3)
    rows = torch.randint(0, 5, (6 * 4, 50)).double() / 8  # with threshold and leak 0.5 many membranes are equal to 0.5
    weights = torch.randn(6, 4, 50, dtype=torch.float64)
    found = []
    for condition in CONDITIONS:
        neuron = LIF(0.5, 0.5, reset=reset, condition=condition).double()
        (current,) = leaves(rows)
        spikes = neuron(current, Window(6, 4))
        (spikes.view_as(weights) * weights).sum().backward()
        reference, threshold, leak = leaves(rows, neuron.threshold, neuron.leak)
        expected = torch.stack(explicit_layer(reference.view(6, 4, 50), threshold, leak, reset, condition))
        (expected * weights).sum().backward()
        assert torch.equal(spikes.view_as(expected), expected)
        close(current.grad, reference.grad)
        close(neuron.threshold.grad, threshold.grad)
        close(neuron.leak.grad, leak.grad)
        found.append(spikes)
    assert (found[1] > found[0]).any()


@pytest.mark.parametrize("timed", [True, False], ids=["timed", "untimed"])
def test_channels_last_memory_changes_nothing_but_the_layout(timed):
    torch.manual_seed(2)
    neuron = LIF(0.5, 0.9)
    plain = torch.rand(6 if timed else 2, 3, 4, 5)
    weights = torch.randn(6, 3, 4, 5)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        current = plain.clone(memory_format=layout).requires_grad_()
        window = Window(3, 2, carried=True)
        spikes = torch.cat([neuron(current, window, timed), neuron(current, window.following(), timed)])
        assert spikes.shape == (12, 3, 4, 5)
        (gradient,) = torch.autograd.grad((spikes * weights.repeat(2, 1, 1, 1)).sum(), current)
        assert neuron(current, Window(3, 2), timed).is_contiguous(memory_format=layout)
        results.append((spikes, gradient))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


def test_rows_are_ordered_by_step_and_then_by_image():
    # Two images; the second needs two steps for a spike.
    spikes = LIF(1.0)(torch.tensor([[1.5], [0.75]]), Window(2, 2), False)
    assert spikes.flatten().tolist() == [1, 0, 1, 1]


def test_a_following_window_goes_on_with_the_membranes():
    neuron, current = LIF(1.0), torch.full((1, 1), 0.75)
    window = Window(1, 1, carried=True)
    assert neuron(current, window).item() == 0
    assert neuron(current, window.following()).item() == 1


def test_gradients_do_not_flow_into_an_earlier_window():
    neuron, window = LIF(1.0), Window(1, 1, carried=True)
    (early, late) = leaves(torch.full((1, 1), 0.75), torch.full((1, 1), 0.5))
    neuron(early, window)
    neuron(late, window.following()).sum().backward()
    assert early.grad is None
    assert late.grad.item() == pytest.approx(0.3 * 0.75)  # u = 1.25, z = 0.25


def test_frozen_neurons_get_no_gradient_and_pass_one_on():
    neuron = LIF(0.5, 0.9, trainable=False)
    (current,) = leaves(torch.rand(2, 3))
    neuron(current, Window(3, 2), False).sum().backward()
    assert neuron.threshold.grad is neuron.leak.grad is None
    assert current.grad.abs().sum() > 0


def test_clamp_returns_leak_and_threshold_to_their_ranges():
    for leak, kept in ((1.25, 1.0), (-0.25, 0.0), (0.5, 0.5)):
        neuron = LIF()
        with torch.no_grad():
            neuron.leak.fill_(leak)
            neuron.threshold.fill_(-1)
        neuron.clamp_()
        assert neuron.leak.item() == kept
        assert neuron.threshold.item() == pytest.approx(MIN_THRESHOLD)


# One neuron, threshold 1, start 0.5, input 1 and then -1, so 0 in all. By itself it reaches 1.5 at the first step and
# sends a spike that it cannot take back. If it waits, it stays at 0.5. With input 1.2 and 1.2 the total of 2.4 and the
# start make 2.9: two spikes either way.
@pytest.mark.parametrize(("inputs", "together", "waiting"), [((1.0, -1.0), 1, 0), ((1.2, 1.2), 2, 2)])
def test_a_neuron_that_waits_gets_its_whole_input_at_the_first_step(inputs, together, waiting):
    current = torch.tensor(inputs).view(2, 1)
    assert LIF(start=0.5)(current, Window(2, 1)).sum() == together
    assert LIF(start=0.5, wait=True)(current, Window(2, 1)).sum() == waiting


def test_printing_a_neuron_shows_its_values():
    assert repr(LIF(0.25, 0.5)) == "LIF(threshold=0.25, leak=0.5, reset='subtract')"
    assert repr(LIF(reset="zero", condition=">=")).endswith("reset='zero', fires_at_threshold=True)")
    assert repr(LIF(0.25, 0.5, start=0.5, wait=True)).endswith("reset='subtract', v_init=0.5, wait=True)")


@pytest.mark.parametrize(("rows", "timed"), [(4, True), (9, True), (3, False)])
def test_rows_that_cannot_come_from_the_images_of_the_window_are_refused(rows, timed):
    neuron = LIF()
    neuron.name = "layer 'relu1'"
    with pytest.raises(UsageError, match=f"layer 'relu1' gets {rows} rows, which cannot come from 2 images"):
        neuron(torch.rand(rows, 5), Window(3, 2), timed)


@pytest.mark.skipif(not can_fuse(), reason="needs a C++ compiler")
def test_a_fused_neuron_follows_its_rule_through_autograd():
    torch.manual_seed(0)
    neuron, gradients = LIF(0.7, 0.9), []
    rows, weights = torch.rand(12, 40), torch.randn(12, 40)
    for rule in (Linear(), Linear(0.5, 2.0)):
        for fused in (False, True):
            neuron.surrogate = rule
            neuron.zero_grad()
            (current,) = leaves(rows)
            spikes = neuron(current, Window(4, 3, fused=fused))
            (spikes * weights).sum().backward()
            gradients.append((spikes.detach(), current.grad, neuron.threshold.grad, neuron.leak.grad))
    for eager, fused in (gradients[:2], gradients[2:]):
        assert torch.equal(eager[0], fused[0])
        for one, other in zip(eager[1:], fused[1:], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(gradients[0][1], gradients[2][1])
