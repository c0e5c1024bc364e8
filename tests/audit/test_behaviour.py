"""The network as the audit calls it: passes counted, draws averaged and seeded, rules restored, faults named."""

import math
import re
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from hiresnn.attacks import fgsm, frozen, loss_gradient, pgd
from hiresnn.attacks.losses import margin
from hiresnn.audit import About, InstrumentedModel, run_audit
from hiresnn.audit.behaviour import EOT_SAMPLES, OWN, ROUNDING, seed_of
from hiresnn.audit.build_card import build_card
from hiresnn.checks import fingerprint
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled
from hiresnn.neurons import Linear
from hiresnn.progress import Progress

from .hostile import HOSTILE
from .small import ONCE


class Flat(nn.Module):
    """Logits of three classes, linear in four pixels."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)
        nn.init.normal_(self.linear.weight, generator=torch.Generator().manual_seed(0))
        nn.init.zeros_(self.linear.bias)

    def forward(self, images):
        return self.linear(images.flatten(1))


class Noisy(Flat):
    """The same with noise on its logits, from torch's global generator."""

    def forward(self, images):
        logits = super().forward(images)
        return logits + torch.randn(logits.shape)


class Rounding(Flat):
    """The same on images of 16 levels."""

    def forward(self, images):
        return super().forward((images * 15).round() / 15)


@pytest.fixture
def grey():
    return torch.linspace(0.2, 0.8, 20).view(5, 1, 2, 2)


@pytest.fixture
def labels():
    return torch.tensor([0, 1, 2, 0, 1])


def test_logits_are_those_of_the_network(network, shown):
    audited = InstrumentedModel(network, shown[0][:16])
    assert torch.equal(audited(shown[0]), network(shown[0]))
    assert (audited.classes, audited.random, audited.draws, audited.rounds) == (10, False, 1, False)


def test_a_network_is_called_in_eval_mode_and_half_precision_becomes_float(grey):
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    assert not InstrumentedModel(model, grey).random  # dropout would draw
    assert model.training  # the caller's mode is restored (B11)
    assert InstrumentedModel(lambda images: images.flatten(1).half(), grey)(grey).dtype == torch.float32


@pytest.mark.parametrize("iterations", [1, 4])
def test_pgd_costs_one_forward_and_one_backward_pass_per_iteration_and_image(grey, labels, iterations):
    audited = InstrumentedModel(Flat(), grey)
    with audited.measured(0) as spent:
        pgd(audited, grey, labels, eps=0.1, iterations=iterations)
    assert (spent.forward, spent.backward) == (5 * iterations, 5 * iterations)


def test_every_draw_of_a_random_network_is_a_pass(grey, labels):
    audited = InstrumentedModel(Noisy(), grey)
    assert (audited.random, audited.draws) == (True, EOT_SAMPLES)
    with audited.measured(0) as spent:
        fgsm(audited, grey, labels, eps=0.1)
    assert (spent.forward, spent.backward) == (5 * EOT_SAMPLES, 5 * EOT_SAMPLES)


class Shared(Flat):
    """The same with one draw of noise for the whole batch."""

    def forward(self, images):
        return super().forward(images) + torch.randn(1, 3)


def in_one_batch(model, images):
    return model(images.repeat(4, 1, 1, 1)).view(4, len(images), 3)


def one_by_one(model, images):
    return torch.stack([model(images) for _ in range(4)])


@pytest.mark.parametrize(("model", "draws"), [(Noisy(), in_one_batch), (Shared(), one_by_one)])
def test_logits_and_gradients_of_a_random_network_are_means_over_its_draws(grey, labels, model, draws):
    audited = InstrumentedModel(model, grey, draws=4)
    with audited.measured(3) as spent:
        found = loss_gradient(audited, grey, labels, margin)
    assert (spent.forward, spent.backward) == (20, 20)
    torch.manual_seed(3)
    image = grey.clone().requires_grad_()
    logits = draws(model, image)
    assert not torch.allclose(logits[0], logits[1])
    (gradient,) = torch.autograd.grad(margin(logits.mean(0), labels).sum(), image)
    assert torch.allclose(found.logits, logits.mean(0), atol=1e-6)
    assert torch.allclose(found.gradient, gradient, atol=1e-6)


def test_draws_depend_on_the_seed_alone_and_torchs_state_is_restored(grey):
    audited = InstrumentedModel(Noisy(), grey)

    def logits(seed):
        with audited.measured(seed):
            answers: Tensor = audited(grey)
        return answers

    before = torch.get_rng_state()
    first = logits(1)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    assert torch.equal(logits(1), first)
    assert not torch.equal(logits(2), first)


