"""`quick` is at least as strong as the published SA-PGD with ASSG, run by a loop that shares no code with it."""

import torch
import torch.nn.functional as F
from torch import Tensor

from hiresnn import gradient_rule
from hiresnn.audit import AuditResult
from hiresnn.neurons.layer_rules import ASSG

EPS, STEPS = 26 / 255, 100


def published(network: torch.nn.Module, images: Tensor, labels: Tensor, timesteps: int) -> Tensor:
    """SA-PGD as released: random start, moments, a step halved at the checkpoints of APGD, mean logits, any iterate."""
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


def test_quick_leaves_no_more_than_the_published_attack(plain: AuditResult) -> None:
    network = plain.model.model
    assert isinstance(network, torch.nn.Module)
    reference = int((~published(network, plain.images, plain.labels, 4)).sum())
    assert plain.config.headline.eps == EPS
    assert 0 < plain.worst.count(plain.config.headline) <= reference
