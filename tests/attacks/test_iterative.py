"""FGSM, PGD, PGD with restarts and greedy rule choice: steps by hand, optima of linear models, and foolbox."""

import warnings

import pytest
import torch
from torch import nn

from hiresnn.attacks import fgsm, greedy, pgd, pgd_restarts, unbroken
from hiresnn.attacks.gate import ascend, perturbed
from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import convert
from hiresnn.neurons import LIF, Linear, Window

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


def test_a_step_follows_the_sign_of_the_gradient_and_stays_in_the_ball():
    perturbation = torch.tensor([0.0, 0.0, 0.0, 0.25, -0.25, 0.5])
    gradient = torch.tensor([3.0, -0.001, 0.0, 1.0, 1.0, 1.0])
    # + 0.25 * sign, then clipped to [-0.375, 0.375]
    expected = [0.25, -0.25, 0.0, 0.375, 0.0, 0.375]
    assert ascend(perturbation, gradient, 0.25, 0.375).tolist() == expected


def test_perturbed_images_stay_in_the_range_of_pixels():
    images = torch.tensor([0.0, 0.5, 0.5, 1.0])
    perturbation = torch.tensor([-0.25, 0.25, -0.75, 0.125])
    assert perturbed(images, perturbation).tolist() == pytest.approx([0, 0.75, 0, 1])
    assert images.tolist() == [0, 0.5, 0.5, 1]


