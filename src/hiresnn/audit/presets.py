"""The settings of an audit, and its presets: stages of screening and attacks, the larger one after the smaller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal, NamedTuple, cast

from torch import Tensor

from hiresnn.attacks import Attack, AttackSpec, Model, WorstCandidates
from hiresnn.attacks.ball import Ball
from hiresnn.attacks.catalog import BUILT_IN, attack_info
from hiresnn.attacks.search import finish_by_square
from hiresnn.audit.behaviour import OWN, ROUNDING, InstrumentedModel
from hiresnn.calls import CLEAN, UNBOUNDED, Bound, bound_at, parse_bound, read_call
from hiresnn.errors import UsageError, closest


@dataclass(frozen=True)
class PlannedAttack:
    """An attack without a bound: its step scales with the bound, and gradients pass through roundings."""

    label: str
    spec: AttackSpec  # a step is a share of the bound
    twin: InstrumentedModel | None = None  # the network on which the images are made, if not the audited one
    plain: bool = False  # whether the network's own gradient is used exactly as it is, with its roundings
    first: int | None = None  # only the first so many images; None means all
    top: bool = False  # only at the bound of the headline

    def at(self, bound: Bound, finish: Tensor | None = None) -> Attack:
        """The attack at that bound without the search that finishes it, or that search from the images `finish`."""
        options = {name: value for name, value in self.spec.options.items() if name != "finish" or not self.queries}
        attack = replace(self.spec, options=options).at(bound.radius, "l2" if bound.norm == "l2" else None)

        def attacked(model: Model, images: Tensor, labels: Tensor) -> Tensor:
            assert isinstance(model, InstrumentedModel)
            subject = self.twin or model
            subject.cost = model.cost  # the passes over a twin are part of the cost
            with subject.under(OWN if self.plain else ROUNDING):
                if finish is None:
                    return attack(subject, images, labels)
                worst = WorstCandidates(subject, images, labels)
                worst.query(worst.standing, finish[worst.standing])
                return finish_by_square(worst, Ball(bound.radius, bound.norm), self.queries, None)

        return attacked

    @property
    def queries(self) -> int:  # of the Square search that finishes an attack of the package; 0 for none
        return int(str(self.spec.options.get("finish", 0))) if self.spec.name in BUILT_IN else 0

    @property
    def rule(self) -> str | None:  # None without a gradient of the audited network
        if attack_info(self.spec.name).rules == "none" or self.twin is not None:
            return None
        return "+".join(self.spec.rules) or OWN

    @property
    def follows_gradient(self) -> bool:
        return self.rule is not None

    @property
    def loss(self) -> str | None:
        default = "cross-entropy" if self.spec.name in ("fgsm", "pgd") else None
        return cast("str | None", self.spec.resolved().get("loss", default))


def plan_attack(text: str, headline: Bound, defaults: Mapping[str, object] | None = None) -> PlannedAttack:
    """An attack from its text, with `defaults` for what it leaves out; a step is that at the headline and scales."""
    for name, instead in (("eps", "--bounds"), ("norm", "--norm")):
        if name in read_call(text, "attack").options:
            raise UsageError(
                f"attack {text!r} names {name}, but an audit runs it at every bound; name {instead} instead."
            )
    bound = {"eps": headline.radius, "norm": "l2"} if headline.norm == "l2" else {}
    spec = AttackSpec.parse(text, **bound, **(defaults or {}))
    if bound and "norm" not in spec.options:
        raise UsageError(f"attack {text!r} has no L2 form (an option norm), so it cannot run within {headline.label}.")
    options = {name: value for name, value in spec.options.items() if name not in bound}
    if "step" in options:
        options["relative_step"] = options.pop("step") / headline.radius
    return PlannedAttack(text, AttackSpec(spec.name, options, spec.rules))


CURVE_L2 = ("0", "0.1", "0.25", "0.5", "1", "2", "inf")
CURVE = ("0", "0.5/255", "1/255", "2/255", "4/255", "8/255", "16/255", "64/255", "inf")  # the default bounds
PROTOCOL = ("fgsm", "pgd", "noise:kind=sign,draws=10")
"""Attacks that run alone on every image at every bound: the paper's two with the own gradient, and noise."""
ADAPTIVE, PUBLISHED = "assg", "assg/start=1"
"""ASSG at its published rate of .425, and with its published start too; they need neurons of hiresnn."""


