import pytest
import torch

from hiresnn.neurons import RESETS, Linear, can_fuse
from hiresnn.neurons.compiled import kernel
from hiresnn.neurons.lif import Scan, scan_backward, scan_forward

# Worked out by hand. Every number is a sum of powers of two, so float32 has it exactly.
#
# IF (leak 1), threshold 1, either reset:
#   I  0.5   0.75  0.25  1.0   0.75
#   u  0.5   1.25  0.5   1.5   1.25        u[t] = m[t-1] + I[t]
#   s  0     1     0     1     1
#   m  0.5   0.25  0.5   0.5   0.25        m[t] = u[t] - s[t], all of which stays
IF = ([0.5, 0.75, 0.25, 1.0, 0.75], [0, 1, 0, 1, 1], [0.5, 0.25, 0.5, 0.5, 0.25])
# LIF, leak 0.5, threshold 1, reset within the step:
#   I  0.75   0.75    0.25     1.5      0.5
#   u  0.75   1.125   0.3125   1.65625  0.828125
#   s  0      1       0        1        0
#   m  0.75   0.125   0.3125   0.65625  0.828125
#   left behind: m / 2
LIF = ([0.75, 0.75, 0.25, 1.5, 0.5], [0, 1, 0, 1, 0], [0.375, 0.0625, 0.15625, 0.328125, 0.4140625])
# The same current, Eq. 1 as printed: what is left behind is u / 2 - s.
#   u  0.75   1.125    -0.1875   1.40625    0.203125
#   s  0      1        0         1          0
UNLEAKED = ([0.75, 0.75, 0.25, 1.5, 0.5], [0, 1, 0, 1, 0], [0.375, -0.4375, -0.09375, -0.296875, 0.1015625])
# LIF, leak 0.5, threshold 0.5, reset within the step:
#   I  0.375  0.375   0.5      0.125     0.75
#   u  0.375  0.5625  0.53125  0.140625  0.8203125
#   s  0      1       1        0         1
#   m  0.375  0.0625  0.03125  0.140625  0.3203125
#
# IF, threshold 1, membranes that start at half the threshold:
#   I  0.5   0.75  0.25  1.0   0.75
#   u  1.0   1.75  1.0   2.0   1.75        u[0] = 0.5 + I[0]; u = 1 is not above the threshold
#   s  0     1     0     1     1
#   m  1.0   0.75  1.0   1.0   0.75
HALF = ([0.5, 0.75, 0.25, 1.0, 0.75], [0, 1, 0, 1, 1], [1.0, 0.75, 1.0, 1.0, 0.75])
# LIF, leak 0.5, threshold 0.5, reset to zero:
#   I  0.375  0.375   0.5   0.125   0.4375
#   u  0.375  0.5625  0.5   0.375   0.625       the step after a spike starts from 0; u = 0.5 is the threshold
#   s  0      1       0     0       1
#   m  0.375  0       0.5   0.375   0           what stays; half of it is left behind
ZERO = ([0.375, 0.375, 0.5, 0.125, 0.4375], [0, 1, 0, 0, 1], [0.1875, 0, 0.25, 0.1875, 0])
# The same where a membrane that equals the threshold spikes too:
#   u  0.375  0.5625  0.5   0.125   0.5
#   s  0      1       1     0       1
#   m  0.375  0       0     0.125   0
ZERO_AT = ([0.375, 0.375, 0.5, 0.125, 0.4375], [0, 1, 1, 0, 1], [0.1875, 0, 0, 0.0625, 0])
# LIF, leak 0.5, threshold 0.5, reset by subtraction, spiking at the threshold too:
#   I  0.375  0.375   0.46875  0.125   0.375
#   u  0.375  0.5625  0.5      0.125   0.4375
#   s  0      1       1        0       0
#   m  0.375  0.0625  0        0.125   0.4375
AT = ([0.375, 0.375, 0.46875, 0.125, 0.375], [0, 1, 1, 0, 0], [0.1875, 0.03125, 0, 0.0625, 0.21875])
LOW = ([0.375, 0.375, 0.5, 0.125, 0.75], [0, 1, 1, 0, 1], [0.1875, 0.03125, 0.015625, 0.0703125, 0.16015625])

