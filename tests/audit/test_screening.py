"""Screening: the attacks on a rule, the selection of rules, and the bound at which they are compared."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hiresnn.attacks import fgsm, pgd
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.bounds import curve
from hiresnn.audit.bounds import parse_bound as bound
from hiresnn.audit.rules import RuleScreening, screen_rule, screening_bound, select_rules, trace_pgd
from hiresnn.network import SpikingNetwork


def scouted(rule: str, reached: list[float], **changes: Any) -> RuleScreening:
    none, nothing = np.zeros(len(reached), bool), np.zeros(len(reached))
    values = dict.fromkeys(("fgsm", "entropy", "margin", "wider", "unbounded", "zero", "silent", "rising"), none)
    return RuleScreening(
        rule, **{**values, "reached": np.asarray(reached), "zero_pixels": nothing, "unstable": nothing, **changes}
    )


def test_rules_are_selected_by_how_many_images_they_win() -> None:
    rules = [
        scouted("a", [0.0, 0.0, 0.0, 0.0, 9.0, 0.0]),
        scouted("b", [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        scouted("c", [0.5, 0.5, 0.5, 2.0, 1.0, 1.0]),
        scouted("d", [0.9, 0.9, 0.9, 1.9, 0.9, 0.9]),
    ]
    # b wins three, c two, a one, d none
    assert select_rules(rules, None, True) == (["b", "c", "a"], ["d"])
    assert select_rules(rules, 2, True) == (["b", "c"], ["a", "d"])
    assert select_rules(rules, 1, True) == (["b"], ["c", "a", "d"])
    assert select_rules(rules, 9, True) == (["b", "c", "a"], ["d"])


def test_the_first_of_equals_wins() -> None:
    rules = [scouted("own", [1.0, 2.0]), scouted("same", [1.0, 2.0]), scouted("third", [0.0, 2.5])]
    assert select_rules(rules, None, True) == (["own", "third"], ["same"])
    tied = [scouted("a", [1.0, 0.0]), scouted("b", [0.0, 1.0])]
    assert select_rules(tied, 1, True) == (["a"], ["b"])


def test_without_pruning_all_rules_are_selected_in_order_of_success() -> None:
    rules = [scouted("a", [0.0, 0.0]), scouted("b", [1.0, 0.0]), scouted("c", [0.0, 0.0])]
    assert select_rules(rules, 1, False) == (["a", "b", "c"], [])  # a and b win one each, the first of them first
    assert select_rules(rules[1:], None, False) == (["b", "c"], [])


def test_at_least_one_rule_is_selected() -> None:
    assert select_rules([scouted("own", [-3.0])], 3, True) == (["own"], [])
    assert select_rules([scouted("own", []), scouted("b", [])], 3, True)[0] == ["own"]


BOUNDS = curve(("2/255", "4/255", "8/255", "16/255", "inf"), bound("8/255"))


def where(*standing: int, headline: str = "8/255", sample: int = 40) -> str:
    """Standing at 2, 4, 8 and 16/255 and without a bound."""
    counts = dict(zip(BOUNDS, (sample, *standing), strict=True))
    return screening_bound(BOUNDS, counts, sample, bound(headline)).label


def test_rules_are_compared_where_about_half_of_the_sample_stands() -> None:
    assert where(39, 22, 3, 0, 0) == "4/255"
    assert where(24, 15, 3, 0, 0) == "2/255"
    assert where(39, 30, 19, 0, 0) == "8/255"


def test_rules_are_compared_at_most_at_the_headline_and_never_at_zero() -> None:
    assert where(40, 40, 40, 20, 0) == "8/255"
    assert where(40, 40, 40, 20, 0, headline="16/255") == "16/255"
    assert where(0, 0, 0, 0, 0) == "8/255"


def test_of_equally_close_bounds_the_largest_is_taken() -> None:
    assert where(40, 40, 40, 40, 40) == "8/255"  # a network that hides its gradients
    assert where(25, 15, 0, 0, 0) == "4/255"


@pytest.fixture(scope="module")
def record(network: SpikingNetwork, shown: tuple[Tensor, Tensor]) -> dict[str, Any]:
    audited = InstrumentedModel(network, shown[0][:4])
    torch.manual_seed(0)
    return dict(screen_rule(audited, "arctan", shown[0][:20], shown[1][:20], bound("8/255"), 6))


def test_a_record_is_read_back_under_its_rule(record: dict[str, Any]) -> None:
    found = RuleScreening.read("arctan", {**record, "forward": np.asarray(3)})  # what it cost stands beside it
    assert found.rule == "arctan"
    assert found.reached is record["reached"]
    assert {len(values) for values in record.values()} == {20}
    assert set(record) == set(RuleScreening.__annotations__) - {"rule"}
    assert (found.broken == (record["entropy"] | record["margin"])).all()


def test_a_rule_is_screened_with_the_documented_attacks(
    network: SpikingNetwork, shown: tuple[Tensor, Tensor], record: dict[str, Any]
) -> None:
    images, labels, eps = shown[0][:20], shown[1][:20], 8 / 255
    audited = InstrumentedModel(network, images[:4])
    with audited.under("arctan"):
        single = fgsm(audited, images, labels, eps=eps)
        last = pgd(audited, images, labels, eps=eps, step=eps / 4, iterations=6)
    with torch.no_grad():
        assert record["fgsm"].tolist() == (network(single).argmax(1) != labels).tolist()
        last_wrong = (network(last).argmax(1) != labels).numpy()
    # What the last iterate of PGD with the same steps breaks, the climb has broken at some iterate.
    assert (record["entropy"] | ~last_wrong).all()
    assert (record["silent"] == (record["entropy"] & ~last_wrong)).all()
    assert ((record["reached"] > 0) == (record["entropy"] | record["margin"])).all()
    # As many steps of the margin at four times the bound, half as many at none.
    for name, radius, iterations in (("wider", 4 * eps, 6), ("unbounded", 1.0, 3)):
        with audited.under("arctan"):
            further = trace_pgd(audited, images, labels, eps=radius, iterations=iterations, loss="margin")
        assert (record[name] == further.broken.numpy()).all()
    assert record["fgsm"].sum() < record["wider"].sum() < record["unbounded"].sum()


def test_the_network_keeps_its_own_rule(network: SpikingNetwork, shown: tuple[Tensor, Tensor]) -> None:
    before = [lif.surrogate for lif in network.neurons.values()]
    audited = InstrumentedModel(network, shown[0][:4])
    with audited.measured(0) as cost:
        screen_rule(audited, "assg", shown[0][:3], shown[1][:3], bound("8/255"), 4)
    assert [lif.surrogate for lif in network.neurons.values()] == before
    # FGSM 1 and its check 1; three climbs of 5 looks, one of 3; the loss at one point and in 100 directions
    assert cost.backward == 3 * (1 + 3 * 5 + 3)
    assert cost.forward == cost.backward + 3 * (1 + 101)
