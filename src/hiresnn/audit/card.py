"""The card: the result of an audit as one JSON file with a versioned schema.

Accuracies are in percent. A bound is an L-infinity radius in pixel units, written as text: "0.5/255", "8/255", or
"inf" for the attack that only [0, 1] limits. `python -m hiresnn.audit.card > docs/card.schema.json` writes the schema.

The number to report: decided by the gap between the paper's PGD and the worst case at the headline bound.

- *unreliable*: the network fails a severe check of its behaviour; or the attacks themselves fail: images stand without
  any bound, attacks without gradients break what all gradient attacks left, or no gradient rule finds a gradient.
- *overestimated*: the worst case is at least 1 percentage point and 5 images below PGD.
- *agrees*: the gap is smaller.

Whether gradients are masked, and by how much a longer attack still improved, are reasons; they do not decide.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

REPEATED, BATCH, CONSTANT = "repeated calls", "batch order and size", "dependence on the image"
FINITE, PRECISION = "finite logits", "precision"
INPUT, WEIGHTS, ANSWERS = "input unchanged", "weights unchanged", "answers unchanged"


GradientVerdict = Literal["consistent", "inconclusive", "masked gradients likely"]
"""On one gradient rule: no sign of masking, some sign of a failed attack, or evidence of masking."""
Verdict = Literal["agrees", "overestimated", "unreliable"]
"""On the paper's PGD: the worst case agrees with it, the worst case is lower, or no number can be reported."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(_Part):
    """`count` of `of` images, in percent, with its 95 % interval (Wilson)."""

    count: int = Field(ge=0)
    of: int = Field(ge=0)
    percent: float
    low: float
    high: float


def share(count: int, of: int) -> Share:
    """`count` of `of` in percent with its Wilson interval; for no images the interval is 0 to 100.

    >>> share(5, 10).percent, share(5, 10).low < 30 < 70 < share(5, 10).high
    (50.0, True)
    """
    from scipy.stats import binomtest  # here, because reading a card does not need it

    if not of:
        return Share(count=0, of=0, percent=0.0, low=0.0, high=100.0)
    interval = binomtest(count, of).proportion_ci(0.95, method="wilson")
    percent, low, high = (round(100 * part, 2) for part in (count / of, interval.low, interval.high))
    return Share(count=count, of=of, percent=percent, low=low, high=high)


class Subject(_Part):
    """The audited network."""

    name: str
    kind: Literal["run", "file", "function"]
    architecture: str = Field(description="Class of the network, or the name that its builder gives it.")
    library: str = Field(description="hiresnn, or the library of a foreign network.")
    method: str | None = Field(description="Training method of a run.")
    timesteps: int | None
    neurons: int | None = Field(description="Layers of spiking neurons whose backward pass the audit can replace.")
    random: bool = Field(description="Whether two passes over one image gave different logits.")
    draws: int = Field(description="Passes that logits and gradients are averaged over; 1 unless random.")
    rounds: bool = Field(description="Whether the forward pass rounds, so that gradients were passed through it.")
    fingerprint: str | None = Field(description="SHA-256 of the weights and buffers.")


class Images(_Part):
    """The images of the audit."""

    name: str
    split: str
    images: int
    classes: list[str]
    size: list[int] = Field(description="Channels, height, width.")


class Setting(_Part):
    """The settings of the audit."""

    preset: str
    seed: int
    bounds: list[str]
    headline: str = Field(description="The bound of the headline.")
    batch_size: int
    twins: list[str]
    attacks: list[str] = Field(description="Attacks that the user added to the preset.")
    command: str = Field(description="The command line that repeats this audit.")
    target: str | None = Field(default=None, description="The network as the command line names it.")


class Check(_Part):
    """One check of the network's behaviour."""

    name: str
    result: Literal["passed", "failed", "not checked"]
    detail: str


class Point(_Part):
    """Accuracy at one bound."""

    bound: str
    eps: float | None = Field(description="In pixel units; null for the unbounded attack.")
    fgsm: Share = Field(description="The paper's FGSM, own gradient.")
    pgd: Share = Field(description="The paper's PGD, own gradient, last iterate.")
    noise: Share = Field(description="Random noise, the worst of its draws.")
    worst: Share = Field(description="The worst case per image over all attacks.")


class AttackRow(_Part):
    """One attack: the images that it was the first to break, by bound, and its cost."""

    label: str
    attack: str
    rule: str | None = Field(description="Gradient rule; null for an attack without a gradient of the network.")
    loss: str | None
    shown: int = Field(description="Images attacked, summed over all bounds.")
    broke: dict[str, int] = Field(description="Bound -> images that it broke first.")
    forward: int
    backward: int
    seconds: float


