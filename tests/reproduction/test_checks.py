"""Table 4: its rules and its page on given accuracies, and its questions on networks whose gradients are known."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from reproduction.measure import answers
from reproduction.pages_accuracy import CHECKS, RULES, passed_checks
from reproduction.paper import CLAIMS

from .conftest import TWO_SEEDS

SCALE = replace(TWO_SEEDS, eps=("2/255", "8/255", "32/255"))
NOISE = ("noise:kind=uniform,draws=20", "white")
WHITE = {None: 80.0, "fgsm": 30.0, "pgd": 10.0, "pgd:eps=2/255": 55.0, "pgd:eps=8/255": 10.0, "pgd:eps=32/255": 0.0}
TWINS = {"same-ann": {"fgsm": 33.0, "pgd": 12.0}, "independent": {"fgsm": 50.0, "pgd": 40.0}}
HEALTHY = {(attack, box): left for box, each in {"white": WHITE, **TWINS}.items() for attack, left in each.items()}
HEALTHY |= {("pgd:eps=1", "white"): 0.0, NOISE: 75.0}


def failing(changes):
    return [
        key for key, (passed, _) in zip(CHECKS, passed_checks({**HEALTHY, **changes}, SCALE), strict=True) if not passed
    ]


def test_a_healthy_network_passes_all_five():
    assert failing({}) == []
    assert len(CHECKS) == len(RULES) == 5
    assert tuple(CLAIMS["table4"]) == tuple(CHECKS)


@pytest.mark.parametrize(
    ("changed", "left", "fails"),
    [
        (("fgsm", "white"), 10.0, ["one_step"]),  # no more than PGD leaves
        *(
            ((attack, twin), HEALTHY[attack, "white"] - 1, ["black_box"])
            for attack in ("fgsm", "pgd")
            for twin in TWINS
        ),
        (("pgd:eps=1", "white"), 1.0, []),
        (("pgd:eps=1", "white"), 1.1, ["unbounded"]),
        (NOISE, 10.1, []),
        (NOISE, 10.0, ["sampling"]),
    ],
)
def test_each_check_fails_from_its_own_limit_on(changed, left, fails):
    assert failing({changed: left}) == fails


@pytest.mark.parametrize(
    ("bounds", "fails"),
    [
        ([55.0, 10.0, 11.0], []),  # a point more is slack
        ([55.0, 10.0, 11.5], ["bound"]),
        ([79.5, 78.6, 79.4], []),  # 0.8 more than the smallest, and less than clean
        ([80.0, 80.0, 80.0], ["bound"]),  # no bound helps
        ([10.0, 10.9, 11.7], ["bound"]),  # small steps up add up: 1.7 above the lowest
    ],
)
def test_bound_fails_where_a_larger_one_leaves_more(bounds, fails):
    assert failing({(f"pgd:eps={eps}", "white"): left for eps, left in zip(SCALE.eps, bounds, strict=True)}) == fails


class Steps(nn.Module):
    """Tells dark images from bright ones; where it rounds, its gradient is exactly zero."""

    def __init__(self, *, rounds):
        super().__init__()
        self.rounds = rounds
        self.weight = nn.Parameter(torch.tensor(4.0))

    def forward(self, images):
        seen = (images * 64).round() / 64 if self.rounds else images
        bright = self.weight * (seen.flatten(1).mean(1) - 0.5)
        return torch.stack([-bright, bright], 1)


def asked(rounds):
    """Which of the five questions are answered yes, at a bound of 0.1 around images 0.05 from the boundary."""
    torch.manual_seed(0)
    labels = torch.arange(60) % 2
    images = (0.45 + 0.1 * labels.float()).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    network = Steps(rounds=rounds).eval()
    found = answers(network, {"independent": network}, 0.1, images, labels, (50, 20, 200, 100))
    return [each["yes"] for each in found]


def test_a_linear_network_hides_nothing():
    assert asked(rounds=False) == [False] * 5


def test_a_network_with_zero_gradients_is_found_out():
    one_step, black_box, bound, unbounded, _ = asked(rounds=True)
    assert (one_step, black_box, bound, unbounded) == (False, True, True, True)