DIRECTIONS = 100  # random directions, in which the stability of the loss is measured (Pintor et al. 2022, I2)


class Choice(Enum):
    """Which rules an attack runs under, chosen from those that the screening selected."""

    NONE = "no gradient"
    BEST = "the best rule"
    EACH = "each rule without statistics in turn"
    SEVERAL = "all rules without statistics in one attack"
    ADAPTIVE = "ASSG if the network takes it, else the best rule"
    PUBLISHED = "ASSG from its published start if the network takes it, else the best rule"


class StageAttack(NamedTuple):
    """An attack without its rule, and where it runs."""

    spec: AttackSpec
    choice: Choice = Choice.NONE  # which rules it runs under
    first: int | None = None  # only the first so many images; None means all
    top: bool = False  # only at the bound of the headline


IN_L2 = {"sa-pgd": "momentum"}
"""Attack of the presets without an L2 form -> what takes its place in L2, with the same options."""


def stage_attack(
    name: str, rule: Choice = Choice.NONE, first: int | None = None, *, top: bool = False, **options: object
) -> StageAttack:
    """The attack of that name with these options."""
    return StageAttack(AttackSpec(name, options), rule, first, top)


@dataclass(frozen=True)
class Stage:
    """Screening of rules on a few images, then attacks on all images."""

    rules: tuple[str, ...]  # to screen; those that the network cannot take are left out
    sample: int  # how many images to screen, the first correctly classified ones
    iterations: int  # of each PGD in the screening
    queries: int  # of Square in the screening
    attacks: tuple[StageAttack, ...]  # attacks on all images, cheap ones first
    most: int | None = None  # how many rules to select, see `select_rules`
    directions: int = DIRECTIONS  # random directions of the screening
    noise: int = 100  # draws of noise of the screening


@dataclass(frozen=True)
class Preset:
    """What an audit does by default."""

    name: str
    images: int
    stages: tuple[Stage, ...]
    shares: tuple[float, ...] = ()  # bounds as shares of the headline, to which "inf" is added; empty for `CURVE`


_FEW = (OWN, ROUNDING, "arctan", "straight-through", "bptr", "conversion", ADAPTIVE)
_ALL = (
    *_FEW,
    *("linear/width=0.5", "linear/width=2", "arctan/reset", "arctan/cut", "sigmoid", "exponential", "rectangular"),
    *("erfc", "rga", "hart/width=0.5", "hart/width=1", "hart/width=2.5", "assg/cut", "pdsg"),
)
# Below the headline a curve needs no more than a good search; at the headline different random starts break different
# images, and nearly all that still fall are those on which the first start came near. The later starts therefore take
# only a third of the images, for three times as long (benchmarks/audit_strength.py). Near a linear model, where no step
# leaves the class that is nearest at first, only targets find the others (benchmarks/audit_validation.py).
_NARROWED: dict[str, Any] = {"iterations": 100, "narrow": 3, "random_start": True}
_QUICK_ATTACKS = (
    stage_attack("momentum", Choice.EACH, iterations=20, loss="margin"),
    stage_attack("momentum", Choice.PUBLISHED, iterations=100),
    stage_attack("apgd", Choice.ADAPTIVE, top=True, iterations=10, loss="dlr-targeted", targets=3),
    stage_attack("momentum", Choice.ADAPTIVE, top=True, **_NARROWED, restarts=2, loss="margin"),
    stage_attack("momentum", Choice.PUBLISHED, top=True, **_NARROWED, restarts=4),
    stage_attack("square", queries=200),
)
_STANDARD_ATTACKS = (
    stage_attack("pgd-restarts", Choice.EACH, iterations=30, restarts=1, loss="margin"),
    stage_attack("sa-pgd", Choice.ADAPTIVE, iterations=300, restarts=2),
    stage_attack("sa-pgd", Choice.PUBLISHED, iterations=300),
    stage_attack("sa-pgd", Choice.ADAPTIVE, iterations=300, loss="dlr", finish=200),
    stage_attack("sa-pgd", Choice.PUBLISHED, iterations=300, loss="dlr", finish=200),
    stage_attack("apgd", Choice.BEST, iterations=15, loss="dlr-targeted"),
    stage_attack("noise", kind="uniform", draws=50),
    stage_attack("square", first=200, queries=1000),
)
_THOROUGH_ATTACKS = (
    stage_attack("pgd-restarts", Choice.EACH, iterations=100, restarts=5, loss="margin"),
    stage_attack("sa-pgd", Choice.ADAPTIVE, iterations=300, restarts=3),
    stage_attack("sa-pgd", Choice.PUBLISHED, iterations=300, restarts=2),
    stage_attack("sa-pgd", Choice.ADAPTIVE, iterations=300, restarts=3, loss="dlr", finish=300),
    stage_attack("sa-pgd", Choice.PUBLISHED, iterations=300, restarts=2, loss="dlr", finish=300),
    stage_attack("apgd", Choice.BEST, iterations=100, restarts=5),
    stage_attack("apgd", Choice.BEST, iterations=100, restarts=5, loss="dlr"),
    stage_attack("apgd", Choice.BEST, iterations=100, loss="dlr-targeted"),
    stage_attack("apgd", Choice.ADAPTIVE, iterations=100, loss="dlr-targeted"),
    stage_attack("greedy", Choice.SEVERAL, iterations=50),
    stage_attack("noise", kind="uniform", draws=1000),
    stage_attack("square", queries=5000),
)