class Cell(_Part):
    """Accuracy that one attack with one rule leaves on the screened images."""

    attack: str
    rule: str
    standing: Share


class Question(_Part):
    """One of the five questions of Athalye et al. 2018; a yes is proof of masking, a no proves nothing."""

    name: str
    yes: bool
    evidence: str


class RuleReport(_Part):
    """Whether attacks under one gradient rule can be trusted: means over the screened images, from 0 to 1."""

    rule: str
    zero_gradients: float = Field(description="Images whose gradient is exactly zero everywhere (Pintor I1).")
    zero_pixels: float = Field(description="Pixels whose gradient is exactly zero.")
    unstable: float = Field(description="Relative change of the loss over random directions (Pintor I2).")
    silent: float = Field(description="An earlier iterate succeeded although the last one fails (Pintor I3).")
    rising: float = Field(description="Loss still rising at the end (Pintor I4).")
    unbounded: float = Field(description="Images that stand without any bound (Pintor I6).")
    questions: list[Question]
    verdict: GradientVerdict
    reasons: list[str]


class Screening(_Part):
    """Every rule alone on the same few images, at one bound."""

    bound: str
    images: int
    cells: list[Cell]
    rules: list[RuleReport]
    selected: list[str] = Field(description="Rules used in the attacks on all images, the most successful first.")
    dropped: list[str] = Field(description="Rules that were the best on too few images to be selected.")


class Conclusion(_Part):
    """The number to report, why, and the next command to run."""

    verdict: Verdict
    headline: str = Field(description="A sentence with the number to report.")
    reasons: list[str]
    next_step: str = Field(description="A command line or a sentence.")
    own: GradientVerdict = Field(description="Whether the network's own gradient can be trusted.")


class Layer(_Part):
    """Spikes of one layer / (neurons * T), clean and attacked at the headline bound."""

    name: str
    neurons: int
    clean: float
    attacked: float


class Picture(_Part):
    """One image and its adversarial version; 8-bit PNGs in base64, the difference amplified around grey."""

    index: int = Field(description="Position among the audited images.")
    label: str
    predicted: str
    bound: str
    attack: str
    amplified: float
    clean: str
    adversarial: str
    difference: str


class Budget(_Part):
    """The cost of the audit. Passes count images: a pass over a batch of 200 is 200."""

    forward: int
    backward: int
    seconds: float


class Card(_Part):
    """One audit, as card.json holds it. A card of schema version 1 is read as far as it goes."""

    schema_version: Literal[2] = 2  # raised when a field is removed or changes its meaning, not for a new one
    hiresnn: str
    date: str
    subject: Subject
    data: Images
    setting: Setting
    environment: dict[str, Any]
    clean: Share
    curve: list[Point] = Field(description="By bound, 0 first.")
    unbroken: list[int] = Field(description="Positions of the images that stand at the largest bound.")
    attacks: list[AttackRow] = Field(description="In the order they ran.")
    screening: Screening
    checks: list[Check] = Field(description="Empty in a card that version 1 wrote.")
    conclusion: Conclusion
    activity: list[Layer] | None = Field(description="Null if the neurons are not hiresnn's.")
    gallery: list[Picture]
    budget: Budget

    def at(self, bound: str) -> Point:
        """The point of the curve at a bound."""
        return next(point for point in self.curve if point.bound == bound)

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("schema_version") != 1:
            return values
        try:
            return _from_version_1(dict(values))
        except (KeyError, TypeError, StopIteration, AttributeError):
            raise ValueError("it is a damaged card of schema version 1") from None


def _from_version_1(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a card of schema version 1 under their names of version 2."""
    pass

    screening, old = dict(values.pop("scouting")), values["conclusion"]
    screening["selected"] = screening.pop("kept")
    screening["rules"] = [{k: v for k, v in rule.items() if k != "surrogate_only"} for rule in screening["rules"]]
    point = next(point for point in values["curve"] if point["bound"] == values["setting"]["headline"])
    failures = old["audit_reasons"][:1] if old["audit"] == "masked gradients likely" else []
    verdict, sentence = headline_of(Point.model_validate(point), [], failures)
    reasons = [*old["own_reasons"], *old["audit_reasons"]]
    repeat = f"Repeat the audit with this version: {values['setting']['command']}"
    parts = {"verdict": verdict, "headline": sentence, "reasons": reasons, "next_step": repeat, "own": old["own"]}
    return {**values, "schema_version": 2, "screening": screening, "checks": [], "conclusion": parts}


if __name__ == "__main__":
    print(json.dumps(Card.model_json_schema(), indent=2))


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
