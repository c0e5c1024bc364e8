import pytest
import torch

from hiresnn.network import SharedDropout
from hiresnn.neurons import Window


def dropped(dropout, window, units=1000):
    return window.by_step(dropout(torch.ones(window.timesteps * window.batch, units), window))


def test_a_unit_is_dropped_at_all_timesteps_or_at_none():
    torch.manual_seed(0)
    steps = dropped(SharedDropout(0.25), Window(4, 3))
    for step in steps[1:]:
        assert torch.equal(step, steps[0])
    # 3000 units: a share within 0.03 of 0.25 is almost four standard deviations.
    assert (steps[0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)


def test_what_stays_is_scaled_to_keep_the_expectation():
    assert dropped(SharedDropout(0.2), Window(2, 2)).unique().tolist() == [0, 1.25]


def test_every_forward_draws_a_fresh_mask():
    dropout, window = SharedDropout(0.5), Window(2, 2)
    assert not torch.equal(dropped(dropout, window), dropped(dropout, window))
    assert window.masks == {}


def test_a_following_window_keeps_the_mask():
    dropout, window = SharedDropout(0.5), Window(2, 2, carried=True)
    assert torch.equal(dropped(dropout, window), dropped(dropout, window.following()))


def test_rows_without_time_keep_having_none():
    dropout, window = SharedDropout(0.5), Window(3, 2)
    assert dropout(torch.ones(2, 4, 5, 5), window, False).shape == (2, 4, 5, 5)
    assert dropout(torch.ones(6, 4, 5, 5), window).shape == (6, 4, 5, 5)


def test_evaluation_and_zero_probability_leave_rows_as_they_are():
    rows, window = torch.rand(4, 3), Window(2, 2)
    assert SharedDropout(0.5).eval()(rows, window) is rows
    assert SharedDropout(0.0)(rows, window) is rows


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9])
def test_units_are_dropped_with_the_probability_asked_for_and_independently(p):
    torch.manual_seed(0)
    gone = dropped(SharedDropout(p), Window(1, 1), 2**20)[0, 0] == 0
    deviation = (p * (1 - p) / 2**20) ** 0.5
    assert gone.double().mean().item() == pytest.approx(p, abs=5 * deviation + 2**-17)
    for lag in (1, 2, 3, 4):  # four units share a draw
        both = (gone[lag:] & gone[:-lag]).double().mean().item()
        assert both == pytest.approx(p * p, abs=5 * p / 2**10)


def test_a_mask_has_the_layout_of_its_rows():
    rows = torch.ones(3, 5, 4, 4).contiguous(memory_format=torch.channels_last)
    mask = SharedDropout(0.5).mask(rows, Window(1, 3))
    assert mask.shape == rows.shape
    assert mask.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_whole_channels_are_dropped_where_asked_for(layout):
    torch.manual_seed(0)
    like = torch.ones(3, 500, 4, 5).contiguous(memory_format=layout)
    mask = SharedDropout(0.25, channels=True).mask(like, Window(2, 3))
    assert mask.is_contiguous(memory_format=layout)
    assert torch.equal(mask, mask[:, :, :1, :1].expand_as(mask))
    # 1500 channels: a share within 0.045 of 0.25 is four standard deviations.
    assert (mask[:, :, 0, 0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.045)
