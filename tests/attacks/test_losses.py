import math

import pytest
import torch
from torch import nn

from hiresnn.attacks import fgsm, pgd
from hiresnn.attacks.losses import (
    choose_loss,
    cross_entropy,
    dlr,
    dlr_targeted,
    expected_logits,
    loss_gradient,
    margin,
    over_draws,
    rounded_cross_entropy,
)
from hiresnn.errors import UsageError

LOGITS = torch.tensor([[1.0, 4.0, 2.0, 0.0], [5.0, 1.0, 3.0, 2.0]])
LABELS = torch.tensor([2, 0])


def test_the_margin_is_the_lead_of_the_best_other_class():
    assert margin(LOGITS, LABELS).tolist() == [2, -2]


def test_dlr_divides_the_margin_by_the_lead_of_the_first_over_the_third():
    # (4 - 2) / (4 - 1), (3 - 5) / (5 - 2)
    torch.testing.assert_close(dlr(LOGITS, LABELS), torch.tensor([2 / 3, -2 / 3]))


def test_targeted_dlr_is_the_lead_of_the_target():
    # (0 - 2) / (4 - (1 + 0) / 2), (2 - 5) / (5 - (2 + 1) / 2)
    expected = torch.tensor([-2 / 3.5, -3 / 3.5])
    torch.testing.assert_close(dlr_targeted(LOGITS, LABELS, torch.tensor([3, 3])), expected)


def test_cross_entropy_is_per_sample():
    # log(1 + e^5), log(1 + e^3)
    found = cross_entropy(torch.tensor([[50.0, 45.0], [0.0, -3.0]]), torch.tensor([1, 1]))
    torch.testing.assert_close(found, torch.tensor([5.0067153, 3.0485873]))


def test_dlr_does_not_depend_on_the_scale_of_the_logits():
    torch.testing.assert_close(dlr(1e4 * LOGITS, LABELS), dlr(LOGITS, LABELS))


@pytest.mark.parametrize(("lead", "rounded_to_zero"), [(0.5, False), (15.0, False), (20.0, True), (60.0, True)])
def test_the_gradient_of_the_cross_entropy_is_not_rounded_off(lead, rounded_to_zero):
    # (p - 1, q, q') in float64, where q and q' are the probabilities of the other two
    logits = torch.tensor([[lead, 0.0, -1.0]], requires_grad=True)
    others = 1 + math.exp(-1)
    (gradient,) = torch.autograd.grad(cross_entropy(logits, torch.tensor([0])).sum(), logits)
    share = others / (others + math.exp(lead))  # 1 - p, without a difference of nearly equal numbers
    expected = torch.tensor([[-share, share / others, share * math.exp(-1) / others]])
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=0)
    (rounded,) = torch.autograd.grad(rounded_cross_entropy(logits, torch.tensor([0])).sum(), logits)
    assert (rounded[0, 0] == 0).item() == rounded_to_zero


def test_fgsm_and_pgd_round_the_loss_only_where_asked():
    # One pixel moves the lead of the true class, 20; the others move the two other classes against each other.
    def network(images):
        pixel, other = images.flatten(1).unbind(1)
        return torch.stack([20 + pixel, other, -other], 1)

    image, label = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    for attack in (fgsm, pgd):
        assert attack(network, image, label, eps=0.1)[0, 0, 0, 0] == pytest.approx(0.4)
        assert attack(network, image, label, eps=0.1, float32_loss=True)[0, 0, 0, 0] == 0.5


def test_margin_and_dlr_keep_their_gradient_at_huge_logits():
    def model(images):
        return 1e4 * images.flatten(1)

    images = torch.tensor([[[[0.9, 0.1, 0.3]]]])
    labels = torch.tensor([0])
    assert not loss_gradient(model, images, labels, cross_entropy).gradient.any()
    assert loss_gradient(model, images, labels, margin).gradient.flatten().tolist() == [-1e4, 0, 1e4]
    assert loss_gradient(model, images, labels, dlr).gradient.any()


def test_loss_gradient_returns_logits_loss_and_gradient_per_sample():
    weight = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    images = torch.tensor([0.5, 0.25, 0.0, 1.0]).view(2, 1, 1, 2)
    climb = loss_gradient(lambda x: x.flatten(1) @ weight.T, images, torch.tensor([0, 1]), margin)
    assert climb.logits.tolist() == [[0.0, 0.75], [-2.0, 3.0]]
    assert climb.loss.tolist() == [0.75, -5.0]
    assert climb.gradient.flatten(1).tolist() == [[-1.0, 5.0], [1.0, -5.0]]
    assert not any(each.requires_grad for each in climb)


def test_too_few_classes_are_refused_with_the_remedy():
    with pytest.raises(UsageError, match="loss 'dlr' needs 3 classes, but the model has 2; use 'margin'"):
        dlr(LOGITS[:, :2], LABELS * 0)
    with pytest.raises(UsageError, match="loss 'dlr-targeted' needs 4 classes, but the model has 3"):
        dlr_targeted(LOGITS[:, :3], LABELS, LABELS)


