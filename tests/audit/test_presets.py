"""Presets: larger ones continue smaller ones, and every step of every stage is an attack for any network."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from hiresnn.audit.behaviour import OWN, ROUNDING
from hiresnn.audit.bounds import CURVE, parse_bound
from hiresnn.audit.presets import (
    PRESETS,
    PROTOCOL,
    AuditConfig,
    Choice,
    PlannedAttack,
    Stage,
    plan_attack,
    planned,
    stage_attack,
)
from hiresnn.neurons.rules import rule_from_text

from .small import stage

STAGES = PRESETS["thorough"].stages
"""All stages that there are."""


def plans(
    each: Stage, *selected: str, takes: tuple[str, ...] | None = None, classes: int = 10
) -> dict[str, PlannedAttack]:
    model: Any = SimpleNamespace(takes=(selected if takes is None else takes).__contains__, classes=classes)
    return {attack.label: attack for attack in planned(each, selected, model)}


def test_a_larger_preset_begins_with_all_stages_of_the_smaller_ones() -> None:
    for smaller, larger in pairwise(PRESETS.values()):
        assert larger.stages[: len(smaller.stages)] == smaller.stages
        assert len(smaller.stages) < len(larger.stages)
        assert smaller.images <= larger.images


@pytest.mark.parametrize("each", STAGES)
def test_every_screened_rule_is_one_and_the_own_comes_first(each: Stage) -> None:
    assert each.rules[0] == OWN  # the first of equals wins
    assert len(set(each.rules)) == len(each.rules)
    for rule in set(each.rules) - {OWN, ROUNDING}:
        rule_from_text(rule)


def test_a_later_stage_tries_no_less_than_an_earlier_one() -> None:
    for earlier, later in pairwise(STAGES):
        assert set(earlier.rules) <= set(later.rules)
        for name in ("sample", "iterations", "queries", "directions", "noise"):
            assert getattr(earlier, name) <= getattr(later, name), name


def starts(*stages: Stage) -> dict[tuple[str, str | None], tuple[int, int]]:
    """(loss, rule) of each SA-PGD -> (restarts, steps)."""
    specs = [each.spec for one in stages for each in plans(one, "own", "assg").values() if each.spec.name == "sa-pgd"]
    found = [spec.resolved() for spec in specs]
    return {(each["loss"], each["rule"]): (each["restarts"], each["iterations"]) for each in found}


def test_every_preset_runs_sa_pgd_under_assg_with_100_steps_or_more_on_two_losses_and_from_two_starts() -> None:
    assert starts(STAGES[0]) == {("cross-entropy", "assg/start=1"): (1, 100), ("dlr", "assg"): (1, 100)}
    for each, total in ((STAGES[1], 2), (STAGES[2], 5)):
        found = starts(each)
        assert set(found) == {(loss, rule) for loss in ("cross-entropy", "dlr") for rule in ("assg", "assg/start=1")}
        assert min(steps for _, steps in found.values()) >= 300
        for loss in ("cross-entropy", "dlr"):
            own, published = (found[loss, rule][0] for rule in ("assg", "assg/start=1"))
            assert own + published >= total
            assert own - published in (0, 1)  # half of the restarts each


@pytest.mark.parametrize("text", PROTOCOL)
def test_the_protocol_runs_under_no_other_rule(text: str) -> None:
    assert plan_attack(text, parse_bound("8/255")).rule in (OWN, None)


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
def test_every_step_of_a_stage_is_an_attack_that_the_network_takes(each: Stage, case: str) -> None:
    selected, takes, classes = SELECTED[case]
    attacks = plans(each, *selected, takes=takes, classes=classes)
    assert len(attacks) >= 3
    for attack in attacks.values():
        for rule in (attack.rule or OWN).split("+"):
            family = rule.partition("/")[0]
            assert rule in (OWN, *selected) or family in (takes or selected)


def test_each_selected_rule_has_an_attack_except_those_with_statistics() -> None:
    each = stage(stage_attack("pgd", Choice.EACH), stage_attack("apgd", Choice.BEST))
    assert list(plans(each, "arctan", "assg", "assg/cut", "bptr")) == [
        "pgd:rule=arctan", "pgd:rule=bptr", "apgd:rule=arctan",
    ]  # fmt: skip
    assert list(plans(each, "assg", takes=("own", "assg"))) == ["pgd", "apgd:rule=assg"]


def test_the_adaptive_rule_is_assg_where_the_network_takes_it_and_else_the_best() -> None:
    each = stage(stage_attack("sa-pgd", Choice.ADAPTIVE))
    assert list(plans(each, "arctan", takes=("own", "arctan", "assg"))) == ["sa-pgd:rule=assg"]
    assert list(plans(each, "arctan", takes=("own", "arctan"))) == ["sa-pgd:rule=arctan"]
    each = stage(stage_attack("sa-pgd", Choice.PUBLISHED))
    assert list(plans(each, "arctan", takes=("own", "arctan", "assg"))) == ["sa-pgd:rule=assg/start=1"]
    assert list(plans(each, "arctan", takes=("own", "arctan"))) == ["sa-pgd:rule=arctan"]


def test_greedy_choice_takes_all_selected_rules_that_can_be_swapped_in_and_needs_two() -> None:
    each = stage(stage_attack("greedy", Choice.SEVERAL, iterations=2))
    assert list(plans(each, "own", "arctan", "assg", "bptr")) == ["greedy:iterations=2,rule=arctan+bptr"]
    assert list(plans(each, "own", "arctan", "assg")) == []
    assert list(plans(each, "own", ROUNDING)) == []


def test_the_own_rule_is_not_named_and_equal_attacks_run_once() -> None:
    each = stage(stage_attack("pgd", Choice.EACH, iterations=3), stage_attack("pgd", Choice.BEST, iterations=3))
    # Every attack passes through roundings, so the two rules are one.
    assert list(plans(each, "own", ROUNDING)) == ["pgd:iterations=3"]
    assert list(plans(each, "own", "arctan")) == ["pgd:iterations=3", "pgd:iterations=3,rule=arctan"]


@pytest.mark.parametrize(
    ("classes", "dlr", "targeted"),
    [(2, "margin", "margin"), (3, "dlr", "margin"), (4, "dlr", "dlr-targeted"), (10, "dlr", "dlr-targeted")],
)
def test_a_loss_that_needs_more_classes_gives_way_to_the_margin(classes: int, dlr: str, targeted: str) -> None:
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
def test_the_default_bounds_are_those_of_the_preset(preset: str, eps: str, labels: list[str]) -> None:
    assert [bound.label for bound in AuditConfig(preset, eps).curve] == labels
    assert {bound.label for bound in AuditConfig(preset, eps, ("3/255",)).curve} == {"0", "3/255", eps}
