"""Presets: larger ones continue smaller ones, and every text of every wave is an attack for any network."""

from itertools import pairwise

import pytest

from hiresnn.attacks import parse
from hiresnn.audit.presets import IMAGES, PRESETS, PROTOCOL, Kept, Wave, attacks, waves
from hiresnn.audit.subject import OWN, ROUNDING
from hiresnn.audit.trial import trial
from hiresnn.errors import UsageError
from hiresnn.neurons.rules import rule_from_text

WAVES = PRESETS["thorough"]
"""All waves that there are."""


def kept(*rules: str, takes: tuple[str, ...] | None = None, classes: int = 10) -> Kept:
    return Kept(rules, frozenset(rules if takes is None else takes), classes)


def wave(*texts: str) -> Wave:
    return Wave(rules=(OWN,), sample=1, iterations=1, queries=1, attacks=texts)


def test_a_larger_preset_begins_with_all_waves_of_the_smaller_ones() -> None:
    for smaller, larger in pairwise(("quick", "standard", "thorough")):
        few, many = waves(smaller), waves(larger)
        assert len(few) < len(many)
        assert many[: len(few)] == few
        assert IMAGES[smaller] <= IMAGES[larger]


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(UsageError, match="preset is 'fast'; choose one of quick, standard, thorough"):
        waves("fast")


@pytest.mark.parametrize("each", WAVES)
def test_every_scouted_rule_is_one_and_the_own_comes_first(each: Wave) -> None:
    assert each.rules[0] == OWN  # the first of equals wins
    assert len(set(each.rules)) == len(each.rules)
    for rule in set(each.rules) - {OWN, ROUNDING}:
        rule_from_text(rule)


def test_a_later_wave_tries_no_less_than_an_earlier_one() -> None:
    for earlier, later in pairwise(WAVES):
        assert set(earlier.rules) <= set(later.rules)
        assert earlier.sample <= later.sample
        assert earlier.iterations <= later.iterations
        assert earlier.queries <= later.queries


@pytest.mark.parametrize("text", PROTOCOL)
def test_the_protocol_is_without_a_rule(text: str) -> None:
    assert trial(text).rule in (OWN, None)


KEPT = {
    "several": kept("arctan", "own", "hart/width=0.5", "assg/cut", "bptr", "linear/width=2", takes=("own", "assg")),
    "own alone": kept("own"),
    "rounding first": kept(ROUNDING, "own", "bptr"),
    "assg first": kept("assg", "own"),
    "two classes": kept("arctan", "assg", "pdsg", classes=2),
    "three classes": kept("arctan", "own", "bptr", classes=3),
}


@pytest.mark.parametrize("each", WAVES, ids=list(PRESETS))
@pytest.mark.parametrize("left", KEPT)
def test_every_text_of_a_wave_is_an_attack_that_the_network_takes(each: Wave, left: str) -> None:
    texts = attacks(each, KEPT[left])
    assert len(set(texts)) == len(texts)
    assert len(texts) >= 3
    for text in texts:
        made = trial(text)
        assert "{" not in text
        for rule in (made.rule or OWN).split("+"):
            assert rule == OWN or rule in KEPT[left].rules or rule in KEPT[left].takes


@pytest.mark.parametrize("each", WAVES, ids=list(PRESETS))
def test_what_is_limited_to_the_first_images_is_an_attack_of_the_wave(each: Wave) -> None:
    assert {text for text, _ in each.first} <= set(attacks(each, KEPT["several"]))


def test_each_kept_rule_has_an_attack_of_its_own_but_for_those_with_statistics() -> None:
    each = wave("pgd:rule={each}", "apgd:rule={best}")
    assert attacks(each, kept("arctan", "assg", "assg/cut", "bptr")) == [
        "pgd:rule=arctan", "pgd:rule=bptr", "apgd:rule=arctan",
    ]  # fmt: skip


def test_where_those_with_statistics_alone_are_kept_the_own_rule_takes_their_place() -> None:
    each = wave(
        "pgd:iterations=3,rule={each}", "pgd:iterations=4,rule={steady}", "apgd:iterations=5,rule={best}",
        "greedy:iterations=6,rule={kept}",
    )  # fmt: skip
    assert attacks(each, kept("assg", takes=("own", "assg"))) == [
        "pgd:iterations=3", "pgd:iterations=4", "apgd:iterations=5,rule=assg",
    ]  # fmt: skip


def test_the_steady_rule_is_the_best_without_statistics() -> None:
    each = wave("pgd:rule={steady}")
    assert attacks(each, kept("assg", "bptr", "arctan")) == ["pgd:rule=bptr"]


def test_the_adaptive_rule_is_assg_where_the_network_takes_it_and_else_the_best() -> None:
    each = wave("sa-pgd:rule={adaptive}")
    assert attacks(each, kept("arctan", takes=("own", "arctan", "assg"))) == ["sa-pgd:rule=assg"]
    assert attacks(each, kept("arctan", takes=("own", "arctan"))) == ["sa-pgd:rule=arctan"]


def test_greedy_choice_takes_all_kept_rules_that_can_be_swapped_in_and_needs_two() -> None:
    each = wave("greedy:iterations=2,rule={kept}")
    assert attacks(each, kept("own", "arctan", "assg", "bptr")) == ["greedy:iterations=2,rule=arctan+bptr"]
    assert attacks(each, kept("own", "arctan", "assg")) == []
    assert attacks(each, kept("own", ROUNDING)) == []


def test_the_own_rule_is_unnamed_and_what_becomes_the_same_is_run_once() -> None:
    each = wave("pgd:iterations=3,rule={each}", "pgd:iterations=3,rule={best}")
    # An attack goes through roundings by itself, so the two differ in nothing.
    assert attacks(each, kept("own", ROUNDING)) == ["pgd:iterations=3"]
    assert attacks(each, kept("own", "arctan")) == ["pgd:iterations=3", "pgd:iterations=3,rule=arctan"]


@pytest.mark.parametrize(
    ("classes", "dlr", "targeted"),
    [(2, "margin", "margin"), (3, "dlr", "margin"), (4, "dlr", "dlr-targeted"), (10, "dlr", "dlr-targeted")],
)
def test_a_loss_that_needs_more_classes_gives_way_to_the_margin(classes: int, dlr: str, targeted: str) -> None:
    each = wave("apgd:loss=dlr,rule={best}", "apgd:iterations=5,loss=dlr-targeted,rule={best}")
    assert [parse(text).options["loss"] for text in attacks(each, kept("arctan", classes=classes))] == [dlr, targeted]