_QUICK = Stage(
    rules=(OWN, ROUNDING, "arctan", "bptr", ADAPTIVE),
    sample=30,
    iterations=12,
    queries=200,
    most=2,
    directions=20,
    noise=25,
    attacks=_QUICK_ATTACKS,
)
_STANDARD = Stage(rules=_ALL, sample=50, iterations=20, queries=1000, most=6, attacks=_STANDARD_ATTACKS)
_THOROUGH = Stage(rules=_ALL, sample=100, iterations=40, queries=5000, attacks=_THOROUGH_ATTACKS)
PRESETS: dict[str, Preset] = {
    "quick": Preset("quick", 200, (_QUICK,), shares=(0.25, 0.5)),
    "standard": Preset("standard", 1000, (_QUICK, _STANDARD)),
    "thorough": Preset("thorough", 1000, (_QUICK, _STANDARD, _THOROUGH)),
}


def planned(stage: Stage, selected: Sequence[str], model: InstrumentedModel, norm: str = "linf") -> list[PlannedAttack]:
    """The attacks of a stage, each once; `selected` has the most successful rule first.

    A loss that needs more classes than the model has gives way to the margin loss, and an attack without an L2 form to
    the one in `IN_L2`, if `norm` is "l2".
    """
    # ASSG's statistics restart when an image leaves the batch, so it goes only with attacks that keep the batch.
    best, steady = selected[0], [rule for rule in selected if rule.partition("/")[0] != ADAPTIVE] or [OWN]
    several = tuple(rule for rule in steady if rule not in (OWN, ROUNDING))
    adaptive = model.takes(ADAPTIVE)
    choices: dict[Choice, list[tuple[str, ...]]] = {
        Choice.NONE: [()],
        Choice.BEST: [(best,)],
        Choice.EACH: [(rule,) for rule in steady],
        Choice.SEVERAL: [several] if len(several) > 1 else [],
        Choice.ADAPTIVE: [(ADAPTIVE if adaptive else best,)],
        Choice.PUBLISHED: [(PUBLISHED if adaptive else best,)],
    }
    attacks: dict[str, PlannedAttack] = {}
    for template, choice, first, top in stage.attacks:
        options, name = dict(template.options), template.name
        name = IN_L2.get(name, name) if norm == "l2" else name
        if model.classes < {"dlr": 3, "dlr-targeted": 4}.get(str(options.get("loss")), 0):
            options["loss"] = "margin"
        for rules in choices[choice]:
            spec = AttackSpec(name, options, tuple(rule for rule in rules if rule not in (OWN, ROUNDING)))
            attacks.setdefault(str(spec), PlannedAttack(str(spec), spec, first=first, top=top))
    return list(attacks.values())