def classifier():
    """Logits (x0 - 2 x1, 0 x0 + x1) of two pixels: for class 0 the loss falls along (1, -3)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
    return model


PAIRS = torch.tensor([[0.5, 0.5], [0.0625, 0.9375], [0.5, 0.5]]).view(3, 1, 1, 2)
CLASSES = torch.tensor([0, 0, 1])


def test_every_pixel_moves_by_eps_against_its_class():
    # Class 0: x0 goes down and x1 up; the second image meets black and white. Class 1: the reverse.
    adversarial = fgsm(classifier(), PAIRS, CLASSES, eps=0.125)
    assert adversarial.view(3, 2).tolist() == [[0.375, 0.625], [0.0, 1.0], [0.625, 0.375]]


def test_fgsm_is_one_pgd_step_of_size_eps():
    model = classifier()
    assert torch.equal(
        fgsm(model, PAIRS, CLASSES, eps=0.1), pgd(model, PAIRS, CLASSES, eps=0.1, step=0.1, iterations=1)
    )


def test_pixels_without_gradient_do_not_move():
    assert torch.equal(fgsm(lambda rows: rows.flatten(1) * 0, PAIRS, CLASSES), PAIRS)


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


@pytest.mark.parametrize("options", [{"step": 0.0}, {"eps": 0.0, "random_start": True}])
def test_a_step_of_zero_or_a_start_in_a_ball_of_radius_zero_returns_the_images(options):
    model, (images, labels) = linear(), pictures()
    assert torch.equal(pgd(model, images, labels, **options), images)


def test_a_random_start_is_a_uniform_draw_from_the_ball():
    model, (images, labels) = linear(), pictures(500, low=0.2, high=0.8)
    start = pgd(model, images, labels, eps=0.1, iterations=0, random_start=True, generator=generator(0)) - images
    assert start.abs().max() <= 0.1 + 1e-6
    assert start.mean().item() == pytest.approx(0, abs=4e-3)
    assert start.std().item() == pytest.approx(0.1 / 3**0.5, abs=2e-3)


def test_pgd_attacks_the_model_in_eval_mode():
    model, (images, labels) = linear(), pictures()
    noisy = nn.Sequential(nn.Dropout(0.9), model).train()
    expected = pgd(model, images, labels)
    assert torch.equal(pgd(noisy, images, labels), expected)
    with torch.no_grad():  # and takes a plain function, also under no_grad
        assert torch.equal(pgd(lambda rows: model(rows), images, labels), expected)


def test_a_sample_is_attacked_the_same_in_any_batch():
    model, (images, labels) = linear(), pictures()
    alone = pgd(model, images[3:4], labels[3:4])
    assert torch.equal(alone, pgd(model, images, labels)[3:4])
    assert pgd(model, images[:0], labels[:0]).shape == (0, 3, 2, 2)


class Trap:
    """One pixel x: wrong (class 1) in a narrow gap alone, while the loss goes on rising beyond it.

    From 0.5 steps of 0.1 lead through 0.6, the gap, to the edge of the ball at 0.8.
    """

    def __init__(self):
        self.sizes: list[int] = []

    def __call__(self, images):
        self.sizes.append(len(images))
        x = images.flatten(1)
        inside = ((x - 0.6).abs() < 0.01) * 10.0
        return torch.cat([torch.zeros_like(x), x - 1 + inside], 1)


PIXELS = torch.tensor([0.5, 0.1]).view(2, 1, 1, 1)
ZEROS = torch.tensor([0, 0])


def test_a_successful_iterate_counts_even_if_the_last_one_fails():
    last = pgd(Trap(), PIXELS, ZEROS, eps=0.3, step=0.1, iterations=5)
    found = pgd_restarts(Trap(), PIXELS, ZEROS, eps=0.3, step=0.1, iterations=5, restarts=1)
    assert last.flatten().tolist() == pytest.approx([0.8, 0.4])
    assert found.flatten().tolist() == pytest.approx([0.6, 0.4])


def test_a_broken_image_leaves_the_batch():
    model = Trap()
    pgd_restarts(model, PIXELS, ZEROS, eps=0.3, step=0.1, iterations=3, restarts=2)
    # the images themselves, then the gap at 0.6; the other image takes what remains of both starts
    assert model.sizes == [2, 2, 1, 1, 1, 1, 1, 1]


def test_a_second_start_breaks_an_image_that_the_first_cannot():
    # a gap at 0.35, off every step from 0.5; the loss falls towards it
    def model(images):
        x = images.flatten(1)
        return torch.cat([torch.zeros_like(x), x - 1 + ((x - 0.35).abs() < 0.02) * 10.0], 1)

    def wrong(restarts):
        options = {"eps": 0.2, "step": 0.1, "iterations": 3, "restarts": restarts}
        found = pgd_restarts(model, PIXELS[:1], ZEROS[:1], generator=torch.Generator().manual_seed(0), **options)
        return bool(model(found).argmax() == 1)

    assert not wrong(1)
    assert wrong(60)


def test_unbroken_agrees_with_the_images_of_pgd_restarts():
    options = {"eps": 0.3, "step": 0.1, "iterations": 5}
    found, model = pgd_restarts(Trap(), PIXELS, ZEROS, restarts=1, **options), Trap()
    assert unbroken(model, PIXELS, ZEROS, **options).tolist() == [False, True]
    assert (Trap()(found).argmax(1) == ZEROS).tolist() == [False, True]
    # the images, the gap at 0.6 for the first, then the other alone; its last iterate
    assert model.sizes == [2, 2, 1, 1, 1, 1]
    with torch.inference_mode():
        assert unbroken(Trap(), PIXELS.clone(), ZEROS, **options).tolist() == [False, True]
    with pytest.raises(UsageError, match="divide by 255"):
        unbroken(Trap(), 255 * PIXELS, ZEROS, **options)
    with pytest.raises(UsageError, match="eps"):
        unbroken(Trap(), PIXELS, ZEROS, eps=-0.1)


class OneNeuron(nn.Module):
    """A pixel, a LIF of threshold 0.5 over one step, logits (0.5, spike)."""

    def __init__(self):
        super().__init__()
        self.lif = LIF(0.5)

    def forward(self, images):
        spikes = self.lif(images.flatten(1), Window(1, len(images)))
        return torch.cat([torch.full_like(spikes, 0.5), spikes], 1)


def blind(z):
    return torch.zeros_like(z)


def backwards(z):
    return -torch.ones_like(z)


DARK = torch.tensor([0.3, 0.45]).view(2, 1, 1, 1)


def test_the_rule_with_the_highest_loss_is_followed():
    model = OneNeuron()
    options = {"eps": 0.3, "step": 0.1, "iterations": 3}
    assert torch.equal(greedy(model, DARK, ZEROS, rules=[blind, backwards], **options), DARK)
    found = greedy(model, DARK, ZEROS, rules=[Linear(), backwards, blind], **options)
    assert (model(found).argmax(1) == 1).all()
    assert found.flatten().tolist() == pytest.approx([0.6, 0.55])


def test_greedy_needs_rules_and_neurons():
    with pytest.raises(UsageError, match="rules is empty"):
        greedy(OneNeuron(), DARK, ZEROS, rules=[])
    with pytest.raises(UsageError, match="has no LIF neuron"):
        greedy(
            nn.Flatten(), torch.tensor([0.6, 0.4, 0.7, 0.1]).view(2, 1, 1, 2), ZEROS.new_tensor([0, 0]), loss="margin"
        )
