import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from torch import nn

from hiresnn.attacks import apgd, check, fgsm, frozen, parse, pgd, transfer, verified
from hiresnn.attacks.gate import seeded
from hiresnn.errors import AttackError, UsageError

IMAGES = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])
EPS = 0.05


class Network(nn.Module):
    """Some layers train, some do not, one weight is frozen: all of it must outlive an attack."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.drop, self.last = nn.Linear(9, 8), nn.Dropout(0.5), nn.Linear(8, 3)
        self.train()
        self.last.eval()
        self.last.weight.requires_grad_(False)

    def forward(self, images):
        return self.last(self.drop(torch.relu(self.first(images.flatten(1)))))

    def flags(self):
        return [module.training for module in self.modules()], [each.requires_grad for each in self.parameters()]


def backwards(model, images, labels):
    """A user's attack that calls backward as most people do."""
    images = images.clone().requires_grad_()
    nn.functional.cross_entropy(model(images), labels).backward()
    return (images + EPS * images.grad.sign()).clamp(0, 1)


def own_eps(attack):
    return lambda model, images, labels: attack(model, images, labels, eps=EPS)


@pytest.mark.parametrize(
    "attack", [own_eps(pgd), backwards, transfer(backwards, Network())], ids=["pgd", "a user's", "transfer"]
)
def test_a_verified_attack_restores_the_model(attack):
    network, flags = Network(), Network().flags()
    adversarial = verified(attack, network, IMAGES, LABELS, eps=EPS)
    assert not torch.equal(adversarial, IMAGES)
    assert not adversarial.requires_grad
    assert network.flags() == flags
    assert all(parameter.grad is None for parameter in network.parameters())


def overwriting(model, images, labels):
    return images.add_(0.2).clamp_(0, 1)


def relabelling(model, images, labels):
    labels.zero_()
    return images


CHEATS = {
    "too far": (lambda *a: (a[1] + 0.1).clamp(0, 1), r"moved a pixel by 0.1000\d\d; its bound is eps = 0.050000"),
    "writes into its input": (overwriting, "moved a pixel by 0.2"),
    "above white": (lambda *a: a[1] + 0.04, r"pixels in \[0.\d{4}, 1.\d{4}\]; they must lie in \[0, 1\]"),
    "below black": (lambda *a: a[1] - 0.04, r"pixels in \[-0.\d{4}, 0.\d{4}\]"),
    "another shape": (lambda *a: a[1][:3], r"returned shape \(3, 1, 3, 3\) for \(4, 1, 3, 3\) images"),
    "not a number": (lambda *a: a[1] * float("nan"), "returned pixels that are not finite"),
    "infinite": (lambda *a: a[1] + float("inf"), "returned pixels that are not finite"),
}


@pytest.mark.parametrize(("attack", "message"), CHEATS.values(), ids=CHEATS.keys())
def test_an_invalid_result_is_refused(attack, message):
    images = IMAGES * 0.99 + 0.005
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 0.001, 0.999
    with pytest.raises(AttackError, match=message):
        verified(attack, Network(), images, LABELS, eps=EPS)


def test_an_attack_cannot_change_the_images_or_labels_of_its_caller():
    images, labels = IMAGES.clone(), LABELS.clone()
    verified(overwriting, Network(), images, labels, eps=None)
    verified(relabelling, Network(), images, labels, eps=EPS)
    assert torch.equal(images, IMAGES)
    assert torch.equal(labels, LABELS)


def test_without_a_bound_only_the_pixel_range_is_checked():
    check(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), eps=None)
    with pytest.raises(AttackError, match=r"must lie in \[0, 1\]"):
        check(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 1.5), eps=None)


def test_a_perturbation_of_exactly_eps_passes_with_a_millionth_of_rounding():
    grey = torch.full((1, 1, 1, 1), 0.5)
    check(grey, grey + 0.05 + 5e-7, eps=0.05)
    with pytest.raises(AttackError, match="moved a pixel by"):
        check(grey, grey + 0.05 + 1e-5, eps=0.05)