HEADLINES = {"linf": "8/255", "l2": "0.5"}
"""Norm -> the bound of the headline unless another is named; 0.5 is what most papers report in L2."""


@dataclass(frozen=True)
class AuditConfig:
    """The settings of an audit; a value that cannot be used raises UsageError."""

    preset: Preset | str = "quick"  # a name from `PRESETS`, or a preset of your own
    eps: float | str | None = None  # the bound of the headline, as a number or as text; None is 8/255, or 0.5 in L2
    bounds: tuple[str, ...] | None = None  # further bounds of the curve; None takes those of the preset
    attacks: tuple[str, ...] = ()  # in addition to the preset's, as text without eps; they run last, at every bound
    seed: int = 0  # of everything random
    batch_size: int = 200  # divided by the draws of a random network
    paper: Mapping[str, object] = field(default_factory=dict)  # options of the paper's PGD at the headline bound
    views: tuple[str, ...] = ()  # the network as deployed, see `hiresnn.exchange.VIEWS`: each is audited, too
    compile: bool | str = "auto"  # whether neurons of hiresnn are compiled; "auto": where that pays
    corruptions: bool = False  # whether the card also has the accuracy on corrupted images
    norm: Literal["linf", "l2"] = "linf"  # what the bounds limit: each pixel, or the Euclidean length of the change

    def __post_init__(self) -> None:
        if self.norm not in HEADLINES:
            raise UsageError(f"norm is {self.norm!r}; {closest(self.norm, HEADLINES)}.")
        object.__setattr__(self, "eps", HEADLINES[self.norm] if self.eps is None else self.eps)
        for name in ("bounds", "attacks"):
            if isinstance(text := getattr(self, name), str):  # one text alone
                object.__setattr__(self, name, (text,))
        _ = self.curve, self.plan, self.added  # refuse what cannot be used now, not after hours of work

    @property
    def headline(self) -> Bound:
        assert self.eps is not None  # see `__post_init__`
        return parse_bound(self.eps, self.norm)

    @property
    def curve(self) -> tuple[Bound, ...]:
        """All bounds in increasing order, 0 first."""
        headline, named, shares = self.headline, self.bounds, self.plan.shares
        if not headline.eps:
            raise UsageError("eps is 0, where there is nothing to attack; name a bound like 8/255.")
        if named is None:
            relative, whole = shares and headline != UNBOUNDED, CURVE_L2 if self.norm == "l2" else CURVE
            named = (
                (*(bound_at(share * headline.eps, self.norm).label for share in shares), "inf") if relative else whole
            )
        bounds = (CLEAN, *(parse_bound(text, self.norm) for text in named), headline)
        if any(bound.norm != self.norm for bound in bounds if bound not in (CLEAN, UNBOUNDED)):
            raise UsageError('the bounds are in L2; name norm="l2" (--norm l2) for an audit in this norm.')
        return tuple(sorted({bound.label: bound for bound in bounds}.values()))

    @property
    def plan(self) -> Preset:
        if isinstance(self.preset, Preset):
            return self.preset
        if self.preset not in PRESETS:
            raise UsageError(f"preset is {self.preset!r}; {closest(self.preset, PRESETS)}.")
        return PRESETS[self.preset]

    @property
    def replaced(self) -> dict[str, str]:
        """Attacks of the preset that have no form in the norm, and what runs in their place."""
        names = {attack.spec.name for stage in self.plan.stages for attack in stage.attacks if self.norm == "l2"}
        return {name: f"it has no L2 form; {IN_L2[name]} ran with its options" for name in sorted(names & {*IN_L2})}

    @property
    def added(self) -> list[PlannedAttack]:
        """The user's attacks; a step is that at the headline bound."""
        attacks = (plan_attack(text, self.headline) for text in dict.fromkeys(self.attacks))
        return [replace(attack, label=f"{attack.label} (added)") for attack in attacks]
