"""Stages and configurations of an audit that takes a second."""

from collections.abc import Callable
from typing import Any

from hiresnn.audit import AuditConfig, AuditResult, Preset
from hiresnn.audit.presets import Choice, Stage, StageAttack, stage_attack

Run = Callable[..., AuditResult]


def stage(*attacks: StageAttack, rules: tuple[str, ...] = ("own",), sample: int = 4, **changes: Any) -> Stage:
    """A stage that takes a second."""
    values = {"iterations": 2, "queries": 2, "directions": 2, "noise": 2, **changes}
    return Stage(rules=rules, sample=sample, attacks=attacks, **values)


def small_config(*stages: Stage, **changes: Any) -> AuditConfig:
    """A configuration with these stages at three bounds."""
    values = {"eps": "24/255", "bounds": ("8/255", "24/255", "inf"), "batch_size": 30, **changes}
    return AuditConfig(preset=Preset("quick", 60, stages), **values)


def square(queries: int, **changes: Any) -> StageAttack:
    return stage_attack("square", queries=queries, **changes)


TINY = stage(
    stage_attack("pgd-restarts", Choice.EACH, iterations=4, restarts=1, loss="margin"),
    stage_attack("sa-pgd", Choice.ADAPTIVE, iterations=4),
    square(10),
    rules=("own", "arctan", "assg"), sample=8, iterations=4, queries=10, most=2, directions=5, noise=5,
)  # fmt: skip
ONCE = stage(square(2))
