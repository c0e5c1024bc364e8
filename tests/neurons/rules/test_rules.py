import math
from collections.abc import Callable

import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Surrogate, Window, can_fuse, gradient_rule
from hiresnn.neurons.surrogate import Arctan, Erfc, Exponential, Rectangular, Sigmoid, StraightThrough, triangular

Z = torch.tensor([-1.0, -0.25, 0.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # max(0, 1 - |z| / 0.5) / 0.5
        (triangular(0.5), [0.0, 1.0, 2.0, 0.0]),
        # 1 / (1 + (pi z)^2) with pi^2 = 9.8696: 1/10.8696, 1/1.61685, 1, 1/3.4674
        (Arctan(2), [0.0919995, 0.6184865, 1.0, 0.2884004]),
        # 4 s(4z) (1 - s(4z)): s(4) = .9820138, s(1) = .7310586, s(0) = .5, s(2) = .8807971
        (Sigmoid(4), [0.0706508, 0.7864477, 1.0, 0.4199743]),
        # 0.3 exp(-2 |z|)
        (Exponential(2, 0.3), [0.0406006, 0.1819592, 0.3, 0.1103638]),
        # 1 / 0.8 where |z| < 0.4
        (Rectangular(0.8), [0.0, 1.25, 1.25, 0.0]),
        # the normal density with standard deviation 0.5 at 2, 0.5, 0 and 1 deviations
        (Erfc(0.5), [0.1079819, 0.7041307, 0.7978846, 0.4839414]),
        (StraightThrough(), [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_a_rule_has_the_values_of_its_formula(rule: Surrogate, expected: list[float]) -> None:
    torch.testing.assert_close(rule(Z), torch.tensor(expected, dtype=torch.float64), atol=2e-7, rtol=0)


@pytest.mark.parametrize("rule", [triangular(0.3), Arctan(3), Sigmoid(2), Rectangular(0.7), Erfc(0.2)])
def test_a_normalised_rule_integrates_to_one(rule: Surrogate) -> None:
    z = torch.linspace(-2000.0004, 2000.0004, 4_000_002, dtype=torch.float64)
    assert torch.trapezoid(rule(z), z).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    "make",
    [
        lambda: triangular(0),
        lambda: Arctan(0),
        lambda: Sigmoid(-1),
        lambda: Exponential(gamma=0),
        lambda: Exponential(height=-0.3),
        lambda: Rectangular(math.nan),
        lambda: Erfc(0),
    ],
)
def test_a_width_that_is_not_above_zero_is_refused(make: Callable[[], Surrogate]) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        make()


@pytest.mark.slow
@pytest.mark.skipif(not can_fuse(), reason="no C++ compiler")
def test_a_rule_gives_the_same_gradient_compiled() -> None:
    lif = LIF(0.7, 0.9).requires_grad_(False)
    current = torch.rand(12, 5, generator=torch.Generator().manual_seed(0))

    def gradient(fused: bool) -> torch.Tensor:
        leaf = current.clone().requires_grad_()
        with gradient_rule(lif, Arctan(3)):
            return torch.autograd.grad(lif(leaf, Window(4, 3, fused=fused)).sum(), leaf)[0]

    torch.testing.assert_close(gradient(True), gradient(False))