def identity(images):
    return images.flatten(1)


class Summing(nn.Module):
    """Logits that are sums over 4 timesteps, or their mean."""

    def __init__(self, readout=None):
        super().__init__()
        self.timesteps = 4
        if readout is not None:
            self.readout = readout


def test_mean_logits_divide_by_the_timesteps_of_networks_that_sum_over_them():
    loss = choose_loss(Summing(), "cross-entropy", mean_logits=True)
    torch.testing.assert_close(loss(LOGITS, LABELS), cross_entropy(LOGITS / 4, LABELS))
    for model in (identity, Summing("mean")):
        assert choose_loss(model, "cross-entropy", mean_logits=True) is cross_entropy
    assert choose_loss(Summing(), "cross-entropy") is cross_entropy


def test_mean_logits_keep_a_gradient_where_summed_logits_saturate():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    for mean_logits, vanishes in ((False, True), (True, False)):
        loss = choose_loss(Summing(), "cross-entropy", mean_logits=mean_logits)
        (gradient,) = torch.autograd.grad(loss(logits, torch.tensor([0])).sum(), logits)
        assert (gradient == 0).all().item() is vanishes


def test_a_gradient_that_is_not_a_number_becomes_zero():
    images = torch.tensor([0.0, 0.25]).view(2, 1, 1, 1)
    found = loss_gradient(lambda x: torch.cat([x.sqrt().flatten(1) * 0, x.flatten(1)], 1), images, LABELS * 0, margin)
    assert found.gradient.flatten().tolist() == [0.0, 1.0]


def test_a_model_without_a_gradient_or_without_logits_is_named():
    images, labels = torch.rand(2, 1, 1, 4), torch.tensor([0, 1])

    def detached(images):
        return images.detach().flatten(1)

    def of_weights(images):  # has a gradient, but not in the images
        return images.detach().flatten(1) * torch.ones(4, requires_grad=True)

    for model in (detached, of_weights):
        with pytest.raises(UsageError, match="differentiable operations; use square"):
            loss_gradient(model, images, labels, cross_entropy)
    for answer in (lambda images: (images.flatten(1),), lambda images: images.flatten(1)[None].repeat(3, 1, 1)):
        with pytest.raises(
            UsageError, match=r"the network answered 2 images with .* must return logits \[2, classes\]"
        ):
            loss_gradient(answer, images, labels, cross_entropy)
    for loss in (cross_entropy, margin):
        with pytest.raises(UsageError, match="labels reach from 0 to 9, but there are 4 classes"):
            loss_gradient(lambda images: images.flatten(1), images, torch.tensor([0, 9]), loss)


PIXELS = torch.tensor([0.25, 0.5]).view(2, 1, 1, 1)
CLASSES = torch.tensor([0, 1])


class Alternating:
    """logits (k x, 0) with k = 1, 2, 3, ... from one call to the next: a random model whose draws are known."""

    calls = 0

    def __call__(self, images):
        self.calls += 1
        scores = images.flatten(1) * self.calls
        return torch.cat([scores, torch.zeros_like(scores)], 1)


def test_logits_loss_and_gradient_are_means_over_draws():
    climb = over_draws(3)(Alternating(), PIXELS, CLASSES, margin)  # k = 2 on average
    assert climb.logits.tolist() == [[0.5, 0], [1, 0]]
    assert climb.loss.tolist() == [-0.5, 1]
    assert climb.gradient.flatten().tolist() == [-2, 2]


def test_expected_logits_are_a_mean_without_a_graph():
    logits = expected_logits(Alternating(), PIXELS.clone().requires_grad_(), draws=3)
    assert logits.tolist() == [[0.5, 0], [1, 0]]
    assert not logits.requires_grad


class Drawing:
    """Logits (w (x - 0.5), 0), the weight w the next of a list at every call."""

    def __init__(self, *weights):
        self.weights, self.calls = weights, 0

    def __call__(self, images):
        weight = self.weights[self.calls % len(self.weights)]
        self.calls += 1
        first = weight * (images.flatten(1).sum(1) - 0.5)
        return torch.stack([first, torch.zeros_like(first)], 1)


GREY, FIRST = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])


def test_fgsm_follows_the_mean_gradient_and_not_that_of_one_draw():
    # At x = 0.5 both classes have probability 1/2, so the loss of label 0 has the gradient -w / 2:
    # -0.5, -0.5 and +1.5 for the three draws, on average +1/6: up. The first draw alone says down.
    model = Drawing(1.0, 1.0, -3.0)
    assert fgsm(Drawing(1.0), GREY, FIRST, eps=0.1).item() == pytest.approx(0.4)
    assert fgsm(model, GREY, FIRST, eps=0.1, draws=3).item() == pytest.approx(0.6)
    assert model.calls == 3
