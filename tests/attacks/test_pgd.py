import warnings

import pytest
import torch
from torch import nn

from hiresnn.attacks import fgsm, pgd
from hiresnn.models import build
from hiresnn.network import convert

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # foolbox imports from a place that SciPy has deprecated
    import eagerpy
    import foolbox

EPS = 8 / 255


def generator(seed):
    return torch.Generator().manual_seed(seed)


def linear(classes=2):
    """A linear classifier whose optimal adversary is known: x - eps * sign(w_y - w_other)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, classes))
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(classes, 12, generator=generator(0)) * 0.5)
        model[1].bias.copy_(torch.randn(classes, generator=generator(1)) * 0.1)
    return model.eval()


def pictures(count=50, low=0.0, high=1.0):
    images = torch.rand(count, 3, 2, 2, generator=generator(2)) * (high - low) + low
    return images, torch.randint(0, 2, (count,), generator=generator(3))


def directions(model, labels):
    weight = model[1].weight.detach()
    return (weight[labels] - weight[1 - labels]).sign().view(-1, 3, 2, 2)


@pytest.fixture(scope="module")
def ann():
    torch.manual_seed(0)
    return build("vgg5", 10, width=1 / 16, hidden=16, image_size=8, mean=[0.5] * 3, std=[0.25] * 3).eval()


@pytest.fixture(scope="module")
def snn(ann):
    return convert(ann, torch.rand(32, 3, 8, 8, generator=generator(4)), timesteps=4).eval()


@pytest.mark.parametrize("kind", ["ann", "snn"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_images_equal_those_of_foolbox(kind, attack, request):
    model = request.getfixturevalue(kind)
    images, labels = torch.rand(16, 3, 8, 8, generator=generator(5)), torch.arange(16) % 10
    if attack == "fgsm":
        ours = fgsm(model, images, labels, eps=EPS)
        theirs = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    else:
        ours = pgd(model, images, labels, eps=EPS, step=0.01, iterations=7)
        theirs = foolbox.attacks.LinfProjectedGradientDescentAttack(abs_stepsize=0.01, steps=7, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    # `run` is the attack on every image; calling it would spare those that are misclassified anyway.
    found = theirs.run(
        wrapped, eagerpy.astensor(images), foolbox.Misclassification(eagerpy.astensor(labels)), epsilon=EPS
    )
    assert (ours != images).double().mean() > 0.5
    torch.testing.assert_close(ours, found.raw, rtol=0, atol=1e-6)


def test_pgd_reaches_the_optimum_of_a_linear_model():
    model, (images, labels) = linear(), pictures()
    optimum = (images - EPS * directions(model, labels)).clamp(0, 1)
    torch.testing.assert_close(pgd(model, images, labels, eps=EPS), optimum, rtol=0, atol=1e-6)


def test_robust_accuracy_of_a_linear_model_is_margin_against_bound_times_norm():
    model, (images, labels) = linear(), pictures(400, low=0.2, high=0.8)  # no pixel meets the range
    logits, weight = model(images).detach(), model[1].weight.detach()
    rows = torch.arange(len(labels))
    margin = logits[rows, labels] - logits[rows, 1 - labels]
    norm = (weight[0] - weight[1]).abs().sum()
    robust = margin > EPS * norm
    assert 0 < robust.sum() < (margin > 0).sum()
    survived = model(pgd(model, images, labels, eps=EPS)).argmax(1) == labels
    assert torch.equal(survived, robust)


# A step of 0.01 three times, without a wall in its way, is 0.03; four times would be 0.04, but the ball ends at eps.
@pytest.mark.parametrize(("iterations", "distance"), [(0, 0.0), (1, 0.01), (3, 0.03), (4, EPS), (20, EPS)])
def test_every_iteration_makes_one_step_up_to_the_bound(iterations, distance):
    model, (images, labels) = linear(), pictures(low=0.2, high=0.8)
    adversarial = pgd(model, images, labels, eps=EPS, step=0.01, iterations=iterations)
    torch.testing.assert_close(adversarial, images - distance * directions(model, labels), rtol=0, atol=1e-6)


def test_watch_gets_the_logits_after_every_number_of_steps(ann):
    images, labels = torch.rand(4, 3, 8, 8, generator=generator(5)), torch.arange(4)
    seen = {}
    pgd(ann, images, labels, iterations=4, watch=lambda done, logits: seen.update({done: logits}))
    assert list(seen) == [0, 1, 2, 3]
    for done, logits in seen.items():
        assert torch.allclose(logits, ann(pgd(ann, images, labels, iterations=done)), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"eps": 0.0}, {"iterations": 0}, {"step": 0.0}, {"eps": 0.0, "random_start": True}]
)
def test_zero_eps_step_or_iterations_return_the_images(options):
    model, (images, labels) = linear(), pictures()
    assert torch.equal(pgd(model, images, labels, **options), images)


def test_a_random_start_is_a_uniform_draw_from_the_ball():
    model, (images, labels) = linear(), pictures(500, low=0.2, high=0.8)
    start = pgd(model, images, labels, eps=0.1, iterations=0, random_start=True, generator=generator(0)) - images
    assert start.abs().max() <= 0.1 + 1e-6
    assert start.mean().item() == pytest.approx(0, abs=4e-3)
    assert start.std().item() == pytest.approx(0.1 / 3**0.5, abs=2e-3)


def test_a_random_start_is_repeatable_and_leaves_the_global_generator_alone():
    model, (images, labels) = linear(), pictures()

    def run(seed):
        return pgd(model, images, labels, iterations=1, random_start=True, generator=generator(seed))

    before = torch.get_rng_state()
    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    assert torch.equal(torch.get_rng_state(), before)


def test_pgd_attacks_the_model_in_eval_mode():
    model, (images, labels) = linear(), pictures()
    noisy = nn.Sequential(nn.Dropout(0.9), model).train()
    assert torch.equal(pgd(noisy, images, labels), pgd(model, images, labels))


def test_a_plain_function_is_a_model():
    model, (images, labels) = linear(), pictures()
    assert torch.equal(pgd(lambda rows: model(rows), images, labels), pgd(model, images, labels))


def test_pgd_works_under_no_grad():
    model, (images, labels) = linear(), pictures()
    with torch.no_grad():
        quiet = pgd(model, images, labels)
    assert torch.equal(quiet, pgd(model, images, labels))


def test_a_sample_is_attacked_the_same_in_any_batch():
    model, (images, labels) = linear(), pictures()
    alone = pgd(model, images[3:4], labels[3:4])
    assert torch.equal(alone, pgd(model, images, labels)[3:4])
    assert pgd(model, images[:0], labels[:0]).shape == (0, 3, 2, 2)
