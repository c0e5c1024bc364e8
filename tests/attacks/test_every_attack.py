"""What holds for every attack in the registry, one row each: name and cheap options."""

import math

import pytest
import torch
from torch import nn

from hiresnn.attacks import ATTACKS, check, parse, seeded
from hiresnn.checks import correct
from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, RULES, Linear, Window

pytestmark = pytest.mark.usefixtures("short")

EPS = 0.05
ROWS = [
    ("fgsm", ""),
    ("pgd", "iterations=3"),
    ("pgd-restarts", "iterations=3, restarts=2"),
    ("apgd", "iterations=5"),
    ("apgd", "iterations=3, loss=dlr-targeted, targets=2"),
    ("sa-pgd", "iterations=5, restarts=2"),
    ("momentum", "iterations=5, restarts=2, random_start=True, finish=3"),
    ("greedy", "iterations=2"),
    ("square", "queries=10"),
    ("noise", "draws=3"),
    ("noise", "draws=3, kind=sign"),
    ("noise", "draws=3, kind=gaussian"),
    ("autoattack", ""),
    ("autoattack", "version=rand"),
    ("fgsm", "norm=l2"),
    ("pgd", "norm=l2, iterations=3, random_start=True"),
    ("pgd-restarts", "norm=l2, iterations=3, restarts=2"),
    ("apgd", "norm=l2, iterations=5"),
    ("momentum", "norm=l2, iterations=5, restarts=2, finish=3"),
    ("greedy", "norm=l2, iterations=2"),
    ("square", "norm=l2, queries=10"),
    *(("noise", f"norm=l2, draws=3, kind={kind}") for kind in ("uniform", "sign", "gaussian")),
    ("autoattack", "norm=l2, version=rand"),
]
NAMES = sorted({name for name, _ in ROWS})
every_attack = pytest.mark.parametrize(("name", "options"), ROWS)


