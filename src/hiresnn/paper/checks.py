"""The five checks of Table 4 as rules: what passes is decided by numbers, twice.

By accuracies, as sec. 5.3 argues, with a rule for each check; and image by image, as `hiresnn audit` asks (Athalye et
al. 2018; `hiresnn.audit.verdict.questions`), where a yes to the question is a check that failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SLACK = 1.0
"""Percentage points within which two accuracies count as equal in checks (iii) and (iv)."""

KEYS = ("one_step", "black_box", "bound", "unbounded", "sampling")
"""The checks, as claims.toml names them."""
CHECKS = (
    "(i) single-step attack performs better than iterative",
    "(ii) black-box attack performs better than white-box",
    "(iii) increasing the bound cannot increase the attack's strength",
    "(iv) unbounded attack cannot reach 100 % success",
    "(v) random sampling finds adversarial examples",
)
RULES = (
    "passes where PGD leaves less than FGSM",
    "passes where the images of neither twin, FGSM or PGD, leave less than the network's own",
    f"passes where no larger bound leaves over {SLACK:g} point more than a smaller one, and the largest the least",
    f"passes where PGD bounded by [0, 1] alone leaves at most {SLACK:g} %",
    "passes where the worst of the random draws leaves more than PGD at the same bound",
)


@dataclass(frozen=True)
class Accuracies:
    """Accuracies of one network in percent.

    Attributes:
        clean: without an attack.
        white: attack ("fgsm", "pgd") -> at the paper's bound. black: kind of twin -> the same.
        bounds: (bound as text, PGD), by increasing bound. unbounded: PGD bounded by [0, 1] alone.
        random: the worst of the random draws at the paper's bound.
    """

    clean: float
    white: Mapping[str, float]
    black: Mapping[str, Mapping[str, float]]
    bounds: Sequence[tuple[str, float]]
    unbounded: float
    random: float


@dataclass(frozen=True)
class Judged:
    """One check: whether it passed, and the numbers that decided."""

    passed: bool
    evidence: str


def judge(found: Accuracies) -> list[Judged]:
    """The five checks in order, each by its rule in RULES."""
    return [_one_step(found), _black_box(found), _bound(found), _unbounded(found), _sampling(found)]


def _one_step(found: Accuracies) -> Judged:
    fgsm, pgd = found.white["fgsm"], found.white["pgd"]
    return Judged(pgd < fgsm, f"FGSM leaves {fgsm:.1f} %, PGD {pgd:.1f} %")


def _black_box(found: Accuracies) -> Judged:
    passed, words = True, []
    for attack, white in found.white.items():
        black = {kind: left[attack] for kind, left in found.black.items()}
        passed &= all(left >= white for left in black.values())
        twins = ", ".join(f"{left:.1f} % made on the {kind} twin" for kind, left in black.items())
        words.append(f"{attack.upper()} leaves {white:.1f} % made on itself, {twins}")
    return Judged(passed, "; ".join(words))


def _bound(found: Accuracies) -> Judged:
    left = [found.clean, *(accuracy for _, accuracy in found.bounds)]
    lowest, rose = left[0], False
    for accuracy in left[1:]:
        rose |= accuracy > lowest + SLACK
        lowest = min(lowest, accuracy)
    passed = not rose and left[-1] < left[0] and left[-1] <= lowest + SLACK
    words = ", ".join(f"{accuracy:.1f} % at {bound}" for bound, accuracy in (("0", found.clean), *found.bounds))
    return Judged(passed, f"PGD leaves {words}")


def _unbounded(found: Accuracies) -> Judged:
    return Judged(found.unbounded <= SLACK, f"PGD without a bound leaves {found.unbounded:.1f} %")


def _sampling(found: Accuracies) -> Judged:
    pgd = found.white["pgd"]
    return Judged(found.random > pgd, f"random draws leave {found.random:.1f} %, PGD {pgd:.1f} %")
