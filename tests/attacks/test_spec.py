"""Attacks as text: what is read, what is refused, and that every spec can be written and read back."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hiresnn.attacks import AttackSpec, fgsm, greedy, parse, pgd
from hiresnn.attacks.catalog import ATTACKS
from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Window, gradient_rule
from hiresnn.neurons.layer_rules import BPTR, Unrolled
from hiresnn.neurons.rules import RULES
from hiresnn.neurons.surrogate import Arctan, StraightThrough


class Neurons(nn.Module):
    """Two pixels, two LIF over three steps, two logits."""

    def __init__(self):
        super().__init__()
        self.lif = LIF(0.4, leak=0.5)

    def forward(self, images):
        pixels = images.flatten(1)
        spikes = self.lif(
            torch.stack([pixels[:, 0] + 0.5 * pixels[:, 1], pixels.sum(1)], 1), Window(3, len(images)), False
        )
        return spikes.view(3, len(images), 2).sum(0)


IMAGES, LABELS = torch.tensor([[0.1, 0.5], [0.6, 0.3]]).view(2, 1, 1, 2), torch.tensor([1, 0])


def test_a_name_alone_has_no_named_options_and_the_defaults_of_the_attack():
    spec = parse("fgsm")
    assert (spec.name, dict(spec.options), spec.rules, spec.eps) == ("fgsm", {}, (), 8 / 255)
    assert spec.resolved() == {"eps": 8 / 255, "draws": 1, "rule": None}


def test_options_are_read_as_fractions_decimals_whole_numbers_and_truth_values():
    spec = parse("pgd:eps=0.5/255,step=1e-2,iterations=20,random_start=True")
    assert spec.options == {"eps": 0.5 / 255, "step": 0.01, "iterations": 20, "random_start": True}
    assert parse("pgd:random_start=false").options == {"random_start": False}


def test_the_text_overrides_defaults_and_an_attack_ignores_defaults_it_does_not_have():
    assert parse("pgd:eps=0.5", eps=0.1, step=0.2).options == {"eps": 0.5, "step": 0.2}
    assert parse("fgsm", eps=0.1, step=0.2, iterations=3).options == {"eps": 0.1}
    assert parse("pgd:step=0.1", relative_step=0.5).options == {"step": 0.1}
    assert parse("pgd:relative_step=0.5", step=0.1).options == {"relative_step": 0.5}


def test_an_unnamed_step_is_the_papers_share_of_eps_for_every_attack():
    assert parse("pgd").resolved()["step"] == 0.01
    for name in ("pgd", "pgd-restarts", "greedy"):
        assert parse(f"{name}:eps=2/255").resolved()["step"] == 0.0025
        assert parse(f"{name}:eps=0.2,relative_step=1/4").resolved()["step"] == 0.05


def test_at_another_bound_the_step_scales_unless_an_absolute_step_was_named():
    assert parse("pgd").at(16 / 255).resolved() == parse("pgd:eps=16/255").resolved()
    assert parse("pgd").at(16 / 255).resolved()["step"] == 0.02
    assert parse("pgd:step=0.003").at(16 / 255).resolved()["step"] == 0.003
    assert parse("pgd:relative_step=0.5").at(0.25).resolved()["step"] == 0.125


def test_a_label_shows_eps_and_iterations_and_what_differs_from_the_defaults():
    assert parse("pgd").label == "pgd:eps=8/255,iterations=7"
    assert parse("fgsm:eps=0.1").label == "fgsm:eps=0.1"
    assert parse("square").label == "square:eps=8/255,queries=1000"
    assert (
        parse("apgd:loss=dlr,rule=arctan/alpha=4").label == "apgd:eps=8/255,iterations=100,loss=dlr,rule=arctan/alpha=4"
    )
    assert parse("sa-pgd", loss="cross-entropy").label == "sa-pgd:eps=8/255,iterations=100"


def test_a_spec_is_a_value_that_can_be_a_key_of_a_dictionary():
    one, other = parse("pgd:iterations=3,eps=0.1"), parse("pgd:eps=0.1,iterations=3")
    assert one == other
    assert len({one: 1, other: 2}) == 1


OPTIONS = {
    "eps": st.floats(0, 1) | st.integers(0, 255).map(lambda level: level / 255),
    "step": st.floats(0, 1),
    "relative_step": st.floats(0, 10),
    "iterations": st.integers(0, 500),
    "restarts": st.integers(1, 20),
    "targets": st.integers(1, 9),
    "draws": st.integers(1, 100),
    "queries": st.integers(0, 5000),
    "finish": st.integers(0, 500),
    "area": st.floats(0.01, 1.0),
    "seed": st.integers(0, 2**63 - 1),
}


@st.composite
def rule_texts(draw):
    name = draw(st.sampled_from(sorted(RULES)))
    info = RULES[name]
    chosen = draw(st.lists(st.sampled_from(sorted(info.options)), unique=True)) if info.options else []
    parts = [f"{key}={draw(st.floats(0.1, 0.9))!r}" for key in chosen]
    flags = draw(st.lists(st.sampled_from(info.flags), unique=True)) if info.flags else []
    return "/".join([name, *draw(st.permutations([*parts, *flags]))])


@st.composite
def specs(draw):
    name = draw(st.sampled_from(sorted(ATTACKS)))
    info = ATTACKS[name]
    options = {}
    for key, default in info.options.items():
        if not draw(st.booleans()):
            continue
        if key in info.choices:
            options[key] = draw(st.sampled_from(sorted(info.choices[key])))
        elif isinstance(default, bool):
            options[key] = draw(st.booleans())
        else:
            options[key] = draw(OPTIONS[key])
    if "step" in info.options and "step" not in options and draw(st.booleans()):
        options["relative_step"] = draw(OPTIONS["relative_step"])
    most = {"none": 0, "one": 1, "several": 3}[info.rules]
    return name, options, tuple(draw(st.lists(rule_texts(), max_size=most)))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(specs())
def test_every_spec_is_written_as_a_text_that_reads_back_as_the_same_spec(parts):
    spec = AttackSpec(*parts)
    assert AttackSpec.parse(str(spec)) == spec
    assert AttackSpec.parse(spec.label).resolved() == spec.resolved()
    assert str(AttackSpec.parse(str(spec))) == str(spec)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(specs(), OPTIONS["eps"])
def test_at_changes_the_bound_and_nothing_else(parts, eps):
    spec = AttackSpec(*parts)
    moved = spec.at(eps)
    assert moved.eps == eps
    assert {**moved.resolved(), "eps": 0, "step": 0} == {**spec.resolved(), "eps": 0, "step": 0}


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.text(max_size=40) | st.from_regex(r"(pgd|apgd|square|noise):[a-z_]{1,10}=[0-9a-z./+-]{0,8}", fullmatch=True))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    try:
        spec = AttackSpec.parse(text)
    except UsageError:
        return
    assert AttackSpec.parse(str(spec)) == spec


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

    monkeypatch.setitem(ATTACKS, "pgd", replace(ATTACKS["pgd"], run=watched))
    spec = parse(text)
    spec(network, IMAGES, LABELS)
    assert found == [rule]
    assert network.lif.surrogate is own


def test_the_reset_flag_changes_the_gradient_that_an_attack_climbs():
    network = Neurons()
    with gradient_rule(network, Unrolled(Arctan(2), through_reset=True)):
        by_hand = pgd(network, IMAGES, LABELS, eps=0.3, step=0.1)
    assert torch.equal(parse("pgd:eps=0.3,step=0.1,rule=arctan/alpha=2/reset")(network, IMAGES, LABELS), by_hand)
    assert not torch.equal(parse("pgd:eps=0.3,step=0.1,rule=arctan/alpha=2")(network, IMAGES, LABELS), by_hand)


def test_greedy_takes_several_rules_joined_by_a_plus():
    network, options = Neurons(), {"eps": 0.3, "step": 0.05, "iterations": 3}
    spec = parse("greedy:eps=0.3,step=0.05,iterations=3,rule=arctan/alpha=4e+0/cut+bptr")
    assert (spec.options, spec.rules) == (options, ("arctan/alpha=4/cut", "bptr"))
    rules = [Unrolled(Arctan(4), cut_time=True), BPTR()]
    assert torch.equal(spec(network, IMAGES, LABELS), greedy(network, IMAGES, LABELS, rules=rules, **options))


def test_greedy_gets_exactly_the_rules_of_its_text(monkeypatch):
    seen = []

    def watched(model, images, labels, **options):
        seen.append(options)
        return images

    monkeypatch.setitem(ATTACKS, "greedy", replace(ATTACKS["greedy"], run=watched))
    parse("greedy:rule=straight-through+bptr")(Neurons(), IMAGES, LABELS)
    parse("greedy:rule=bptr")(Neurons(), IMAGES, LABELS)
    parse("greedy")(Neurons(), IMAGES, LABELS)
    assert seen == [{"rules": [StraightThrough(), BPTR()]}, {"rules": [BPTR()]}, {}]


def test_a_spec_built_by_hand_is_checked_like_a_text():
    with pytest.raises(UsageError, match="rule 'arctangent' is not known"):
        AttackSpec("pgd", rules=("arctangent",))
    with pytest.raises(UsageError, match=r"iterations is 2\.5"):
        AttackSpec("pgd", {"iterations": 2.5})
    with pytest.raises(UsageError, match="random_start is 1"):
        AttackSpec("pgd", {"random_start": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cw", "attack 'cw' is not known; choose one of fgsm, pgd"),
        ("", "attack '' is not known"),
        ("fgsm:steps=3", "fgsm has no option 'steps'; it has eps"),
        ("pgd:generator=1", "pgd has no option 'generator'; it has eps, step, relative_step, iterations"),
        ("pgd:eps=8/x", "attack 'pgd:eps=8/x': eps: '8/x' is not a number"),
        ("pgd:eps=8/0", "eps: '8/0' is not a number"),
        ("pgd:eps=nan", "eps: 'nan' does not lie"),
        ("pgd:eps=1e400", "eps: '1e400' does not lie"),
        ("pgd:eps=8", "did you mean 8/255"),
        ("pgd:eps", "eps: '' is not a number"),
        ("pgd:eps=0.1,eps=0.2", "'eps' is given twice"),
        ("pgd:step=nan", "step is 'nan'"),
        ("pgd:step=0.1,relative_step=0.2", "step and relative_step"),
        ("pgd:iterations=2.5", "iterations is '2.5'; write a whole number"),
        ("pgd:iterations=1000000000000000000", "iterations is '1000000000000000000'; it must lie in"),
        ("pgd-restarts:restarts=1000000000000000000", "restarts is '1"),
        ("square:queries=1000000000000000000", "queries is '1"),
        ("noise:draws=1000000000000000000", "draws is '1"),
        ("pgd:iterations=" + "9" * 10_000, "iterations is"),
        ("pgd:random_start=yes", "random_start is 'yes'; write true or false"),
        ("apgd:loss=dlt", "loss is 'dlt'; choose one of cross-entropy"),
        ("sa-pgd:loss=dlr-targeted", "loss is 'dlr-targeted'"),
        ("noise:kind=pink", "kind is 'pink'"),
        ("autoattack:version=custom", "version is 'custom'"),
        ("pgd:rule=arctan/k=4", "attack 'pgd:rule=arctan/k=4': rule 'arctan/k=4': arctan has no option 'k=4'"),
        ("pgd:rule=bptr/cut", "bptr has no temporal chain"),
        ("pgd:rule=", "rule '' is not known; choose one of linear"),
        ("pgd:rule=arctan+bptr", "takes one of the 2 rules .*; use greedy for several"),
        ("greedy:rule=arctan+", "rule '' is not known"),
        ("greedy:rule=arctan+tan", "rule 'tan' is not known; did you mean"),
        ("greedy:rules=arctan", "greedy has no option 'rules'; it has .*rule"),
        ("square:rule=arctan", "square has no option 'rule'; it has eps, queries, area"),
    ],
)
def test_a_text_that_does_not_parse_is_refused_with_its_cause(text, message):
    with pytest.raises(UsageError, match=message) as refused:
        parse(text)
    assert len(str(refused.value)) < 500


def test_the_table_of_attacks_has_a_summary_and_defaults_for_every_option():
    for name, info in ATTACKS.items():
        assert info.summary.endswith("."), name
        assert "eps" in info.options
        assert set(info.choices) <= set(info.options)