def test_each_unit_of_work_has_its_own_valid_seed():
    assert seed_of(0, "clean 0-200") == seed_of(0, "clean 0-200")
    seeds = {seed_of(seed, key) for seed in (0, 1, 11) for key in ("a", "1 a", "b")}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_the_fingerprint_is_that_of_the_network_and_none_without_weights(grey):
    model = Flat()
    before = InstrumentedModel(model, grey).weights
    assert before == fingerprint(model.state_dict().items())
    with torch.no_grad():
        model.linear.bias[1] += 1
    assert InstrumentedModel(model, grey).weights not in (None, before)
    assert InstrumentedModel(lambda images: images.flatten(1), grey).weights is None
    assert InstrumentedModel(nn.Flatten(), grey).weights is None


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda images: images, r"answered 5 images with \[5, 1, 2, 2\], but must return logits \[5, classes\]"),
        (lambda images: images.flatten(1)[None].repeat(3, 1, 1), r"with \[3, 5, 4\], .*docs/foreign\.md"),
        (lambda images: images.flatten(1)[:4], r"with \[4, 4\]"),
        (lambda images: images.flatten(1)[:, :1], r"returns logits \[5, 1\]; an audit needs at least 2 classes"),
        (lambda images: (images.flatten(1), images), r"answered 5 images with tuple, .*docs/foreign\.md"),
        (lambda images: images.flatten(1) * math.inf, "logits are not finite on any clean image"),
        (lambda images: images.flatten(1) * math.nan, "logits are not finite on any clean image"),
    ],
)
def test_answers_that_are_not_logits_are_refused(grey, answer, message):
    with pytest.raises(UsageError, match=message):
        InstrumentedModel(answer, grey)


def test_a_network_takes_the_rules_that_fit_its_neurons(network, shown, grey):
    spiking, plain = InstrumentedModel(network, shown[0][:4]), InstrumentedModel(Flat(), grey)
    for rule in (OWN, "arctan", "assg", "hart/width=1", "linear/width=0.5/cut", "bptr"):
        assert spiking.takes(rule), rule
        assert plain.takes(rule) == (rule == OWN), rule
    assert not spiking.takes(ROUNDING)
    with pytest.raises(UsageError, match="no-such-rule"):
        spiking.takes("no-such-rule")
    assert not InstrumentedModel(lambda images: images.flatten(1), grey).takes("arctan")


class Thresholded(Flat):
    """The same on black and white images: no path leads back to a pixel."""

    def forward(self, images):
        return super().forward((images > 0.5).float())


def test_where_no_path_leads_back_to_the_images_the_gradient_is_zero(grey, labels):
    model = Thresholded()
    audited = InstrumentedModel(model, grey)
    with frozen(audited):
        found = loss_gradient(audited, grey, labels, margin)
    assert torch.equal(found.gradient, torch.zeros_like(grey))
    assert torch.equal(found.logits, model(grey))


def gradient(model, images, labels, rule):
    with model.under(rule):
        return loss_gradient(model, images, labels, margin).gradient


def test_gradients_pass_through_rounding_under_any_rule_except_the_own(grey, labels):
    rounding, smooth = InstrumentedModel(Rounding(), grey), InstrumentedModel(Flat(), grey)
    assert (gradient(rounding, grey, labels, OWN) == 0).all()
    through = gradient(rounding, grey, labels, ROUNDING)
    # The margin of a linear model has one gradient for each runner-up, which rounding changes for none of these.
    assert torch.allclose(through, gradient(smooth, grey, labels, OWN), atol=1e-5)
    assert (gradient(rounding, grey, labels, OWN) == 0).all()  # and the way is closed again
    assert torch.equal(rounding(grey), Rounding()(grey))