TRACES = {
    "IF": (1.0, 1.0, "subtract", ">", IF),
    "IF-unleaked": (1.0, 1.0, "subtract-unleaked", ">", IF),
    "LIF": (1.0, 0.5, "subtract", ">", LIF),
    "LIF-unleaked": (1.0, 0.5, "subtract-unleaked", ">", UNLEAKED),
    "LIF-threshold": (0.5, 0.5, "subtract", ">", LOW),
    "LIF-zero": (0.5, 0.5, "zero", ">", ZERO),
    "LIF-zero-at-threshold": (0.5, 0.5, "zero", ">=", ZERO_AT),
    "LIF-at-threshold": (0.5, 0.5, "subtract", ">=", AT),
}


def scalars(*values, dtype=torch.float32):
    return [torch.tensor(value, dtype=dtype) for value in values]


@pytest.mark.parametrize(("threshold", "leak", "reset", "condition", "trace"), TRACES.values(), ids=TRACES.keys())
def test_spikes_and_membranes_follow_the_trace_worked_out_by_hand(threshold, leak, reset, condition, trace):
    current, spikes, left = trace
    for steps in range(1, 6):
        got, residue = scan_forward(
            torch.tensor(current[:steps]).view(-1, 1),
            None,
            *scalars(threshold, leak),
            Scan(steps, True, reset, condition=condition),
        )
        assert got.flatten().tolist() == spikes[:steps]
        assert residue.tolist() == [left[steps - 1]]


def test_a_membrane_that_starts_at_half_the_threshold_follows_the_trace_worked_out_by_hand():
    current, spikes, left = HALF
    for steps in range(1, 6):
        scan = Scan(steps, True, start=0.5)
        got, residue = scan_forward(torch.tensor(current[:steps]).view(-1, 1), None, *scalars(1.0, 1.0), scan)
        assert got.flatten().tolist() == spikes[:steps]
        assert residue.tolist() == [left[steps - 1]]


def test_a_later_window_goes_on_from_its_membrane_and_not_from_the_start():
    current = torch.rand(6, 50, generator=torch.Generator().manual_seed(1))
    whole, end = scan_forward(current, None, *scalars(0.6, 0.8), Scan(6, True, start=0.5))
    first, residue = scan_forward(current[:2], None, *scalars(0.6, 0.8), Scan(2, True, start=0.5))
    second, last = scan_forward(current[2:], residue, *scalars(0.6, 0.8), Scan(4, True, start=0.5))
    assert torch.equal(torch.cat([first, second]), whole)
    assert torch.equal(last, end)


def test_the_threshold_gets_a_gradient_through_the_membrane_that_starts_at_a_fraction_of_it():
    # One step, v = 1, start 0.5, I = 0.75: u = 1.25, z = u/v - 1 = 0.25, slope 0.3 * 0.75 = 0.225.
    # dz/dv = -u/v^2 + du/dv = -1.25 + 0.5.
    one = torch.tensor([[0.75]], dtype=torch.float64)
    scan, v_t_and_leak = Scan(1, True, start=0.5), scalars(1.0, 1.0, dtype=torch.float64)
    got = scan_backward(one, None, *v_t_and_leak, torch.ones_like(one), scan, Linear(), True)
    assert got[1].item() == pytest.approx(-0.75 * 0.225, abs=1e-12)


def test_both_resets_by_subtraction_are_equal_at_leak_one_and_differ_below():
    current = torch.rand(8, 100, generator=torch.Generator().manual_seed(0))
    for leak, equal in ((1.0, True), (0.9, False)):
        ends = [scan_forward(current, None, *scalars(0.7, leak), Scan(8, True, reset)) for reset in RESETS[:2]]
        assert torch.equal(ends[0][1], ends[1][1]) is equal
        assert torch.equal(ends[0][0], ends[1][0]) is equal


