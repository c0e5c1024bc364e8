"""The number to report: decided by the gap between the paper's PGD and the worst case at the headline bound.

- *unreliable*: the network fails a severe check of its behaviour; or the attacks themselves fail: images stand without
  any bound, attacks without gradients break what all gradient attacks left, or no gradient rule finds a gradient.
- *overestimated*: the worst case is at least 1 percentage point and 5 images below PGD.
- *agrees*: the gap is smaller.

Whether gradients are masked, and by how much a longer attack still improved, are reasons; they do not decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hiresnn.audit.behaviour import ANSWERS, BATCH, CONSTANT, REPEATED, WEIGHTS
from hiresnn.audit.card import Check, Conclusion, Point, RuleReport, Verdict

GAP, GAP_IMAGES = 1.0, 5
"""Percentage points and images from which PGD counts as an overestimate; five against none pass the sign test."""
SOME = 0.05  # share of the images from which attacks count as failed
HALF = 0.5  # share of the screened images without any gradient from which gradient attacks count as failed
UNFINISHED = 0.01  # share of the images that the last attack may still break for the search to count as finished
WIDE = 8.0  # width in percentage points from which an interval asks for more images
SEVERE = (REPEATED, BATCH, CONSTANT, WEIGHTS, ANSWERS)
"""Checks (see `behaviour`) without which no accuracy of the network means anything."""
LARGER = {"quick": "standard", "standard": "thorough"}


@dataclass(frozen=True)
class Evidence:
    """What the attacks on all images showed, as counts."""

    gradient_left: int  # image-bound pairs that all gradient attacks left standing, over all bounds
    without_gradient: int  # how many of those pairs attacks without gradients broke
    unbroken: int | None  # correct images that stand without any bound; None if the audit did not attack without one
    correct: int  # correctly classified images
    found_by: tuple[str, int] = ("", 0)  # the attack that broke most images that PGD left at the headline
    last: tuple[str, int] = ("", 0)  # the last gradient attack of the search, and how many images it broke first
    without: tuple[int, int] = (0, 0)  # screened images whose gradient is zero under every rule, and all screened
    own_only: bool = False  # the network takes no gradient rule but its own

    @property
    def failures(self) -> list[str]:
        """Reasons why the attacks themselves failed, so that the worst case may be far too high."""
        found = []
        if self.without_gradient > max(SOME * self.gradient_left, 1):
            found.append(
                f"attacks without gradients broke {self.without_gradient} of {self.gradient_left} that all gradient "
                "attacks left"
            )
        if self.unbroken is not None and self.unbroken > SOME * self.correct:
            found.append(f"{self.unbroken} of {self.correct} correct images stand without any bound")
        if self.blind:
            found.append("no gradient rule has a gradient on {} of {} screened images".format(*self.without))
        return found

    @property
    def blind(self) -> bool:
        """Whether most images have no gradient under any rule."""
        return self.without[0] > HALF * self.without[1]


def headline_of(point: Point, severe: Sequence[str], failures: Sequence[str]) -> tuple[Verdict, str]:
    """(verdict, sentence with the number to report), given `severe` checks that failed and `failures` of attacks."""
    pgd, worst = point.pgd, point.worst
    interval = f"{worst.percent:.1f} % ({worst.low:.1f}-{worst.high:.1f})"
    if severe:
        return "unreliable", f"Report no number at {point.bound}: {severe[0]}."
    if failures:
        sentence = f"Report no number at {point.bound}, in particular not {pgd.percent:.1f} %: {failures[0]}."
        return "unreliable", f"{sentence} An attack that works may leave far less than {worst.percent:.1f} %."
    gap = pgd.count - worst.count
    if gap >= GAP_IMAGES and 100 * gap >= GAP * worst.of:
        return "overestimated", f"Report at most {interval}, not {pgd.percent:.1f} %, at {point.bound}."
    return "agrees", f"Report at most {interval} at {point.bound}; the paper's PGD says {pgd.percent:.1f} %."


def conclude(
    point: Point, own: RuleReport, evidence: Evidence, checks: Sequence[Check], *, preset: str, command: str
) -> Conclusion:
    """The conclusion of an audit, with `own` on its own gradient rule, that `command` repeats without its preset."""
    failed = [check for check in checks if check.result == "failed"]
    severe = [check.detail for check in failed if check.name in SEVERE]
    constant = [check.detail for check in failed if check.name == CONSTANT] == severe
    verdict, headline = headline_of(point, severe, evidence.failures)
    reasons = [*severe]
    gap, (label, count) = point.pgd.count - point.worst.count, evidence.found_by
    if gap > 0 and count:
        reasons.append(f"of the {gap} images that the paper's PGD misses, {label} broke {count}")
    if own.verdict != "consistent":
        reasons += [f"own gradient, {own.verdict}: {reason}" for reason in own.reasons]
    reasons += [f"this audit: {failure}" for failure in evidence.failures]
    reasons += [check.detail for check in failed if check.name not in SEVERE]
    unfinished = evidence.last[1] > max(UNFINISHED * point.worst.of, 1)
    if unfinished:
        reasons.append(f"the last attack, {evidence.last[0]}, still broke {evidence.last[1]} images: more may break")
    if evidence.own_only and own.verdict != "consistent":
        reasons.append(
            "no gradient rule could be tried on this network; if it spikes, give it an adapter (docs/foreign.md)"
        )
    wide = point.worst.high - point.worst.low > WIDE
    larger = LARGER.get(preset)
    if severe and constant:
        step = "Check that the weights are loaded, and that neurons spike (hiresnn.analysis.spike_rates); then repeat."
    elif severe:
        step = (
            "Make the network's answers depend on the images alone, or on torch's global random generator; then repeat."
        )
    elif evidence.blind or (evidence.own_only and evidence.failures):
        step = "Give the attacks a gradient, by an adapter (docs/foreign.md) or a twin (--twin); then repeat."
    elif larger and (unfinished or wide or evidence.failures or preset == "quick"):
        step = command + (f" --preset {larger}" if command.startswith("hiresnn audit") else f", preset={larger!r})")
    elif unfinished or evidence.failures:
        step = "Add an attack that is made for this network (--attack, docs/attacks.md)."
    else:
        step = "Publish card.json and adversarial.npz with the number, so that others can check it."
    reasons = reasons or ["no attack and no check found a reason to doubt the paper's PGD"]
    return Conclusion(verdict=verdict, headline=headline, reasons=reasons, next_step=step, own=own.verdict)
