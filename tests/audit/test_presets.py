"""Presets, and one attack at any bound: larger presets continue smaller ones, and every step is an attack."""

from functools import wraps
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hiresnn.attacks import ATTACKS, AttackSpec
from hiresnn.attacks.catalog import AttackInfo
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.behaviour import OWN, ROUNDING
from hiresnn.audit.presets import CURVE, PRESETS, AuditConfig, Choice, PlannedAttack, plan_attack, planned, stage_attack
from hiresnn.calls import parse_bound as bound
from hiresnn.errors import UsageError
from hiresnn.neurons.rules import rule_from_text

from .small import stage

STAGES = PRESETS["thorough"].stages
"""All stages that there are."""
HEADLINE = bound("8/255")
IMAGES, LABELS = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4, dtype=torch.int64)


def plans(each, *selected, takes=None, classes=10):
    model: Any = SimpleNamespace(takes=(selected if takes is None else takes).__contains__, classes=classes)
    return {attack.label: attack for attack in planned(each, selected, model)}


def test_a_larger_preset_begins_with_all_stages_of_the_smaller_ones():
    for smaller, larger in pairwise(PRESETS.values()):
        assert larger.stages[: len(smaller.stages)] == smaller.stages
        assert len(smaller.stages) < len(larger.stages)
        assert smaller.images <= larger.images


@pytest.mark.parametrize("each", STAGES)
def test_every_screened_rule_is_one_and_the_own_comes_first(each):
    assert each.rules[0] == OWN  # the first of equals wins
    assert len(set(each.rules)) == len(each.rules)
    for rule in set(each.rules) - {OWN, ROUNDING}:
        rule_from_text(rule)


def starts(name, *stages):
    """(loss, rule) of each attack of that name under ASSG -> (restarts, steps), added up over attacks."""
    sums = {}
    for attack in (attack for one in stages for attack in plans(one, "own", "assg").values()):
        if attack.spec.name == name and attack.rule.partition("/")[0] == "assg":
            options = attack.spec.resolved()
            restarts, _ = sums.get((options["loss"], options["rule"]), (0, 0))
            sums[options["loss"], options["rule"]] = restarts + options["restarts"], options["iterations"]
    return sums


def test_quick_searches_under_assg_once_at_every_bound_and_from_six_random_starts_at_the_headline():
    found = starts("momentum", STAGES[0])
    assert found == {("cross-entropy", "assg/start=1"): (5, 100), ("margin", "assg"): (2, 100)}
    everywhere = [attack for attack in plans(STAGES[0], "own", "assg").values() if not attack.top]
    assert [(attack.spec.name, attack.rule) for attack in everywhere] == [
        ("momentum", "own"), ("momentum", "assg/start=1"), ("square", None),
    ]  # fmt: skip


def test_larger_presets_run_sa_pgd_under_assg_with_300_steps_on_two_losses_and_from_two_starts():
    for each, total in ((STAGES[1], 2), (STAGES[2], 5)):
        found = starts("sa-pgd", each)
        assert set(found) == {(loss, rule) for loss in ("cross-entropy", "dlr") for rule in ("assg", "assg/start=1")}
        assert min(steps for _, steps in found.values()) >= 300
        for loss in ("cross-entropy", "dlr"):
            own, published = (found[loss, rule][0] for rule in ("assg", "assg/start=1"))
            assert own + published >= total
            assert own - published in (0, 1)  # half of the restarts each


SELECTED = {
    "several": (("arctan", "own", "hart/width=0.5", "assg/cut", "bptr", "linear/width=2"), ("own", "assg"), 10),
    "own alone": (("own",), None, 10),
    "rounding first": ((ROUNDING, "own", "bptr"), None, 10),
    "assg first": (("assg", "own"), None, 10),
    "two classes": (("arctan", "assg", "pdsg"), None, 2),
    "three classes": (("arctan", "own", "bptr"), None, 3),
}


@pytest.mark.parametrize("each", STAGES, ids=list(PRESETS))
@pytest.mark.parametrize("case", SELECTED)
def test_every_step_of_a_stage_is_an_attack_that_the_network_takes(each, case):
    selected, takes, classes = SELECTED[case]
    attacks = plans(each, *selected, takes=takes, classes=classes)
    assert len(attacks) >= 3
    for attack in attacks.values():
        for rule in (attack.rule or OWN).split("+"):
            family = rule.partition("/")[0]
            assert rule in (OWN, *selected) or family in (takes or selected)


