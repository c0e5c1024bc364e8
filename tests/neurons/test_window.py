import torch

from hiresnn.neurons import LIF, Window


def test_rows_without_time_are_repeated_step_after_step():
    window, rows = Window(3, 2), torch.tensor([[1.0], [2.0]])
    timed = window.with_time(rows)
    assert timed.flatten().tolist() == [1, 2, 1, 2, 1, 2]


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
