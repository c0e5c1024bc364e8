"""Roundings that let gradients through: the same values, the gradient of the value itself, and a count."""

import pytest
import torch
from torch import Tensor, nn

from hiresnn import convert
from hiresnn.attacks import pgd, rounds, through_rounding

VALUES = (0.2, 0.7, -0.4)


def gradient(function):
    """d sum(function) / d x at VALUES and the steps counted; the values are checked against those without the mode."""
    x = torch.tensor(VALUES, requires_grad=True)
    plain = function(torch.tensor(VALUES))
    with through_rounding() as mode:
        value = function(1 * x)
    assert value.dtype == plain.dtype
    assert torch.equal(value, plain)
    value.sum().backward()
    return x.grad.tolist(), mode.hits


@pytest.mark.parametrize(
    "step",
    [
        *(torch.round, torch.floor, torch.ceil, torch.trunc, torch.fix, torch.sign, torch.sgn, torch.special.round),
        *(Tensor.round, Tensor.floor, Tensor.sign, torch.round_),
        *(Tensor.round_, Tensor.floor_, Tensor.ceil_, Tensor.trunc_, Tensor.fix_, Tensor.sign_),
        lambda x: torch.floor(input=x),
        lambda x: torch.round(x, decimals=1),
        lambda x: torch.heaviside(x, torch.tensor(0.5)),
        lambda x: x.heaviside(torch.tensor(0.5)),
        lambda x: x.round().clamp(-2, 2).add_(1),
    ],
)
def test_rounding_has_the_gradient_of_its_argument(step):
    assert gradient(step) == ([1, 1, 1], 1)


def test_other_operations_keep_their_gradient():
    # 3 round(2x)^2 at round(0.4) = 0, round(1.4) = 1, round(-0.8) = -1: 2 * 6 * round(2x)
    assert gradient(lambda x: 3 * (2 * x).round() ** 2) == ([0, 12, -12], 1)
    assert gradient(lambda x: x.floor() + x.ceil() + x) == ([3, 3, 3], 2)
    # clamp keeps its gradient, which is 0 outside
    assert gradient(lambda x: x.clamp(0, 0.5).round()) == ([1, 0, 0], 1)


def test_a_value_at_a_limit_of_a_clamp_keeps_its_gradient_in_every_version_of_torch():
    for clamp in (
        lambda x: x.clamp(-0.4, 0.7),
        lambda x: torch.clip(x, min=-0.4, max=0.7),
        lambda x: x.clamp_min(-0.4).clamp_max(0.7),
        lambda x: x.clamp_(-0.4, 0.7),
    ):
        assert gradient(clamp)[0] == [1, 1, 1]


@pytest.mark.parametrize(
    "quotient",
    [
        lambda x: x // 0.25,
        lambda x: torch.floor_divide(x, 0.25),
        lambda x: torch.div(x, 0.25, rounding_mode="floor"),
        lambda x: x.div(0.25, rounding_mode="trunc"),
        lambda x: x.floor_divide_(0.25),
        lambda x: x.div_(other=0.25, rounding_mode="floor"),
    ],
)
def test_a_rounded_quotient_has_the_gradient_of_the_true_quotient(quotient):
    assert gradient(quotient) == ([4, 4, 4], 1)