def test_each_selected_rule_has_an_attack_except_those_with_statistics():
    each = stage(stage_attack("pgd", Choice.EACH), stage_attack("apgd", Choice.BEST))
    assert list(plans(each, "arctan", "assg", "assg/cut", "bptr")) == [
        "pgd:rule=arctan", "pgd:rule=bptr", "apgd:rule=arctan",
    ]  # fmt: skip
    assert list(plans(each, "assg", takes=("own", "assg"))) == ["pgd", "apgd:rule=assg"]


def test_the_adaptive_rule_is_assg_where_the_network_takes_it_and_else_the_best():
    each = stage(stage_attack("sa-pgd", Choice.ADAPTIVE))
    assert list(plans(each, "arctan", takes=("own", "arctan", "assg"))) == ["sa-pgd:rule=assg"]
    assert list(plans(each, "arctan", takes=("own", "arctan"))) == ["sa-pgd:rule=arctan"]
    each = stage(stage_attack("sa-pgd", Choice.PUBLISHED))
    assert list(plans(each, "arctan", takes=("own", "arctan", "assg"))) == ["sa-pgd:rule=assg/start=1"]
    assert list(plans(each, "arctan", takes=("own", "arctan"))) == ["sa-pgd:rule=arctan"]


def test_greedy_choice_takes_all_selected_rules_that_can_be_swapped_in_and_needs_two():
    each = stage(stage_attack("greedy", Choice.SEVERAL, iterations=2))
    assert list(plans(each, "own", "arctan", "assg", "bptr")) == ["greedy:iterations=2,rule=arctan+bptr"]
    assert list(plans(each, "own", "arctan", "assg")) == []
    assert list(plans(each, "own", ROUNDING)) == []


def test_the_own_rule_is_not_named_and_equal_attacks_run_once():
    each = stage(stage_attack("pgd", Choice.EACH, iterations=3), stage_attack("pgd", Choice.BEST, iterations=3))
    # Every attack passes through roundings, so the two rules are one.
    assert list(plans(each, "own", ROUNDING)) == ["pgd:iterations=3"]
    assert list(plans(each, "own", "arctan")) == ["pgd:iterations=3", "pgd:iterations=3,rule=arctan"]


@pytest.mark.parametrize(
    ("classes", "dlr", "targeted"),
    [(2, "margin", "margin"), (3, "dlr", "margin"), (4, "dlr", "dlr-targeted"), (10, "dlr", "dlr-targeted")],
)
def test_a_loss_that_needs_more_classes_gives_way_to_the_margin(classes, dlr, targeted):
    each = stage(
        stage_attack("apgd", Choice.BEST, loss="dlr"),
        stage_attack("apgd", Choice.BEST, iterations=5, loss="dlr-targeted"),
    )
    assert [attack.loss for attack in plans(each, "arctan", classes=classes).values()] == [dlr, targeted]


@pytest.mark.parametrize(
    ("preset", "eps", "labels"),
    [
        ("quick", "8/255", ["0", "2/255", "4/255", "8/255", "inf"]),
        ("quick", "1/255", ["0", "0.25/255", "0.5/255", "1/255", "inf"]),
        ("quick", "inf", [*CURVE]),
        ("standard", "8/255", [*CURVE]),
        ("thorough", "32/255", ["0", *CURVE[1:7], "32/255", *CURVE[7:]]),
    ],
)
def test_the_default_bounds_are_those_of_the_preset(preset, eps, labels):
    assert [bound.label for bound in AuditConfig(preset, eps).curve] == labels
    assert {bound.label for bound in AuditConfig(preset, eps, ("3/255",)).curve} == {"0", "3/255", eps}


def test_a_curve_begins_at_zero_and_holds_the_headline_and_each_bound_once():
    found = AuditConfig(eps=8 / 255, bounds=("16/255", "2/255", "2.0/255", "inf", "1")).curve
    assert [each.label for each in found] == ["0", "2/255", "8/255", "16/255", "inf"]
    assert AuditConfig(bounds=()).curve == (bound("0"), bound("8/255"))
    assert AuditConfig(bounds=CURVE).curve == tuple(map(bound, CURVE))
    with pytest.raises(UsageError, match="eps is 0"):
        AuditConfig(eps=0)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0.031372549", ["0", "0.03", "8/255"]),  # 8/255 to nine digits
        ("0.0300000001", ["0", "0.03", "8/255"]),  # another radius than 0.03, of the same name
    ],
)
def test_a_headline_within_rounding_of_another_bound_stands_in_its_place(text, labels):
    found = AuditConfig(eps=text, bounds=("8/255", "0.03")).curve
    assert bound(text) in found
    assert [each.label for each in found] == labels


def flat(images):
    return images.flatten(1)


Calls = list[tuple[Any, dict[str, Any]]]


