"""Cached work of other audits saves time and does not change the result."""

from torch import Tensor

from hiresnn.audit import Record
from hiresnn.audit.presets import Choice, stage_attack
from hiresnn.network import SpikingNetwork

from .small import Run, square, stage

Shown = tuple[Tensor, Tensor]

ONE = stage(stage_attack("apgd", Choice.BEST, iterations=10), square(20))


def test_an_earlier_audit_of_more_bounds_does_not_change_the_result(
    run: Run, network: SpikingNetwork, shown: Shown
) -> None:
    kept: dict[str, Record] = {}
    run(network, *shown, kept, stages=(ONE,), bounds=("8/255", "16/255", "24/255"))
    after = run(network, *shown, kept, stages=(ONE,), bounds=("24/255",))
    fresh = run(network, *shown, stages=(ONE,), bounds=("24/255",))
    assert after.worst.level.tolist() == fresh.worst.level.tolist()


def test_an_earlier_audit_with_another_attack_does_not_change_the_result(
    run: Run, network: SpikingNetwork, shown: Shown
) -> None:
    dear, cheap = "apgd:iterations=10,loss=dlr-targeted,targets=3", "pgd-restarts:iterations=10,restarts=2,loss=margin"
    kept: dict[str, Record] = {}
    run(network, *shown, kept, bounds=(), eps="16/255", attacks=(dear, cheap))
    after = run(network, *shown, kept, bounds=(), eps="16/255", attacks=(cheap,))
    fresh = run(network, *shown, bounds=(), eps="16/255", attacks=(cheap,))
    assert after.worst.level.tolist() == fresh.worst.level.tolist()


def test_a_repeated_audit_reports_the_same_cost(run: Run, network: SpikingNetwork, shown: Shown) -> None:
    images, labels = shown[0][:20], shown[1][:20]
    kept: dict[str, Record] = {}
    one, again = (run(network, images, labels, kept, stages=(ONE,)) for _ in range(2))
    assert one.cost == again.cost
    assert one.worst.costs == again.worst.costs