def test_a_rounded_quotient_has_a_gradient_in_its_divisor():
    slopes, hits = gradient(lambda x: 1 // x)
    assert slopes == pytest.approx([-1 / value**2 for value in VALUES])  # d (1 / x)
    assert hits == 1


@pytest.mark.parametrize(
    "cast",
    [
        lambda x: (x * 100).int().float() / 100,
        lambda x: (x * 100).to(torch.int16).to(torch.float32) / 100,
        lambda x: (x * 100).type(torch.int64).type_as(x) / 100,
        lambda x: (x * 100).char().long().float() / 100,
        lambda x: (x * 100).short() / 100,
        lambda x: 0.01 * (x * 100).long(),
        lambda x: (x * 100).int().mul(0.01),
        lambda x: (x * 100).int().double() / 100,
        lambda x: ((x + 1) * 100).byte().float() / 100,
    ],
)
def test_a_cast_to_integers_and_back_has_the_identity_as_gradient(cast):
    slopes, hits = gradient(cast)
    assert slopes == pytest.approx([1, 1, 1])
    assert hits == 1


def test_integers_stay_integers_and_remember_the_source_of_the_cast():
    x = torch.tensor([1.5, 2.5], requires_grad=True)
    with through_rounding() as mode:
        y = 2 * x
        whole = y.int()
        y.mul_(10)  # no longer what was cast
        assert whole.dtype is torch.int32
        assert not whole.requires_grad
        assert mode.hits == 0
        (slope,) = torch.autograd.grad(whole.float().sum(), x)
    assert slope.tolist() == [2, 2]


@pytest.mark.parametrize(
    "out_of_reach",
    [
        lambda x: (x > 0.5).float(),
        lambda x: (x * 100).int().add_(1).float(),
        lambda x: (x * 100).int().bool().float(),
        lambda x: (x * 100).int().reshape(3, 1).float()[:, 0],
    ],
)
def test_unsupported_operations_have_no_gradient_and_are_not_counted(out_of_reach):
    assert gradient(lambda x: x + out_of_reach(x)) == ([1, 1, 1], 0)
    # The remainder passes its gradient on, so that the two cancel.
    assert gradient(lambda x: x - x % 0.25) == ([0, 0, 0], 0)


def test_operations_without_gradient_are_not_counted():
    images = torch.rand(2, 3)
    with through_rounding() as mode:
        assert torch.equal(images.round(), torch.round(images))
        with torch.no_grad():
            (images.clone().requires_grad_() * 3).round()
        torch.arange(5) // 2
        torch.tensor([3, 4]).float() / 2
    assert mode.hits == 0


class Mine(torch.autograd.Function):
    """A rounding with a backward pass of the model's own."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return 5 * grad


def test_the_models_own_backward_pass_is_kept():
    assert gradient(Mine.apply) == ([5, 5, 5], 0)


def test_the_mode_ends_with_its_block_and_counts_from_zero():
    for _ in range(2):
        with through_rounding() as mode:
            torch.ones(1, requires_grad=True).round()
        assert mode.hits == 1
    x = torch.ones(1, requires_grad=True)
    assert torch.autograd.grad(x.round(), x)[0].item() == 0


class Rounded(nn.Module):
    """A linear model behind images of 16 grey levels."""

    def __init__(self, quantise):
        super().__init__()
        self.quantise = quantise
        self.linear = nn.Linear(16, 3)
        self.linear.weight.data = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))

    def forward(self, images):
        return self.linear(self.quantise(images).flatten(1))


IMAGES = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_pgd_fails_on_a_rounding_model_without_the_mode():
    model = Rounded(lambda x: (x * 15).round() / 15)
    assert torch.equal(pgd(model, IMAGES, model(IMAGES).argmax(1), eps=0.3, step=0.1), IMAGES)


@pytest.mark.parametrize(
    "quantise",
    [lambda x: (x * 15).round() / 15, lambda x: (x * 15 + 0.5).byte().float() / 15, lambda x: (x // 0.06) * 0.06],
)
def test_pgd_breaks_a_rounding_model_under_the_mode(quantise):
    model = Rounded(quantise)
    labels = model(IMAGES).argmax(1)
    assert rounds(model, IMAGES)
    with through_rounding():
        found = pgd(model, IMAGES, labels, eps=0.3, step=0.1)
    assert (model(found).argmax(1) != labels).sum() >= 45


def test_rounds_needs_one_pass_and_leaves_the_model_unchanged():
    model, images = Rounded(torch.round), torch.rand(2, 1, 4, 4)
    calls = []
    model.register_forward_hook(lambda *_: calls.append(model.training))
    assert rounds(model, images)
    assert calls == [False]
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not images.requires_grad
    assert not rounds(Rounded(nn.Identity()), images)
    with torch.no_grad():
        assert rounds(lambda x: x.floor().flatten(1), images)


@pytest.mark.parametrize("encoding", ["direct", "poisson"])
def test_a_spiking_network_does_not_round(encoding):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
    images = torch.rand(4, 1, 8, 8)
    assert not rounds(convert(ann, images, timesteps=3, encoding=encoding), images)


def test_rounding_inside_a_compiled_model_is_found():
    compiled = torch.compile(lambda x: (8 * x).round().flatten(1), backend="eager")
    assert rounds(compiled, torch.rand(2, 1, 2, 2))
