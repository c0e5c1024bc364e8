"""Presets: what an audit tries, in stages of screening and attacks. A larger preset begins with the smaller ones.

A smaller preset attacks fewer images, never with fewer steps: every preset runs SA-PGD under ASSG, the strongest
published attack, with at least 100 iterations on the time-mean logits (docs/audit.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from hiresnn.attacks import AttackSpec
from hiresnn.audit.instrumented import OWN, ROUNDING
from hiresnn.audit.planned_attack import PlannedAttack
from hiresnn.audit.trace import DIRECTIONS
from hiresnn.errors import UsageError

PROTOCOL = ("fgsm", "pgd", "noise:kind=sign,draws=10")
"""Attacks that run alone on every image at every bound: the paper's two with the own gradient, and noise."""
ADAPTIVE, SHARP = "assg", "assg/vanishing=0.92"
"""ASSG at its published rate of .425 and at .46; both need neurons of hiresnn."""


class Choice(Enum):
    """The gradient rules that one step of a stage runs under, chosen from what the screening selected."""

    NONE = "an attack without a gradient"
    BEST = "the best rule"
    EACH = "each rule without statistics, one attack per rule"
    SEVERAL = "all rules without statistics in one attack, which needs two of them"
    ADAPTIVE = "ASSG if the network takes it, else the best rule"
    SHARP = "ASSG at the larger rate if the network takes it, else nothing"


@dataclass(frozen=True)
class Step:
    """One attack of a stage, without its rule.

    Attributes:
        attack: name in `hiresnn.attacks.ATTACKS`. options: its options, without eps and rule.
        rule: which rules it runs under.
        first: only the first so many images, for an expensive attack; None means all.
    """

    attack: str
    options: Mapping[str, object]
    rule: Choice = Choice.NONE
    first: int | None = None


@dataclass(frozen=True)
class Stage:
    """Screening of rules on a few images, then attacks on all images.

    Attributes:
        rules: rules to screen; those that the network cannot take are left out.
        sample: how many images to screen, the first correctly classified ones.
        iterations: steps of each PGD of the screening.
        queries: queries of Square in the screening.
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
_DLR, _MARGIN, _TARGETED = {"loss": "dlr"}, {"loss": "margin"}, {"loss": "dlr-targeted"}

_QUICK = Stage(
    rules=_FEW,
    sample=40,
    iterations=20,
    queries=200,
    most=3,
    steps=(
        Step("pgd-restarts", {"iterations": 20, "restarts": 1, **_MARGIN}, Choice.EACH),
        Step("sa-pgd", {"iterations": 100}, Choice.ADAPTIVE),
        Step("sa-pgd", {"iterations": 100, **_DLR}, Choice.ADAPTIVE),
        Step("square", {"queries": 200}),
    ),
)
_STANDARD = Stage(
    rules=_ALL,
    sample=50,
    iterations=20,
    queries=1000,
    most=6,
    steps=(
        Step("pgd-restarts", {"iterations": 30, "restarts": 1, **_MARGIN}, Choice.EACH),
        Step("sa-pgd", {"iterations": 300, "restarts": 3}, Choice.ADAPTIVE),
        Step("sa-pgd", {"iterations": 300, "restarts": 2, **_DLR}, Choice.ADAPTIVE),
        Step("apgd", {"iterations": 15, **_TARGETED}, Choice.BEST),
        Step("noise", {"kind": "uniform", "draws": 50}),
        Step("square", {"queries": 1000}, first=200),
    ),
)
_THOROUGH = Stage(
    rules=_ALL,
    sample=100,
    iterations=40,
    queries=5000,
    prune=False,
    steps=(
        Step("pgd-restarts", {"iterations": 100, "restarts": 5, **_MARGIN}, Choice.EACH),
        Step("sa-pgd", {"iterations": 300, "restarts": 5}, Choice.ADAPTIVE),
        Step("sa-pgd", {"iterations": 300, "restarts": 3, **_DLR}, Choice.ADAPTIVE),
        Step("sa-pgd", {"iterations": 300, "restarts": 3}, Choice.SHARP),
        Step("apgd", {"iterations": 100, "restarts": 5}, Choice.BEST),
        Step("apgd", {"iterations": 100, "restarts": 5, **_DLR}, Choice.BEST),
        Step("apgd", {"iterations": 100, **_TARGETED}, Choice.BEST),
        Step("apgd", {"iterations": 100, **_TARGETED}, Choice.ADAPTIVE),
        Step("greedy", {"iterations": 50}, Choice.SEVERAL),
        Step("noise", {"kind": "uniform", "draws": 1000}),
        Step("square", {"queries": 5000}),
    ),
)

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
    attacks: dict[str, PlannedAttack] = {}
    for step in stage.steps:
        for rule in _rules(step.rule, selected, takes):
            own = rule in (None, OWN, ROUNDING)
            rules = () if own else tuple(str(rule).split("+"))
            spec = AttackSpec(step.attack, _possible(step.options, classes), rules)
            attacks.setdefault(str(spec), PlannedAttack(str(spec), spec, first=step.first))
    return list(attacks.values())


def _rules(choice: Choice, selected: Sequence[str], takes: frozenset[str]) -> list[str | None]:
    # ASSG's statistics restart when an image leaves the batch, so it goes only with attacks that keep the batch.
    best, steady = selected[0], [rule for rule in selected if rule.partition("/")[0] != ADAPTIVE] or [OWN]
    several = [rule for rule in steady if rule not in (OWN, ROUNDING)]
    rules: dict[Choice, list[str | None]] = {
        Choice.NONE: [None],
        Choice.BEST: [best],
        Choice.EACH: list(steady),
        Choice.SEVERAL: ["+".join(several)] if len(several) > 1 else [],
        Choice.ADAPTIVE: [ADAPTIVE if ADAPTIVE in takes else best],
        Choice.SHARP: [SHARP] if ADAPTIVE in takes else [],
    }
    return rules[choice]


def _possible(options: Mapping[str, object], classes: int) -> Mapping[str, object]:
    needed = {"dlr": 3, "dlr-targeted": 4}.get(str(options.get("loss")), 0)
    return {**options, "loss": "margin"} if classes < needed else options
