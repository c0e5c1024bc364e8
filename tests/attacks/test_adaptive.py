"""APGD, SA-PGD and momentum: steps and checkpoints worked out by hand, and images that leave the batch."""

import math

import pytest
import torch

from hiresnn import convert
from hiresnn.attacks import apgd, iterative, momentum, parse, sa_pgd, seeded
from hiresnn.attacks.adaptive import Checkpoints, MomentumStep, lengths
from hiresnn.attacks.ball import Ball
from hiresnn.attacks.losses import LossGradient
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.rules import keep_rows


def test_checkpoints_get_closer_during_a_run():
    # of 100: 22, then 3 fewer each, never below 6
    assert lengths(100) == [22, 19, 16, 13, 10, 7, 6, 6]
    assert lengths(10) == [2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert lengths(1) == [1]
    assert lengths(0) == []


def followed(*losses, iterations=20):
    """Whether the step is halved after each loss but the first. Of 20 iterations checkpoints are at 4, 7, 9, 10..."""
    checkpoints = Checkpoints(iterations, torch.tensor([float(losses[0])]))
    return [bool(checkpoints.halve(torch.tensor([float(loss)]))) for loss in losses[1:]]


def test_a_step_that_raises_the_loss_is_not_halved():
    assert followed(*range(12)) == [False] * 11


def test_a_step_is_halved_unless_more_than_three_quarters_of_the_steps_rise():
    # three of four rise; then, up to the checkpoint at 7, three of three; up to 9, two of two
    assert followed(0, 1, 2, 3, 2.5, 3, 4, 5, 6, 7) == [False] * 3 + [True] + [False] * 5


def test_a_step_is_halved_if_it_was_not_before_and_the_best_loss_has_not_changed():
    # 18 of 22 steps rise, which is enough, and the last falls far; then all 19 rise, but stay below the best of 18
    first = [*range(1, 19), 17, 16, 15, 1]
    second = [1 + 0.5 * k for k in range(1, 20)]
    found = followed(0, *first, *second, iterations=100)
    assert [index for index, halved in enumerate(found, 1) if halved] == [22 + 19]


def test_each_sample_has_its_own_decision():
    checkpoints = Checkpoints(4, torch.zeros(2))  # a checkpoint at every step
    assert checkpoints.halve(torch.tensor([1.0, -1.0])).tolist() == [False, True]


def test_nothing_is_halved_after_the_last_checkpoint():
    assert followed(0, -1, -2, iterations=1) == [True, False]


class Valley:
    """Logits (0, -|x - top|) of the one pixel x: the loss of label 0 is highest at `top`, and never misclassified.

    Remembers every x that it is asked for.
    """

    def __init__(self, top):
        self.top, self.seen = top, list[float]()

    def __call__(self, images):
        x = images.flatten(1)
        self.seen.append(x[0, 0].item())
        return torch.cat([torch.zeros_like(x), -(x - self.top).abs()], 1)


IMAGE, LABEL = torch.tensor([[[[0.5]]]]), torch.tensor([0])


def run(model, iterations):
    return apgd(model, IMAGE, LABEL, eps=0.2, iterations=iterations, loss="margin", generator=torch.Generator())


def test_apgd_makes_the_steps_worked_out_by_hand():
    model = Valley(0.5)
    run(model, 4)
    # The start is stretched to an edge of the ball, say 0.3. The step 2 eps = 0.4 leads to the other edge, 0.7, and
    # to the first checkpoint (of 4 iterations every one is): no rise, so the step is halved and the best, 0.3, is
    # where it goes on. 0.2 from there is 0.5, of which 0.75 are taken: 0.45, a rise. Then 0.75 of the next 0.2 and
    # 0.25 of the move before, 0.15: 0.6375.
    start = model.seen[1]
    assert abs(start - 0.5) == pytest.approx(0.2)
    walk = [0.3, 0.7, 0.45, 0.6375]
    expected = walk if start < 0.5 else [1 - x for x in walk]
    assert model.seen[:5] == pytest.approx([0.5, *expected], abs=1e-6)


def test_halving_the_step_finds_a_maximum_between_full_steps():
    found = run(Valley(0.5371), 100)
    assert found.item() == pytest.approx(0.5371, abs=1e-3)


def test_the_best_iterate_is_returned_not_the_last():
    model = Valley(0.61)
    found = run(model, 10)
    assert abs(found.item() - 0.61) == pytest.approx(min(abs(x - 0.61) for x in model.seen))


def test_targets_are_attacked_from_the_most_to_the_least_likely_class():
    """Class 3, the third best, is the only one that the ball reaches."""
    weight = torch.tensor([[1.0, 1.0], [0.98, 0.98], [0.9, 0.9], [0.0, 1.2]])

    def model(images):
        return images.flatten(1) @ weight.T

    images = torch.full((1, 1, 1, 2), 0.5)  # logits 1, 0.98, 0.9, 0.6; class 3 wins where 0.2 x_2 > x_1
    labels = torch.tensor([0])

    def broken(targets):
        found = apgd(
            model, images, labels, eps=0.45, iterations=20, loss="dlr-targeted", targets=targets,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        return bool(model(found).argmax() != 0)

    assert broken(3)
    assert model(torch.tensor([[[[0.05, 0.95]]]])).argmax() == 3


WEIGHT = torch.tensor([3.0, -0.5, 0.0, 1e-15])


def weighted(images):
    """Logits (0, w.x - 9): label 0 is never lost, the gradient of the margin is w."""
    score = images.flatten(1) @ WEIGHT[:, None] - 9
    return torch.cat([torch.zeros_like(score), score], 1)


GREY = torch.full((1, 1, 2, 2), 0.5)


def test_the_first_sa_pgd_step_equals_the_one_worked_out_by_hand():
    # mean |w| = 0.875, mean w^2 = 2.3125: m / sqrt v = (w / 0.875) / (|w| / 1.520691) = sign(w) 1.737932,
    # clipped at eta = eps; a pixel without gradient stays
    found = sa_pgd(weighted, GREY, LABEL, eps=0.1, iterations=1, loss="margin")
    assert found.flatten().tolist() == pytest.approx([0.6, 0.4, 0.5, 0.6])


def test_the_step_shrinks_where_the_gradient_changes_sign():
    """One pixel that oscillates about the top of its loss: hand-rolled moments against the iterates."""
    seen = list[float]()

    def valley(images):
        x = images.flatten(1)
        seen.append(x[0, 0].item())
        return torch.cat([torch.zeros_like(x), -2 * (x - 0.53).abs()], 1)

    found = sa_pgd(valley, GREY[:, :, :1, :1], LABEL, eps=0.1, iterations=30, loss="margin")
    x, first, second, eta, best, at_best = 0.5, 0.0, 0.0, 0.1, -0.06, 0.5
    for k in range(5):  # of 30 iterations the first checkpoint is at 6
        slope = 1.0 if x < 0.53 else -1.0
        first, second = 0.5 * first + slope, 0.8 * second + 1
        x = min(max(x + max(-eta, min(eta, eta * first / math.sqrt(second))), 0.4), 0.6)
        assert seen[2 + k] == pytest.approx(x, abs=1e-6)
        if -2 * abs(x - 0.53) > best:
            best, at_best = -2 * abs(x - 0.53), x
    assert abs(found.item() - 0.53) <= abs(at_best - 0.53) + 1e-6
    assert abs(found.item() - 0.53) < 0.01


def test_the_step_does_not_depend_on_the_size_of_the_gradient():
    def scaled(images):
        return 1e-30 * weighted(images)

    found = sa_pgd(scaled, GREY, LABEL, eps=0.1, iterations=1, loss="margin")
    assert found.flatten()[:3].tolist() == pytest.approx([0.6, 0.4, 0.5])


def test_momentum_moves_along_the_sign_of_the_decayed_sum_in_steps_that_halve():
    # g / mean |g| is +1 or -1: m = 1, then 0.5 - 1 = -0.5, then -0.25 + 1, then 0.375 + 1; eta = 0.4, 0.2, 0.1, 0.05
    step, image, steps = MomentumStep(Ball(0.8), 5), torch.zeros(1, 1, 1, 1), []
    iterate = image
    for slope in (3.0, -2.0, 5.0, 1.0):
        iterate = step(image, iterate, LossGradient(image, image, torch.full_like(image, slope)))
        steps.append(round(float(iterate), 6))
    assert steps == [0.4, 0.2, 0.3, 0.35]


def test_momentum_stays_in_the_ball_and_does_not_move_without_a_gradient():
    step, image = MomentumStep(Ball(0.1), 50), torch.full((1, 1, 1, 2), 0.5)
    iterate, slope = image, torch.tensor([[[[1.0, 0.0]]]])
    for _ in range(20):
        iterate = step(image, iterate, LossGradient(image, image, slope))
    assert iterate.flatten().tolist() == pytest.approx([0.6, 0.5])


def test_narrowed_starts_climb_longer_from_the_images_of_the_largest_margin():
    seen: list[list[float]] = []

    def bright(images):
        seen.append(images[:, 0, 0, 1].tolist())  # no pixel has a gradient; a random start moves it by 0.01
        lead = images[:, 0, 0, 1].detach().round(decimals=1) + 5 + 0 * images.sum((1, 2, 3))
        return torch.stack([lead, torch.zeros_like(lead)], 1)

    images = torch.linspace(0, 0.9, 31).round(decimals=1).view(31, 1, 1, 1).expand(31, 1, 1, 2).contiguous()
    momentum(bright, images, torch.zeros(31, dtype=torch.int64), eps=0.01, iterations=4, restarts=2, narrow=2)
    # The images themselves; 4 steps and the last iterate; 8 steps and the last iterate; and the gate's own calls.
    assert [len(batch) for batch in seen[:15]] == [31] * 6 + [16] * 9
    darkest = sorted(images[:, 0, 0, 0].tolist())[:16]
    assert sorted(round(value, 1) for value in seen[6]) == pytest.approx(darkest)
    few = images[:12]
    seen.clear()
    momentum(bright, few, torch.zeros(12, dtype=torch.int64), eps=0.01, iterations=4, restarts=2, narrow=4)
    assert [len(batch) for batch in seen[6:23]] == [10] * 17  # of few images, ten


@pytest.fixture(scope="module")
def spiking():
    """(a random spiking network in double precision, 40 images, the classes that it gives them)."""
    torch.manual_seed(0)
    ann = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 24), torch.nn.ReLU(), torch.nn.Linear(24, 4, bias=False)
    )
    images = torch.rand(40, 1, 4, 4)
    network = convert(ann, images, timesteps=4).eval().double()
    with torch.no_grad():
        return network, images.double(), network(images.double()).argmax(1)


