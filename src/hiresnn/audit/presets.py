"""Presets: what an audit tries, in stages of screening and attacks. A larger preset begins with the smaller ones.

A smaller preset attacks fewer images, never with fewer steps: every preset runs SA-PGD under ASSG, the strongest
published attack, with at least 100 iterations on the time-mean logits (docs/audit.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from hiresnn.attacks import AttackSpec
from hiresnn.audit.instrumented import OWN, ROUNDING
from hiresnn.audit.planned_attack import PlannedAttack
from hiresnn.audit.trace import DIRECTIONS
from hiresnn.errors import UsageError

PROTOCOL = ("fgsm", "pgd", "noise:kind=sign,draws=10")
"""Attacks that run alone on every image at every bound: the paper's two with the own gradient, and noise."""
ADAPTIVE = "assg"
"""ASSG at its published rate of .425; it needs neurons of hiresnn."""


class Choice(Enum):
    """Which rules an attack runs under, chosen from those that the screening selected."""

    NONE = "no gradient"
    BEST = "the best rule"
    EACH = "each rule without statistics in turn"
    SEVERAL = "all rules without statistics in one attack"
    ADAPTIVE = "ASSG if the network takes it, else the best rule"


class Step(NamedTuple):
    """An attack without its rule, what rules it runs under, and on how many images; None means all."""

    spec: AttackSpec
    rule: Choice = Choice.NONE
    first: int | None = None


@dataclass(frozen=True)
class Stage:
    """Screening of rules on a few images, then attacks on all images.

    Attributes:
        rules: rules to screen; those that the network cannot take are left out.
        sample: how many images to screen, the first correctly classified ones.
        iterations, queries: steps of each PGD and queries of Square in the screening.
        steps: attacks on all images, cheap ones first.
        most: how many rules to select at most; None selects all that win an image.
        prune: whether rules that win no screened image are dropped.
        directions, noise: random directions and noise draws of the screening.
    """

    rules: tuple[str, ...]
    sample: int
    iterations: int
    queries: int
    steps: tuple[Step, ...]
    most: int | None = None
    prune: bool = True
    directions: int = DIRECTIONS
    noise: int = 100


@dataclass(frozen=True)
class Preset:
    """A name, the default number of images, and the stages."""

    name: str
    images: int
    stages: tuple[Stage, ...]


_FEW = (OWN, ROUNDING, "arctan", "straight-through", "bptr", "conversion", ADAPTIVE)
_ALL = (
    *_FEW,
    *("linear/width=0.5", "linear/width=2", "arctan/reset", "arctan/cut", "sigmoid", "exponential", "rectangular"),
    *("erfc", "rga", "hart/width=0.5", "hart/width=1", "hart/width=2.5", "assg/cut", "pdsg"),
)


def step(name: str, rule: Choice = Choice.NONE, first: int | None = None, **options: object) -> Step:
    """A step from the name and the options of an attack."""
    return Step(AttackSpec(name, options), rule, first)


_QUICK = Stage(
    rules=_FEW, sample=40, iterations=20, queries=200, most=3,
    steps=(
        step("pgd-restarts", Choice.EACH, iterations=20, restarts=1, loss="margin"),
        step("sa-pgd", Choice.ADAPTIVE, iterations=100),
        step("sa-pgd", Choice.ADAPTIVE, iterations=100, loss="dlr", finish=100),
        step("apgd", Choice.BEST, iterations=15, loss="dlr-targeted", targets=3),
        step("square", queries=200),
    ),
)  # fmt: skip
_STANDARD = Stage(
    rules=_ALL, sample=50, iterations=20, queries=1000, most=6,
    steps=(
        step("pgd-restarts", Choice.EACH, iterations=30, restarts=1, loss="margin"),
        step("sa-pgd", Choice.ADAPTIVE, iterations=300, restarts=3),
        step("sa-pgd", Choice.ADAPTIVE, iterations=300, restarts=2, loss="dlr", finish=200),
        step("apgd", Choice.BEST, iterations=15, loss="dlr-targeted"),
        step("noise", kind="uniform", draws=50),
        step("square", first=200, queries=1000),
    ),
)  # fmt: skip
_THOROUGH = Stage(
    rules=_ALL, sample=100, iterations=40, queries=5000, prune=False,
    steps=(
        step("pgd-restarts", Choice.EACH, iterations=100, restarts=5, loss="margin"),
        step("sa-pgd", Choice.ADAPTIVE, iterations=300, restarts=5),
        step("sa-pgd", Choice.ADAPTIVE, iterations=300, restarts=5, loss="dlr", finish=300),
        step("apgd", Choice.BEST, iterations=100, restarts=5),
        step("apgd", Choice.BEST, iterations=100, restarts=5, loss="dlr"),
        step("apgd", Choice.BEST, iterations=100, loss="dlr-targeted"),
        step("apgd", Choice.ADAPTIVE, iterations=100, loss="dlr-targeted"),
        step("greedy", Choice.SEVERAL, iterations=50),
        step("noise", kind="uniform", draws=1000),
        step("square", queries=5000),
    ),
)  # fmt: skip

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("quick", 200, (_QUICK,)),
        Preset("standard", 1000, (_QUICK, _STANDARD)),
        Preset("thorough", 1000, (_QUICK, _STANDARD, _THOROUGH)),
    )
}


def preset_named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is no such preset.
    """
    if name not in PRESETS:
        raise UsageError(f"preset is {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def planned(stage: Stage, selected: Sequence[str], takes: frozenset[str], classes: int) -> list[PlannedAttack]:
    """The attacks of a stage, each once.

    Args:
        selected: rules in the order of their success in the screening.
        takes: the screened rules that the network takes.
        classes: K; a loss that needs more classes gives way to the margin loss.
    """
    # ASSG's statistics restart when an image leaves the batch, so it goes only with attacks that keep the batch.
    best, steady = selected[0], [rule for rule in selected if rule.partition("/")[0] != ADAPTIVE] or [OWN]
    several = [rule for rule in steady if rule not in (OWN, ROUNDING)]
    choices: dict[Choice, list[tuple[str, ...]]] = {
        Choice.NONE: [()],
        Choice.BEST: [(best,)],
        Choice.EACH: [(rule,) for rule in steady],
        Choice.SEVERAL: [tuple(several)] if len(several) > 1 else [],
        Choice.ADAPTIVE: [(ADAPTIVE if ADAPTIVE in takes else best,)],
    }
    attacks: dict[str, PlannedAttack] = {}
    for each in stage.steps:
        options = dict(each.spec.options)
        if classes < {"dlr": 3, "dlr-targeted": 4}.get(str(options.get("loss")), 0):
            options["loss"] = "margin"
        for rules in choices[each.rule]:
            named = tuple(rule for rule in rules if rule not in (OWN, ROUNDING))
            spec = AttackSpec(each.spec.name, options, named)
            attacks.setdefault(str(spec), PlannedAttack(str(spec), spec, first=each.first))
    return list(attacks.values())