def test_a_rule_applies_inside_the_block_and_is_restored(network, shown):
    audited = InstrumentedModel(network, shown[0][:4])
    images, labels = shown[0][:4], shown[1][:4]
    own = gradient(audited, images, labels, OWN)
    surrogates = [lif.surrogate for lif in network.neurons.values()]
    assert not torch.allclose(gradient(audited, images, labels, "arctan"), own)
    assert torch.allclose(3 * gradient(audited, images, labels, ROUNDING), own)  # of the mean over three steps

    def interrupted():
        with audited.under("straight-through"):
            assert not isinstance(next(iter(network.neurons.values())).surrogate, Linear)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [lif.surrogate for lif in network.neurons.values()] == surrogates
    assert torch.equal(gradient(audited, images, labels, OWN), own)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_an_adapter_is_attacked_on_time_mean_logits_whatever_its_readout(grey, labels, scale):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat = Flat()

        def forward(self, images):
            return scale * self.flat(images)

    layers = Scaled()
    mean, total = (InstrumentedModel(Unrolled(layers, 4, library="toy", readout=r), grey) for r in ("mean", "sum"))
    assert mean.saturated == total.saturated == (scale > 1)
    assert (mean.rounded_off, total.rounded_off) == ((0, 0) if scale == 1 else (len(mean.observed),) * 2)
    for rule in (OWN, ROUNDING):
        with mean.under(rule), total.under(rule):
            assert torch.allclose(mean(grey), total(grey), rtol=1e-5)
    assert torch.allclose(4 * mean(grey), total(grey))  # outside of attacks the logits are as the adapter gives them


@pytest.mark.parametrize(("lead", "warns"), [(16.5, False), (16.7, True)])
def test_an_audit_warns_where_float32_rounds_the_cross_entropy_off(grey, labels, lead, warns, monkeypatch):
    # 1 minus the softmax of the larger of two float32 logits is 1.2e-7 at a lead of 16.6 and exactly 0 at 16.7.
    lines, progress = [], Progress(quiet=True)
    monkeypatch.setattr(progress, "line", lines.append)

    def network(images):  # the first class leads on every image
        return torch.stack([lead + 0 * images.sum((1, 2, 3)), *[0 * images.sum((1, 2, 3))] * 2], 1)

    run_audit(network, grey, labels, preset="quick", eps="1/255", bounds=["0", "1/255"], progress=progress)
    assert any("rounds to 0 in float32 on 5 of 5 clean images" in line for line in lines) == warns


def test_a_network_is_identified_by_its_answers_under_a_fixed_seed(grey):
    torch.manual_seed(5)
    answers = [InstrumentedModel(model, grey).digest for model in (Flat(), Flat(), Noisy(), Noisy(), Rounding())]
    assert None not in answers
    assert answers[0] == answers[1]
    assert answers[2] == answers[3]
    assert len(set(answers)) == 3
    calls = iter(range(9))
    assert InstrumentedModel(lambda images: images.flatten(1) * next(calls), grey).digest is None


@pytest.fixture(scope="module")
def card_of(run, shown):
    """Name of a hostile network -> its card."""

    @cache
    def card_of(name):
        result = run(HOSTILE[name].make(), *shown, stages=(ONCE,), bounds=("24/255",))
        return build_card(result, About(repeat="hiresnn audit"))

    return card_of


@pytest.mark.parametrize("name", [name for name, each in HOSTILE.items() if not each.refused])
def test_a_hostile_network_is_named_on_the_card(card_of, name):
    card = card_of(name)
    named = [check.detail for check in card.checks if check.result == "failed" or "random" in check.detail]
    assert any(re.search(HOSTILE[name].words, detail) for detail in named), card.checks
    if name != "random":
        assert any(re.search(HOSTILE[name].words, reason) for reason in card.conclusion.reasons)


@pytest.mark.parametrize("name", ["drifts", "constant", "dead", "stateful", "depends on the batch"])
def test_no_number_is_reported_for_a_network_whose_answers_are_not_a_function_of_the_image(card_of, name):
    conclusion = card_of(name).conclusion
    assert conclusion.verdict == "unreliable"
    assert conclusion.headline.startswith("Report no number at 24/255")
    ignores = name in ("constant", "dead")
    advice = "Check that the weights are loaded" if ignores else "Make the network's answers depend on the images alone"
    assert conclusion.next_step.startswith(advice)


@pytest.mark.parametrize("name", [name for name, each in HOSTILE.items() if each.refused])
def test_a_network_that_fails_later_is_refused_in_one_sentence(run, shown, name):
    with pytest.raises(UsageError, match=HOSTILE[name].words):
        run(HOSTILE[name].make(), *shown, stages=(ONCE,))


def test_logits_that_are_not_finite_count_as_wrong_whatever_the_class(run, shown):
    images, labels = shown
    found = run(HOSTILE["NaN now and then"].make(), images, labels, stages=(ONCE,), bounds=("8/255", "24/255"))
    correct = found.worst.count(found.worst.bounds[0])
    assert correct > 40
    assert int((labels == 0).sum()) == 6
    assert found.worst.count(found.worst.bounds[1]) == 0  # noise alone leaves the 8-bit grid
    assert found.cost.nonfinite > 0