class Spiking(nn.Module):
    """Linear, LIF over two steps, linear: the smallest network that every attack can run on."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.lif, self.last = nn.Linear(32, 20), LIF(0.5), nn.Linear(20, 4)
        for parameter in (*self.first.parameters(), *self.last.parameters()):
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3

    def forward(self, images):
        spikes = self.lif(self.first(images.flatten(1)), Window(2, len(images)), False)
        return self.last(spikes).view(2, len(images), 4).sum(0)


@pytest.fixture
def network():
    return Spiking()


@pytest.fixture
def images():
    return torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels(network, images):
    return network(images).argmax(1)


def norm_of(options):
    """The norm of a row, and a bound with a change of about EPS in each of 32 pixels."""
    return ("l2", 6 * EPS) if "norm=l2" in options else ("linf", EPS)


def spec(name, options, eps=None):
    return parse(f"{name}(eps={norm_of(options)[1] if eps is None else eps}, {options})")


def test_every_attack_has_a_row():
    assert set(NAMES) == set(ATTACKS)


@every_attack
def test_an_attack_keeps_its_bound_and_moves_something(network, images, labels, name, options):
    plain, originals = network.forward, images.clone()
    network.forward = lambda images: plain(images.clamp_(0.2, 0.8))  # writes into its input
    with seeded(0):
        adversarial = spec(name, options)(network, images, labels)
    norm, eps = norm_of(options)
    check(images, adversarial, eps=eps, norm=norm)
    assert torch.equal(images, originals)
    assert not adversarial.requires_grad
    assert not torch.equal(adversarial, images)


@every_attack
def test_an_attack_is_the_same_inside_inference_mode(network, images, labels, name, options):
    torch.manual_seed(0)
    adversarial = spec(name, options)(network, images, labels)
    torch.manual_seed(0)
    with torch.inference_mode():
        inside = spec(name, options)(network, images + 0, labels + 0)
    assert torch.equal(inside, adversarial)
    assert not inside.is_inference()


@every_attack
def test_an_attack_breaks_a_model_whose_logits_become_nan_off_the_image(network, images, labels, name, options):
    plain, originals = network.forward, images.clone()

    def failing(queried):
        known = (queried[:, None] == originals[None]).flatten(2).all(2).any(1)
        return torch.where(known[:, None], plain(queried), torch.nan)

    network.forward = failing
    adversarial = spec(name, options)(network, images, labels)
    norm, eps = norm_of(options)
    check(images, adversarial, eps=eps, norm=norm)
    if name != "autoattack":  # the package does not search where logits are not finite
        assert not correct(failing(adversarial), labels).any()


@every_attack
def test_an_attack_restores_the_model(network, images, labels, name, options):
    network.first.weight.requires_grad_(False)
    network.last.eval()
    spec(name, options)(network, images, labels)
    assert [module.training for module in network.modules()] == [True, True, True, False]
    assert [parameter.requires_grad for parameter in network.parameters()].count(False) == 1
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.lif.surrogate == Linear()


@every_attack
def test_a_bound_of_zero_returns_the_images_and_a_batch_may_be_empty(network, images, labels, name, options):
    for rows in (1, 0):
        assert spec(name, options)(network, images[:rows], labels[:rows]).shape == (rows, 2, 4, 4)
    assert torch.equal(spec(name, options, 0)(network, images, labels), images)


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_that_is_not_in_0_to_1_is_refused(network, images, labels, name):
    for eps in (math.nan, math.inf, 8.0, -0.1):
        with pytest.raises(UsageError, match=r"does not lie in|is too large"):
            ATTACKS[name].run(network, images, labels, eps=eps)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("pgd", "iterations", 2.0),
        ("pgd", "iterations", True),
        ("pgd", "step", math.nan),
        ("pgd", "step", -0.01),
        ("pgd-restarts", "draws", 0),
        ("apgd", "targets", 0),
        ("sa-pgd", "restarts", 0),
        ("sa-pgd", "loss", "dlr-targeted"),
        ("square", "area", 0.0),
        ("square", "queries", -1),
        ("noise", "kind", "pink"),
        ("autoattack", "version", "custom"),
    ],
)
def test_an_option_out_of_its_range_is_refused(network, images, labels, name, option, value):
    with pytest.raises(UsageError, match=f"{option} is "):
        ATTACKS[name].run(network, images, labels, **{option: value})


@pytest.mark.parametrize("name", ["pgd", "pgd-restarts", "apgd", "sa-pgd", "momentum", "square", "noise"])
def test_a_generator_makes_the_draws_repeatable(network, images, labels, name):
    options = {"pgd": {"random_start": True}, "square": {"queries": 10}, "noise": {"draws": 1}}.get(name, {})
    if name in ("pgd-restarts", "sa-pgd", "momentum"):
        options = {"restarts": 2, "iterations": 0}  # what a climb ends at may be one place for all starts

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return ATTACKS[name].run(network, images, labels, eps=0.3, generator=generator, **options)

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd-restarts", "apgd", "sa-pgd", "momentum"])
def test_an_attack_runs_under_its_gradient_rule(network, images, labels, name):
    def attacked(options):
        with seeded(0):
            return parse(f"{name}({options})", eps=EPS, iterations=3)(network, images, labels)

    own = attacked("")
    assert torch.equal(attacked("rule=linear"), own)
    assert not torch.equal(attacked("rule=bptr"), own)
    assert network.lif.surrogate == Linear()


def test_a_rule_needs_a_network_with_lif_neurons(images, labels):
    with pytest.raises(UsageError, match="Linear has no LIF neuron"):
        parse("fgsm(rule=arctan)")(nn.Linear(4, 4), images, labels)
    with pytest.raises(UsageError, match="rule needs a network with LIF neurons"):
        parse("fgsm(rule=arctan)")(lambda x: x.flatten(1), images, labels)


def test_every_rule_runs_under_an_attack(network, images, labels):
    for name in RULES:
        check(images, parse(f"apgd(eps=0.05, iterations=3, rule={name})")(network, images, labels), eps=EPS)
