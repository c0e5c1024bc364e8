"""The number to report, and the verdict on the paper's PGD; docs/audit.md has the rules in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hiresnn.audit import card as parts
from hiresnn.audit.sweep import AuditResult
from hiresnn.neurons import RULES

GAP, GAP_IMAGES = 1.0, 5
"""Percentage points and images from which PGD counts as an overestimate; five against none pass the sign test."""
SOME = 0.05  # share of the images from which attacks count as failed
HALF = 0.5  # share of the screened images without any gradient from which gradient attacks count as failed
UNFINISHED = 0.01  # share of the images that the last attack may still break for the search to count as finished
WIDE = 8.0  # width in percentage points from which an interval asks for more images
SEVERE = (parts.REPEATED, parts.BATCH, parts.CONSTANT, parts.WEIGHTS, parts.ANSWERS)
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

    @classmethod
    def of(cls, result: AuditResult) -> Evidence:
        """Count it."""
        worst, headline = result.worst, result.config.headline
        gradient_left = sum(worst.count(bound, gradient=True) for bound in worst.bounds[1:])
        missed = ~result.alone["pgd"][headline.label] & (worst.level <= worst.bounds.index(headline))
        by = Counter(label for label, pgd_misses in zip(worst.by, missed.tolist(), strict=True) if label and pgd_misses)
        swept = [label for label, attack in result.attacks.items() if attack.follows_gradient and not attack.plain]
        zero = np.logical_and.reduce([screening.zero for screening in result.screened])
        return cls(
            gradient_left=gradient_left,
            without_gradient=gradient_left - sum(worst.count(bound) for bound in worst.bounds[1:]),
            unbroken=worst.count(worst.bounds[-1]) if math.isinf(worst.bounds[-1].eps) else None,
            correct=worst.count(worst.bounds[0]),
            found_by=next(iter(by.most_common(1)), ("", 0)),
            without=(int(zero.sum()), len(zero)),
            own_only=not any(result.model.takes(rule) for rule in RULES),
            last=(swept[-1], sum(worst.broke(swept[-1]).values())) if swept else ("", 0),
        )

    @property
    def failures(self) -> list[str]:
        """Reasons why the attacks themselves failed, so that the worst case may be far too high."""
        reasons = []
        if self.without_gradient > max(SOME * self.gradient_left, 1):
            reasons.append(
                f"attacks without gradients broke {self.without_gradient} of {self.gradient_left} that all gradient "
                "attacks left"
            )
        if self.unbroken is not None and self.unbroken > SOME * self.correct:
            reasons.append(f"{self.unbroken} of {self.correct} correct images stand without any bound")
        if self.blind:
            reasons.append("no gradient rule has a gradient on {} of {} screened images".format(*self.without))
        return reasons

    @property
    def blind(self) -> bool:
        """Whether most images have no gradient under any rule."""
        return self.without[0] > HALF * self.without[1]


def conclude(
    point: parts.Point,
    own: parts.RuleReport,
    evidence: Evidence,
    checks: Sequence[parts.Check],
    *,
    preset: str,
    command: str,
) -> parts.Conclusion:
    """The conclusion of an audit, with `own` on its own gradient rule, that `command` repeats without its preset."""
    pgd, worst, failures = point.pgd, point.worst, evidence.failures
    failed = [check for check in checks if check.result == "failed"]
    severe = [check.detail for check in failed if check.name in SEVERE]
    gap, interval = pgd.count - worst.count, f"{worst.percent:.1f} % ({worst.low:.1f}-{worst.high:.1f})"
    verdict: parts.Verdict = "unreliable"
    if severe:
        headline = f"Report no number at {point.bound}: {severe[0]}."
    elif failures:
        headline = (
            f"Report no number at {point.bound}, in particular not {pgd.percent:.1f} %: {failures[0]}. "
            f"An attack that works may leave far less than {worst.percent:.1f} %."
        )
    elif gap >= GAP_IMAGES and 100 * gap >= GAP * worst.of:
        verdict, headline = "overestimated", f"Report at most {interval}, not {pgd.percent:.1f} %, at {point.bound}."
    else:
        headline = f"Report at most {interval} at {point.bound}; the paper's PGD says {pgd.percent:.1f} %."
        verdict = "agrees"

    reasons = [*severe]
    label, count = evidence.found_by
    if gap > 0 and count:
        reasons.append(f"of the {gap} images that the paper's PGD misses, {label} broke {count}")
    if own.verdict != "consistent":
        reasons += [f"own gradient, {own.verdict}: {reason}" for reason in own.reasons]
    reasons += [f"this audit: {failure}" for failure in failures]
    reasons += [check.detail for check in failed if check.name not in SEVERE]
    unfinished = evidence.last[1] > max(UNFINISHED * worst.of, 1)
    if unfinished:
        reasons.append(f"the last attack, {evidence.last[0]}, still broke {evidence.last[1]} images: more may break")
    if evidence.own_only and own.verdict != "consistent":
        reasons.append(
            "no gradient rule could be tried on this network; if it spikes, give it an adapter (docs/foreign.md)"
        )
    larger = LARGER.get(preset)
    if severe and all(check.name == parts.CONSTANT for check in failed if check.name in SEVERE):
        step = "Check that the weights are loaded, and that neurons spike (hiresnn.analysis.spike_rates); then repeat."
    elif severe:
        source = "the images alone, or on torch's global random generator"
        step = f"Make the network's answers depend on {source}; then repeat."
    elif evidence.blind or (evidence.own_only and failures):
        step = "Give the attacks a gradient, by an adapter (docs/foreign.md) or a twin (--twin); then repeat."
    elif larger and (unfinished or worst.high - worst.low > WIDE or failures or preset == "quick"):
        step = command + (f" --preset {larger}" if command.startswith("hiresnn audit") else f", preset={larger!r})")
    elif unfinished or failures:
        step = "Add an attack that is made for this network (--attack, docs/attacks.md)."
    else:
        step = "Publish card.json and adversarial.npz with the number, so that others can check it."
    reasons = reasons or ["no attack and no check found a reason to doubt the paper's PGD"]
    return parts.Conclusion(verdict=verdict, headline=headline, reasons=reasons, next_step=step, own=own.verdict)