@pytest.fixture
def calls(monkeypatch):
    """(model, options) of every call of pgd, which does not run."""
    seen: Calls = []

    @wraps(ATTACKS["pgd"].run)  # with its signature, which says the options
    def watched(model, images, labels, **options):
        model(images)
        seen.append((model, options))
        return images

    monkeypatch.setitem(ATTACKS, "pgd", AttackInfo(watched, "one"))
    return seen


def plan(text, defaults=None):
    return plan_attack(text, HEADLINE, defaults)


def run(attack, *bounds):
    model = InstrumentedModel(flat, IMAGES)
    for each in bounds:
        attack.at(bound(each))(model, IMAGES, LABELS)


def test_a_step_is_that_at_the_headline_bound_and_scales_with_the_bound(calls):
    run(plan("pgd:step=2/255,iterations=3"), "4/255", "8/255", "inf")
    run(plan("pgd:relative_step=0.5"), "8/255")
    assert [options["eps"] for _, options in calls] == pytest.approx([4 / 255, 8 / 255, 1.0, 8 / 255])
    assert [options["step"] for _, options in calls] == pytest.approx([1 / 255, 2 / 255, 0.25, 4 / 255])
    assert [options["iterations"] for _, options in calls] == [3, 3, 3, 7]


def test_the_papers_options_fill_what_the_text_leaves_out(calls):
    paper = {"step": 0.01, "iterations": 5, "random_start": True, "queries": 3}
    run(plan("pgd:iterations=2", paper), "8/255", "16/255")
    assert [options["step"] for _, options in calls] == pytest.approx([0.01, 0.02])
    assert {(options["iterations"], options["random_start"]) for _, options in calls} == {(2, True)}
    assert plan("fgsm", paper).spec.options == {}  # fgsm has none of them


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd:eps=8/255", r"attack 'pgd:eps=8/255' names eps, .* name --bounds"),
        ("ddos", "attack 'ddos' is not known; choose one of"),
        ("pgd:speed=3", "has no option 'speed'"),
        ("pgd:rule=magic", "magic"),
    ],
)
def test_a_text_with_a_bound_or_an_unknown_word_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        plan(text)


@pytest.mark.parametrize(
    ("text", "rule", "loss"),
    [
        ("fgsm", "own", "cross-entropy"),
        ("pgd", "own", "cross-entropy"),
        ("pgd:iterations=20,rule=arctan/alpha=4", "arctan/alpha=4", "cross-entropy"),
        ("pgd-restarts:iterations=20,restarts=3,loss=margin", "own", "margin"),
        ("pgd-restarts", "own", "cross-entropy"),
        ("apgd:iterations=50,loss=dlr,rule=assg", "assg", "dlr"),
        ("apgd:iterations=15,loss=dlr-targeted", "own", "dlr-targeted"),  # nine targets
        ("apgd:iterations=15,loss=dlr-targeted,targets=3", "own", "dlr-targeted"),
        ("sa-pgd:iterations=200,restarts=3", "own", "cross-entropy"),
        ("greedy:iterations=10,rule=arctan+bptr", "arctan+bptr", "margin"),
        ("square:queries=300", None, None),
        ("noise:draws=9", None, None),
    ],
)
def test_an_attack_has_a_rule_and_a_loss(text, rule, loss):
    attack = plan(text)
    assert (attack.label, attack.rule, attack.loss) == (text, rule, loss)
    assert attack.follows_gradient == (rule is not None)
    assert (attack.twin, attack.plain, attack.first) == (None, False, None)


def test_an_option_finish_of_a_users_attack_is_its_own(monkeypatch):
    def darker(model, images, labels, *, eps=0.1, finish=0):
        return (images - finish * eps).clamp(0, 1)

    monkeypatch.setitem(ATTACKS, "mine", AttackInfo(darker, "one"))
    attack = plan("mine:finish=1")
    model = InstrumentedModel(flat, IMAGES)
    adversarial = attack.at(bound("8/255"))(model, IMAGES, torch.zeros(len(IMAGES), dtype=torch.long))
    monkeypatch.setitem(ATTACKS, "mine", AttackInfo(darker, "none"))
    assert not plan("mine").follows_gradient
    assert (attack.queries, bool((adversarial != IMAGES).any())) == (0, True)


def test_a_transfer_is_made_on_the_twin_and_counted_for_the_network(calls):
    model, twin = InstrumentedModel(flat, IMAGES), InstrumentedModel(lambda images: -images.flatten(1), IMAGES)
    attack = PlannedAttack("transfer from other", AttackSpec.parse("pgd"), twin=twin)
    assert (attack.rule, attack.follows_gradient) == (None, False)
    with model.measured(0) as cost:
        attack.at(HEADLINE)(model, IMAGES, LABELS)
    assert calls[0][0] is twin
    assert cost.forward == len(IMAGES)
