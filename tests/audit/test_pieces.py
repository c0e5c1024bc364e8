"""Pieces of other audits, kept in the same place: they save work and change nothing that is found."""

from collections.abc import Callable

from torch import Tensor

from hiresnn.audit import Findings, Record
from hiresnn.audit.presets import Wave
from hiresnn.network import SpikingNetwork

Run = Callable[..., Findings]
Shown = tuple[Tensor, Tensor]

ONE = Wave(rules=("own",), sample=4, iterations=2, queries=2, attacks=("apgd:iterations=10", "square:queries=20"))


def test_an_audit_of_more_bounds_before_does_not_change_what_stands(
    audit: Run, network: SpikingNetwork, shown: Shown
) -> None:
    kept: dict[str, Record] = {}
    audit(network, *shown, kept, waves=(ONE,), bounds=("8/255", "16/255", "24/255"))
    after = audit(network, *shown, kept, waves=(ONE,), bounds=("24/255",))
    fresh = audit(network, *shown, waves=(ONE,), bounds=("24/255",))
    assert after.ledger.level.tolist() == fresh.ledger.level.tolist()


def test_an_audit_with_another_attack_before_does_not_change_what_stands(
    audit: Run, network: SpikingNetwork, shown: Shown
) -> None:
    dear, cheap = "apgd:iterations=20,loss=dlr-targeted", "pgd-restarts:iterations=20,restarts=3,loss=margin"
    kept: dict[str, Record] = {}
    audit(network, *shown, kept, bounds=(), headline="16/255", extra=(dear, cheap))
    after = audit(network, *shown, kept, bounds=(), headline="16/255", extra=(cheap,))
    fresh = audit(network, *shown, bounds=(), headline="16/255", extra=(cheap,))
    assert after.ledger.level.tolist() == fresh.ledger.level.tolist()


def test_run_again_the_budget_is_the_same_to_the_second(audit: Run, network: SpikingNetwork, shown: Shown) -> None:
    images, labels = shown[0][:20], shown[1][:20]
    kept: dict[str, Record] = {}
    one, again = (audit(network, images, labels, kept, waves=(ONE,)) for _ in range(2))
    assert one.spent == again.spent
    assert one.ledger.entries == again.ledger.entries
