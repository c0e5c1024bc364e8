import pytest
import torch

from hiresnn.neurons.rules import Arctan, Erfc, Exponential, Linear, Rectangular, Sigmoid, StraightThrough, triangular

Z = torch.tensor([-1.0, -0.25, 0.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # Eq. 5: 0.3 max(0, 1 - |z|), and max(0, 1 - |z| / 2)
        (Linear(), [0.0, 0.225, 0.3, 0.15]),
        (Linear(1.0, 2.0), [0.5, 0.875, 1.0, 0.75]),
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
def test_a_rule_has_the_values_of_its_formula(rule, expected):
    torch.testing.assert_close(rule(Z), torch.tensor(expected, dtype=torch.float64), atol=2e-7, rtol=0)


@pytest.mark.parametrize("rule", [triangular(0.3), Arctan(3), Sigmoid(2), Rectangular(0.7), Erfc(0.2)])
def test_a_normalised_rule_integrates_to_one(rule):
    z = torch.linspace(-2000.0004, 2000.0004, 4_000_002, dtype=torch.float64)
    assert torch.trapezoid(rule(z), z).item() == pytest.approx(1, abs=1e-3)
