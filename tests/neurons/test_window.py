import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Window


def test_rows_without_time_are_repeated_step_after_step():
    window, rows = Window(3, 2), torch.tensor([[1.0], [2.0]])
    timed = window.with_time(rows)
    assert timed.flatten().tolist() == [1, 2, 1, 2, 1, 2]


def test_rows_are_seen_by_step_without_a_copy():
    window, rows = Window(3, 2), torch.arange(6.0).view(6, 1)
    by_step = window.by_step(rows)
    assert by_step.flatten(1).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert by_step.data_ptr() == rows.data_ptr()


def test_the_sum_over_all_steps_arrives_at_the_first_step():
    window, rows = Window(3, 2), torch.arange(6.0).view(6, 1).requires_grad_()
    arriving = window.at_first_step(rows)
    assert arriving.flatten().tolist() == [0 + 2 + 4, 1 + 3 + 5, 0, 0, 0, 0]
    (arriving * torch.tensor([[5.0], [7.0], [1.0], [1.0], [1.0], [1.0]])).sum().backward()
    assert rows.grad.flatten().tolist() == [5, 7, 5, 7, 5, 7]


def test_a_window_leaves_nothing_behind_unless_it_is_carried():
    neuron, current = LIF(), torch.rand(2, 3)
    plain, carried = Window(2, 2), Window(2, 2, carried=True)
    for window in (plain, carried):
        neuron(current, window, False)
    assert plain.membranes == {}
    assert carried.membranes[neuron].shape == (6,)


def test_a_following_window_has_the_state_detached():
    logits = torch.rand(2, 3, requires_grad=True) * 2
    window = Window(4, 2, True, logits=logits)
    after = window.following()
    assert (after.timesteps, after.batch, after.carried) == (4, 2, True)
    assert torch.equal(after.logits, logits)
    assert not after.logits.requires_grad


@pytest.mark.parametrize("timesteps", [0, -1])
def test_a_window_without_a_step_is_refused(timesteps):
    with pytest.raises(UsageError, match=f"timesteps is {timesteps}; a window needs at least 1"):
        Window(timesteps, 2)


@pytest.mark.parametrize("timesteps", [1, 3])
def test_an_empty_batch_has_steps(timesteps):
    assert Window(timesteps, 0).by_step(torch.empty(0, 5)).shape == (timesteps, 0, 5)
