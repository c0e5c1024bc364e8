import pytest
import torch
from torch import nn

from hiresnn.attacks import AttackSpec, fgsm, greedy, parse, pgd
from hiresnn.attacks.registry import ATTACKS
from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Window, gradient_rule
from hiresnn.neurons.rules import BPTR, Arctan, StraightThrough, Unrolled


class Neurons(nn.Module):
    """Two pixels, two LIF over three steps, two logits."""

    def __init__(self):
        super().__init__()
        self.lif = LIF(0.4, leak=0.5)

    def forward(self, images):
        pixels = images.flatten(1)
        spikes = self.lif(torch.stack([pixels[:, 0] + 0.5 * pixels[:, 1], pixels.sum(1)], 1), Window(3, len(images)))
        return spikes.view(3, len(images), 2).sum(0)


IMAGES, LABELS = torch.tensor([[0.1, 0.5], [0.6, 0.3]]).view(2, 1, 1, 2), torch.tensor([1, 0])


def test_a_name_alone_takes_the_defaults_of_the_attack():
    spec = parse("fgsm")
    assert (spec.label, spec.name, spec.options, spec.eps) == ("fgsm", "fgsm", {}, 8 / 255)


def test_options_are_read_as_fractions_decimals_whole_numbers_and_truths():
    spec = parse("pgd:eps=2/255,step=1e-2,iterations=20,random_start=True")
    assert spec.label == "pgd:eps=2/255,step=1e-2,iterations=20,random_start=True"
    assert spec.options == {"eps": 2 / 255, "step": 0.01, "iterations": 20, "random_start": True}
    assert spec.eps == 2 / 255
    assert parse("pgd:random_start=false").options == {"random_start": False}


def test_the_text_overrides_defaults_and_an_attack_takes_those_it_knows():
    assert parse("pgd:eps=0.5", eps=0.1, step=0.2).options == {"eps": 0.5, "step": 0.2}
    assert parse("fgsm", eps=0.1, step=0.2, iterations=3).options == {"eps": 0.1}


def test_a_parsed_attack_runs_with_its_options():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 3))
    images, labels = torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 2, 0])
    found = parse("pgd:eps=0.1,step=0.05,iterations=2")(model, images, labels)
    assert torch.equal(found, pgd(model, images, labels, eps=0.1, step=0.05, iterations=2))
    assert torch.equal(parse("fgsm:eps=1/10")(model, images, labels), fgsm(model, images, labels, eps=0.1))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("pgd:rule=arctan/alpha=4", Arctan(4)),
        ("pgd:eps=0.1,rule=arctan/alpha=8/2/reset,iterations=1", Unrolled(Arctan(4), through_reset=True)),
    ],
)
def test_a_rule_with_options_is_in_force_during_the_attack(monkeypatch, text, rule):
    found, network = [], Neurons()
    own = network.lif.surrogate

    def watched(model, images, labels, *, eps=0.0, iterations=0):
        found.append(model.lif.surrogate)
        return images

    monkeypatch.setitem(ATTACKS, "pgd", watched)
    spec = parse(text)
    assert spec.rule == text.partition("rule=")[2].partition(",")[0]
    spec(network, IMAGES, LABELS)
    assert found == [rule]
    assert network.lif.surrogate is own


def test_the_reset_flag_changes_the_gradient_that_an_attack_climbs():
    network = Neurons()
    with gradient_rule(network, Unrolled(Arctan(2), through_reset=True)):
        by_hand = pgd(network, IMAGES, LABELS, eps=0.3, step=0.1)
    assert torch.equal(parse("pgd:eps=0.3,step=0.1,rule=arctan/alpha=2/reset")(network, IMAGES, LABELS), by_hand)
    assert not torch.equal(parse("pgd:eps=0.3,step=0.1,rule=arctan/alpha=2")(network, IMAGES, LABELS), by_hand)


def test_greedy_choice_takes_several_rules_joined_by_a_plus():
    network, options = Neurons(), {"eps": 0.3, "step": 0.05, "iterations": 3}
    spec = parse("greedy:eps=0.3,step=0.05,iterations=3,rule=arctan/alpha=4e+0/cut+bptr")
    assert (spec.options, spec.rule) == (options, "arctan/alpha=4e+0/cut+bptr")
    rules = [Unrolled(Arctan(4), cut_time=True), BPTR()]
    assert torch.equal(spec(network, IMAGES, LABELS), greedy(network, IMAGES, LABELS, rules=rules, **options))


def test_greedy_choice_hands_on_just_the_rules_of_its_text(monkeypatch):
    seen = []

    def watched(model, images, labels, **options):
        seen.append(options)
        return images

    monkeypatch.setitem(ATTACKS, "greedy", watched)
    parse("greedy:rule=straight-through+bptr")(Neurons(), IMAGES, LABELS)
    parse("greedy:rule=bptr")(Neurons(), IMAGES, LABELS)
    parse("greedy")(Neurons(), IMAGES, LABELS)
    assert seen == [{"rules": [StraightThrough(), BPTR()]}, {"rules": [BPTR()]}, {}]


def test_a_rule_is_read_again_where_a_spec_is_made_by_hand():
    with pytest.raises(UsageError, match="rule 'arctangent' is not known"):
        AttackSpec("mine", "pgd", rule="arctangent")(Neurons(), IMAGES, LABELS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cw", "attack 'cw' is not known; choose one of fgsm, pgd"),
        ("", "attack '' is not known"),
        ("fgsm:steps=3", "attack 'fgsm:steps=3': fgsm has no option 'steps'; it has eps"),
        ("pgd:generator=1", "pgd has no option 'generator'; it has eps, step, iterations, random_start"),
        ("pgd:eps=8/x", "attack 'pgd:eps=8/x': eps is '8/x'; it takes a float"),
        ("pgd:eps=8/0", "eps is '8/0'"),
        ("pgd:eps=nan", "eps is 'nan'"),
        ("pgd:eps=1e400", "eps is '1e400'; it takes a float"),
        ("pgd:eps", "eps is ''; it takes a float"),
        ("pgd:iterations=2.5", "iterations is '2.5'; it takes a int"),
        ("pgd:random_start=yes", "random_start is 'yes'; it takes a bool"),
        ("pgd:rule=arctan/k=4", "attack 'pgd:rule=arctan/k=4': rule 'arctan/k=4': arctan has no option 'k=4'"),
        ("pgd:rule=bptr/cut", "rule 'bptr/cut': bptr forgets time"),
        ("pgd:rule=", "attack 'pgd:rule=': rule '' is not known; choose one of linear"),
        ("pgd:rule=arctan+bptr", r"pgd follows one rule, 'arctan\+bptr' are 2; use greedy for several"),
        ("greedy:rule=arctan+", "rule '' is not known"),
        ("greedy:rule=arctan+tan", "rule 'tan' is not known; choose one of linear"),
        ("greedy:rules=arctan", "greedy has no option 'rules'; it has eps, step, iterations, loss, rule"),
        ("square:rule=arctan", "square has no option 'rule'; it has eps, queries, area"),
    ],
)
def test_what_does_not_parse_is_told(text, message):
    with pytest.raises(UsageError, match=message):
        parse(text)