@pytest.mark.parametrize("kind", [torch.int32, torch.uint8])
def test_labels_of_any_whole_numbers_are_attacked(kind):
    expected = apgd(Network(), IMAGES, LABELS, eps=EPS, iterations=5, generator=torch.Generator().manual_seed(0))
    found = apgd(Network(), IMAGES, LABELS.to(kind), eps=EPS, iterations=5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found, expected)
    assert torch.equal(
        verified(own_eps(fgsm), Network(), IMAGES, LABELS.to(kind), eps=EPS), fgsm(Network(), IMAGES, LABELS, eps=EPS)
    )


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_is_attacked_as_exactly_as_its_images_can_say(precision):
    images, eps = IMAGES.to(precision), 8 / 255
    adversarial = fgsm(Network().to(precision), images, LABELS, eps=eps)
    assert 0.9 * eps < (adversarial - images).abs().max().item() < eps + torch.finfo(precision).eps
    with pytest.raises(AttackError, match="moved a pixel by"):
        check(images, (images + 2 * eps).clamp(0, 1), eps=eps)


def test_a_frozen_model_is_in_eval_mode_without_gradients_and_is_restored_after_an_error():
    network, before, inside = Network(), Network().flags(), []

    def fail():
        with frozen(network):
            inside.append(network.flags())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [([False] * 4, [False] * 4)]
    assert network.flags() == before


def test_two_threads_that_overlap_leave_a_network_as_it_was():
    network, before, barrier = nn.Sequential(Network(), Network()), Network().flags(), Barrier(2, timeout=10)
    seen = []

    def work(model, leaves_first):
        for turn in range(15):
            barrier.wait()
            with frozen(model):
                barrier.wait()
                if leaves_first == turn % 2:
                    barrier.wait()
                seen.append(network[0].flags())
            if leaves_first != turn % 2:
                barrier.wait()
            barrier.wait()
            seen.append(Network().flags() if network[0].flags() == before else "left behind")

    with ThreadPoolExecutor(2) as threads:
        for result in [threads.submit(work, network, True), threads.submit(work, network[0], False)]:
            result.result()
    assert seen.count(([False] * 4, [False] * 4)) == seen.count(before) == 30


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "apgd", "square", "noise", "autoattack"])
@pytest.mark.parametrize(
    ("images", "labels", "word"),
    [
        (IMAGES * 255, LABELS, "divide by 255"),
        (torch.rand(2, 3, 1, 2, 2, 2), torch.tensor([0, 1]), "give a tensor"),
        (torch.rand(2, 1, 2, 2), torch.tensor([0, 1, 1]), "one whole number per image"),
        (torch.rand(2, 1, 2, 2), torch.eye(2), "one whole number per image"),
    ],
    ids=["0 to 255", "six dimensions", "three labels", "one-hot"],
)
def test_every_attack_checks_its_images_and_labels(attack, images, labels, word):
    with pytest.raises(UsageError, match=word):
        parse(attack)(lambda images: images.flatten(1)[:, :2], images, labels)


def test_an_option_without_its_name_is_refused_with_the_call_that_works():
    with pytest.raises(TypeError, match=r"pgd: too many .* write pgd\(model, images, labels, eps="):
        pgd(Network(), IMAGES, LABELS, EPS)


def test_numbers_of_numpy_are_numbers_of_an_attack():
    plain = pgd(lambda images: images.flatten(1)[:, :3], IMAGES, LABELS, eps=EPS, step=0.01, iterations=2)
    for integer in (np.int64(2), np.int32(2)):
        options = {"eps": np.float64(EPS), "step": np.float64(0.01), "iterations": integer}
        assert torch.equal(pgd(lambda images: images.flatten(1)[:, :3], IMAGES, LABELS, **options), plain)


def test_draws_in_a_seeded_block_repeat_and_draws_outside_continue_also_after_an_error():
    def draw():
        return float(torch.rand(())), float(np.random.rand()), random.random()

    def undisturbed():
        torch.manual_seed(3)
        np.random.seed(3)
        random.seed(3)

    undisturbed()
    expected = draw(), draw()
    undisturbed()
    assert draw() == expected[0]
    inside = []
    for _ in range(2):
        with contextlib.suppress(KeyError), seeded(7):
            inside.append(draw())
            raise KeyError
    assert inside[0] == inside[1]
    assert draw() == expected[1]
    assert inside[0][0] == float(torch.rand((), generator=torch.Generator().manual_seed(7)))


def test_a_gpu_initialised_later_starts_from_the_callers_seed(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    torch.manual_seed(5)
    with seeded(7):
        torch.rand(3)
    assert seeds[-1] == 5
