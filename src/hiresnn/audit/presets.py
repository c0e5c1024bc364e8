"""How much an audit tries: waves of scouting and attacks. A larger preset begins with all waves of the smaller ones.

Attacks are texts as `hiresnn evaluate --attack` takes them, without a bound. `{each}` makes one attack of each kept
rule; `{best}` is the rule that won most of the scouted images, `{steady}` the best of those without statistics and
`{kept}` all of those, for greedy choice; `{adaptive}` is ASSG where the network can take it and else the best.
"""

from __future__ import annotations

from dataclasses import dataclass

from hiresnn.audit.subject import OWN, ROUNDING
from hiresnn.errors import UsageError

PROTOCOL = ("fgsm", "pgd", "noise:kind=sign,draws=10")
"""What runs alone on every image at every bound: the paper's two attacks with the own gradient, and noise."""


@dataclass(frozen=True)
class Wave:
    """Scout rules on a few images, then attack all images with what won.

    Attributes:
        rules: rules scouted; those that the network cannot take are left out.
        sample: images scouted, the first that are classified correctly.
        iterations: of each scouting climb.
        queries: of the scouting Square.
        most: rules kept at most, those that win most images; None for all that win any.
        prune: whether rules that win no scouted image are dropped.
        attacks: texts, cheap ones first.
        first: attack text -> the first so many images alone, for what is dear.
    """

    rules: tuple[str, ...]
    sample: int
    iterations: int
    queries: int
    attacks: tuple[str, ...]
    most: int | None = None
    prune: bool = True
    first: tuple[tuple[str, int], ...] = ()


_FEW = (OWN, ROUNDING, "arctan", "straight-through", "bptr", "conversion", "assg")
_ALL = (
    *_FEW,
    *("linear/width=0.5", "linear/width=2", "arctan/reset", "arctan/cut", "sigmoid", "exponential", "rectangular"),
    *("erfc", "rga", "hart/width=0.5", "hart/width=1", "hart/width=2.5", "assg/cut", "pdsg"),
)

QUICK = Wave(
    rules=_FEW,
    sample=40,
    iterations=20,
    queries=200,
    most=3,
    attacks=(
        "pgd-restarts:iterations=20,restarts=1,loss=margin,rule={each}",
        "sa-pgd:iterations=30,rule={adaptive}",
        "apgd:iterations=30,loss=dlr,rule={best}",
        "square:queries=200",
    ),
)
STANDARD = Wave(
    rules=_ALL,
    sample=50,
    iterations=20,
    queries=1000,
    most=8,
    attacks=(
        "noise:kind=uniform,draws=50",
        "noise:kind=gaussian,draws=50",
        "pgd-restarts:iterations=30,restarts=1,loss=margin,rule={each}",
        "sa-pgd:iterations=100,rule={adaptive}",
        "sa-pgd:iterations=50,loss=margin,rule={best}",
        "apgd:iterations=50,rule={best}",
        "apgd:iterations=50,loss=dlr,rule={best}",
        "apgd:iterations=15,loss=dlr-targeted,rule={best}",
        "greedy:iterations=10,rule={kept}",
        "square:queries=1000",
    ),
    first=(("square:queries=1000", 200),),
)
THOROUGH = Wave(
    rules=_ALL,
    sample=100,
    iterations=40,
    queries=5000,
    prune=False,
    attacks=(
        "noise:kind=uniform,draws=1000",
        "pgd-restarts:iterations=100,restarts=5,loss=margin,rule={each}",
        "pgd-restarts:iterations=100,restarts=5,rule={steady}",
        "sa-pgd:iterations=200,restarts=3,rule={adaptive}",
        "sa-pgd:iterations=200,restarts=3,loss=margin,rule={adaptive}",
        "apgd:iterations=100,restarts=5,rule={best}",
        "apgd:iterations=100,restarts=5,loss=dlr,rule={best}",
        "apgd:iterations=100,loss=dlr-targeted,rule={best}",
        "apgd:iterations=100,loss=dlr-targeted,rule={adaptive}",
        "greedy:iterations=50,rule={kept}",
        "square:queries=5000",
    ),
)

PRESETS: dict[str, tuple[Wave, ...]] = {
    "quick": (QUICK,),
    "standard": (QUICK, STANDARD),
    "thorough": (QUICK, STANDARD, THOROUGH),
}
IMAGES = {"quick": 200, "standard": 1000, "thorough": 1000}
"""How many images a preset audits if nobody says."""


def waves(preset: str) -> tuple[Wave, ...]:
    """The waves of a preset.

    Raises:
        UsageError: no such preset.
    """
    if preset not in PRESETS:
        raise UsageError(f"preset is {preset!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[preset]


@dataclass(frozen=True)
class Kept:
    """What scouting left: rules in the order of their success, and all that the network takes."""

    rules: tuple[str, ...]
    takes: frozenset[str]
    classes: int


def attacks(wave: Wave, kept: Kept) -> list[str]:
    """The attacks of a wave with the scouted rules in their places, each text once."""
    best = kept.rules[0]
    steady = [rule for rule in kept.rules if not _adapts(rule)] or [OWN]
    adaptive = "assg" if "assg" in kept.takes else best
    several = "+".join(rule for rule in steady if rule not in (OWN, ROUNDING))
    found: list[str] = []
    for text in wave.attacks:
        for rule in steady if "{each}" in text else [best]:
            filled = text.format(each=rule, best=best, steady=steady[0], adaptive=adaptive, kept=several)
            found.append(_possible(filled, kept.classes))
    return [text for text in dict.fromkeys(found) if text]


def _adapts(rule: str) -> bool:
    """Statistics begin anew when an image leaves the batch, so ASSG goes with attacks that keep theirs together."""
    return rule.partition("/")[0] == "assg"


def _possible(text: str, classes: int) -> str:
    """The text as a network of so many classes can take it, the own rule unnamed; "" where nothing is left of it."""
    for unnamed in (OWN, ROUNDING):
        text = text.replace(f",rule={unnamed}", "")
    if text.startswith("greedy") and (text.endswith("rule=") or "+" not in text):
        return ""
    if classes < 3:
        text = text.replace("loss=dlr-targeted", "loss=margin").replace("loss=dlr", "loss=margin")
    elif classes < 4:
        text = text.replace("loss=dlr-targeted", "loss=margin")
    return text