def test_membranes_are_float32_where_currents_are_bfloat16():
    # 1 + 2^-8 is rounded to 1 in bfloat16, so only a float32 membrane passes 1 + 2^-9.
    current = torch.tensor([[1.0], [2.0**-8]], dtype=torch.bfloat16)
    spikes, residue = scan_forward(current, None, *scalars(1 + 2.0**-9, 1.0), Scan(2, True))
    assert spikes.dtype == torch.bfloat16
    assert spikes.flatten().tolist() == [0, 1]
    assert residue.dtype == torch.float32


# Two steps of one neuron, threshold v = 1, leak 0.5, gradient at the second spike alone; u = 1.25, 1.125.
# The slope at z = 0.125 is 0.3 * (1 - 0.125) = 0.2625. dz/dv = -u/v^2 + du/dv:
#   subtract:  I = 1.25, 1.0; du/dv = -leak = -0.5;  dz/dv = -1.625; du/dleak = m[0] = 0.25
#   zero:      I = 1.25, 1.125; du/dv = 0;           dz/dv = -1.125; du/dleak = 0; nothing of the first step is left
#   unleaked:  I = 1.25, 1.5; du/dv = -1;            dz/dv = -2.125; du/dleak = u[0] = 1.25
# Without the term of the reset dz/dv would be -1.125 in both.
@pytest.mark.parametrize(
    ("reset", "second", "to_first", "to_threshold", "to_leak"),
    [
        ("subtract", 1.0, 0.5 * 0.2625, -1.625 * 0.2625, 0.25 * 0.2625),
        ("subtract-unleaked", 1.5, 0.5 * 0.2625, -2.125 * 0.2625, 1.25 * 0.2625),
        ("zero", 1.125, 0, -1.125 * 0.2625, 0),
    ],
)
def test_threshold_gets_a_gradient_through_z_and_through_the_reset(reset, second, to_first, to_threshold, to_leak):
    current = torch.tensor([[1.25], [second]], dtype=torch.float64)
    grad = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    got = scan_backward(
        current, None, *scalars(1.0, 0.5, dtype=torch.float64), grad, Scan(2, True, reset), Linear(), True
    )
    # The first current reaches the second membrane through the leak alone: the spike in the reset is detached.
    assert got[0].flatten().tolist() == pytest.approx([to_first, 0.2625], abs=1e-12)
    assert got[1].item() == pytest.approx(to_threshold, abs=1e-12)
    assert got[2].item() == pytest.approx(to_leak, abs=1e-12)


def test_an_attack_skips_the_gradients_of_the_parameters():
    current, grad = torch.rand(3, 5), torch.rand(3, 5)
    arguments = (current, None, *scalars(0.5, 0.9), grad, Scan(3, True), Linear())
    with_them, without = scan_backward(*arguments, True), scan_backward(*arguments, False)
    assert torch.equal(with_them[0], without[0])
    assert without[1:] == (None, None)


@pytest.mark.slow
@pytest.mark.skipif(not can_fuse(), reason="needs a C++ compiler")
@pytest.mark.parametrize(
    ("timed", "reset", "carried", "start", "condition"),
    [
        (True, "subtract", False, 0.0, ">"),
        (False, "subtract-unleaked", True, 0.0, ">"),
        (False, "subtract", False, 0.5, ">"),
        (True, "zero", True, 0.0, ">="),
    ],
)
def test_compiled_scans_equal_eager_ones(timed, reset, carried, start, condition):
    torch.manual_seed(0)
    current = torch.rand(4, 999) if timed else torch.rand(999)
    residue = torch.rand(999) * 0.3 if carried else None
    grad, scan = torch.randn(4, 999), Scan(4, timed, reset, start, condition)
    forward = (current, residue, *scalars(0.7, 0.9), scan)
    backward = (*forward[:4], grad, scan, Linear(), True)
    eager = (*kernel(scan_forward, False)(*forward), *kernel(scan_backward, False)(*backward))
    fused = (*kernel(scan_forward, True)(*forward), *kernel(scan_backward, True)(*backward))
    assert torch.equal(fused[0], eager[0])
    assert eager[0].unique().tolist() == [0, 1]
    for got, expected in zip(fused[1:], eager[1:], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