@pytest.mark.parametrize("attack", ["sa-pgd", "apgd", "apgd-targeted", "momentum"])
@pytest.mark.parametrize("rule", ["assg", "assg(start=1)", "arctan"])
def test_images_that_leave_the_batch_change_nothing_for_those_that_stay(spiking, monkeypatch, attack, rule):
    network, images, labels = spiking

    def attacked(share, sizes):
        monkeypatch.setattr(iterative, "FALLEN", share)
        hook = network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
        with seeded(0), hook:
            name, targeted = attack.removesuffix("-targeted"), ", loss=dlr-targeted, targets=1" * ("-t" in attack)
            return parse(f"{name}(eps=0.06, iterations=30, rule={rule}{targeted})")(network, images, labels)

    together, leaving = list[int](), list[int]()
    expected, adversarial = attacked(1.0, together), attacked(0.0, leaving)
    assert 0 < sum(leaving) < 0.95 * sum(together)
    stands = network(expected).argmax(1) == labels
    assert stands.any()
    assert not stands.all()
    assert torch.equal(network(adversarial).argmax(1) == labels, stands)
    torch.testing.assert_close(adversarial[stands], expected[stands])


def test_a_batch_stays_together_where_the_statistics_of_a_rule_cannot_follow(spiking):
    network, images, _ = spiking
    kept = torch.arange(40) < 30
    with gradient_rule(network, "assg"):
        network(images.clone().requires_grad_()).sum().backward()
        assert not keep_rows(network, kept[:20])  # such as several draws of each image
        assert keep_rows(network, kept)
        level = next(iter(network.neurons.values())).surrogate.statistics["level"]
        assert level.shape[1] == 30
    network.gradient_rule = None  # an adapter holds the rules of its network itself
    try:
        assert not keep_rows(network, kept)
    finally:
        del network.gradient_rule
    assert keep_rows(lambda x: x, kept)
