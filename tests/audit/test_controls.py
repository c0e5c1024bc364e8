"""Controls: models whose robust accuracy is known, networks that mask gradients on purpose, and another SA-PGD."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from hiresnn import gradient_rule
from hiresnn.app.targets import resolve_model
from hiresnn.audit import PRESETS, AuditConfig, InstrumentedModel, audit
from hiresnn.audit import parse_bound as bound
from hiresnn.audit.behaviour import OWN, ROUNDING
from hiresnn.audit.build_card import report
from hiresnn.audit.presets import ADAPTIVE, StageAttack
from hiresnn.neurons.rules import ASSG

from .conftest import EXAMPLES, HARD

TWO_IMAGES = 100 * 2 / 40


def lighter(preset):
    """The preset with all its attacks, of at most 40 steps, one restart, 100 queries and 10 draws."""
    most = {"iterations": 40, "restarts": 1, "queries": 100, "finish": 100, "draws": 10}

    def light(stage):
        attacks = []
        for spec, rule, first, top in stage.attacks:
            options = {name: min(value, most[name]) if name in most else value for name, value in spec.options.items()}
            attacks.append(StageAttack(replace(spec, options=options), rule, first, top))
        return replace(stage, sample=20, iterations=10, queries=50, directions=5, noise=10, attacks=tuple(attacks))

    return replace(PRESETS[preset], stages=tuple(map(light, PRESETS[preset].stages)))


def robust(found):
    """Worst case at each bound, in percent."""
    worst = found.worst
    return {each.label: 100 * worst.count(each) / len(worst.level) for each in worst.bounds}


class Affine:
    """Linear classes over grey images that touch 0 and 1."""

    def __init__(self, classes):
        draws = torch.Generator().manual_seed(classes)
        self.weight = torch.randn(classes, 25, generator=draws)
        self.images = torch.rand(50, 1, 5, 5, generator=draws)
        self.labels = self(self.images).argmax(1)
        self.labels[:5] = (self.labels[:5] + 1) % classes  # a few are misclassified

    def __call__(self, images):
        return (images.flatten(1) - 0.5) @ self.weight.T

    def exact(self, eps):
        """Percent that no image within eps and [0, 1] misclassifies: the worst pixel is at an end of its range."""
        low, high = ((self.images + by).clamp(0, 1).flatten(1) for by in (-eps, eps))
        standing = 0
        for least, most, label in zip(low, high, self.labels.tolist(), strict=True):
            gains = [
                torch.where(difference > 0, most, least) @ difference - 0.5 * difference.sum()
                for difference in self.weight - self.weight[label]
            ]
            standing += all(gain <= 0 for gain in gains)
        return 100 * standing / len(self.images)


@pytest.mark.parametrize(("classes", "preset"), [(2, "quick"), (5, "standard")])
def test_a_linear_model_comes_out_at_its_exact_robust_accuracy(classes, preset):
    model = Affine(classes)
    config = AuditConfig(preset=lighter(preset), eps=HARD, bounds=("10/255", "inf"))
    found = robust(audit(InstrumentedModel(model, model.images[:16]), model.images, model.labels, config))
    exact = {label: model.exact(bound(label).eps) for label in found}
    assert 0 < exact["10/255"] < exact["0"] == 90
    assert found == exact


def own_verdict(found):
    return report(OWN, found.screened, found.without_gradient, found.screened_at).verdict


def test_the_network_without_a_mask_has_robustness_to_hide(plain):
    assert own_verdict(plain) != "masked gradients likely"
    assert robust(plain)[HARD] < robust(plain)["0"] - 20


def cheap():
    """The quick preset without Square, with a cheap screening of three rules."""
    (each,) = PRESETS["quick"].stages
    less: dict[str, Any] = {"sample": 20, "iterations": 10, "queries": 50, "directions": 10, "noise": 20}
    each = replace(each, rules=(OWN, ROUNDING, ADAPTIVE), attacks=each.attacks[:-1], **less)
    return replace(PRESETS["quick"], stages=(each,))


@pytest.mark.parametrize("name", ["narrow", "saturated", "quantised"])
def test_a_network_that_masks_its_gradients_is_broken_like_the_same_without_the_mask(name, digits, plain):
    subject = InstrumentedModel(resolve_model(f"{EXAMPLES}:{name}").model, digits[0][:16], draws=2)
    found = audit(subject, *digits, AuditConfig(preset=cheap(), eps=HARD, bounds=()))
    believed = 100 * float((~found.alone["pgd"][HARD]).float().mean())
    assert believed > robust(plain)[HARD] + 15  # PGD-7 with the own gradient is taken in
    for label, expected in robust(plain).items():
        assert robust(found)[label] <= expected + TWO_IMAGES, label
    assert own_verdict(found) == "masked gradients likely"


EPS, STEPS = 26 / 255, 100


def published(network, images, labels, timesteps):
    """SA-PGD with ASSG as released, by a loop that shares no code with the package."""
    generator = torch.Generator().manual_seed(0)
    adversarial = (images + (2 * torch.rand(images.shape, generator=generator) - 1) * EPS).clamp(0, 1)
    broken = network(images).argmax(1) != labels
    first, second = torch.zeros_like(images), torch.zeros_like(images)
    size = torch.full((len(images), 1, 1, 1), EPS)
    rises, previous = torch.zeros(len(images)), torch.full((len(images),), -torch.inf)
    period, since = 22, 0
    with gradient_rule(network, ASSG()):
        for _ in range(STEPS):
            adversarial.requires_grad_()
            logits = network(adversarial) / timesteps
            loss = F.cross_entropy(logits, labels, reduction="none")
            (gradient,) = torch.autograd.grad(loss.sum(), adversarial)
            broken |= logits.argmax(1) != labels
            rises, previous, since = rises + (loss.detach() > previous), loss.detach(), since + 1
            if since == period:
                size = torch.where((rises <= 0.75 * period).view(-1, 1, 1, 1), size / 2, size)
                rises, since, period = torch.zeros_like(rises), 0, max(period - 3, 6)
            scaled = gradient / gradient.abs().mean((1, 2, 3), keepdim=True).clamp(min=1e-30)
            squared = scaled**2
            first = 0.5 * first + scaled
            second = 0.8 * second + squared / squared.mean((1, 2, 3), keepdim=True).clamp(min=1e-30)
            move = (size * first / (second.sqrt() + 1e-12)).clamp(-size, size)
            adversarial = images + (adversarial.detach() + move - images).clamp(-EPS, EPS)
            adversarial = adversarial.clamp(0, 1)
    with torch.no_grad():
        return broken | (network(adversarial).argmax(1) != labels)


def test_quick_leaves_no_more_than_the_published_attack(plain):
    network = plain.model.model
    assert isinstance(network, torch.nn.Module)
    reference = int((~published(network, plain.images, plain.labels, 4)).sum())
    assert plain.config.headline.eps == EPS
    assert 0 < plain.worst.count(plain.config.headline) <= reference
