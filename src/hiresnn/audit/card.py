"""The card: what an audit found, as one JSON with a versioned schema; `Card.model_json_schema()` describes it.

Accuracies are in percent. A bound is an L-infinity radius in pixel units, written as text: "0.5/255", "8/255", and
"inf" for the attack that is bounded by [0, 1] alone.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["consistent", "inconclusive", "masked gradients likely"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(_Part):
    """`count` of `of` images, in percent, with its 95 % interval (Wilson)."""

    count: int = Field(ge=0)
    of: int = Field(ge=0)
    percent: float
    low: float
    high: float


class Subject(_Part):
    """What was audited."""

    name: str
    kind: Literal["run", "file", "function"]
    architecture: str = Field(description="Class of the network, or what its builder calls itself.")
    library: str = Field(description="hiresnn, or the library of a foreign network.")
    method: str | None = Field(description="Training method of a run.")
    timesteps: int | None
    neurons: int | None = Field(description="Layers of spiking neurons whose backward pass the audit can replace.")
    random: bool = Field(description="Whether two passes over one image gave different logits.")
    draws: int = Field(description="Passes that logits and gradients are averaged over; 1 unless random.")
    rounds: bool = Field(description="Whether the forward pass rounds, so that gradients were carried past that.")
    fingerprint: str | None = Field(description="SHA-256 of the weights.")


class Images(_Part):
    """What it was audited on."""

    name: str
    split: str
    images: int
    classes: list[str]
    size: list[int] = Field(description="Channels, height, width.")


class Setting(_Part):
    """How it was audited."""

    preset: str
    seed: int
    bounds: list[str]
    headline: str = Field(description="The bound that the headline is about.")
    batch_size: int
    twins: list[str]
    attacks: list[str] = Field(description="Attacks that the user added to the preset.")
    command: str = Field(description="The command line that repeats this audit.")


class Point(_Part):
    """Accuracy at one bound."""

    bound: str
    eps: float | None = Field(description="In pixel units; null for the unbounded attack.")
    fgsm: Share = Field(description="The paper's FGSM, own gradient.")
    pgd: Share = Field(description="The paper's PGD, own gradient, last iterate.")
    noise: Share = Field(description="Random noise, the worst of its draws.")
    worst: Share = Field(description="The worst case per image over everything that was tried.")


class AttackRow(_Part):
    """One attack: what it broke that stood until it came, at each bound, and what it cost."""

    label: str
    attack: str
    rule: str | None = Field(description="Gradient rule; null where the attack follows none.")
    loss: str | None
    shown: int = Field(description="Images shown, all bounds together.")
    broke: dict[str, int] = Field(description="Bound -> images that it broke first.")
    forward: int
    backward: int
    seconds: float


class Cell(_Part):
    """Accuracy that one attack with one rule leaves on the scouted images, alone."""

    attack: str
    rule: str
    standing: Share


class Question(_Part):
    """One of the five questions of Athalye et al. 2018; a yes is proof of masking, a no proves nothing."""

    name: str
    yes: bool
    evidence: str


class RuleReport(_Part):
    """How far the gradients of one rule can be trusted: means over the scouted images, each from 0 to 1."""

    rule: str
    zero_gradients: float = Field(description="Images whose gradient is exactly zero everywhere (Pintor I1).")
    zero_pixels: float = Field(description="Pixels whose gradient is exactly zero.")
    unstable: float = Field(description="Relative change of the loss over random directions (Pintor I2).")
    silent: float = Field(description="An earlier iterate succeeded although the last fails (Pintor I3).")
    rising: float = Field(description="Loss still rising at the end (Pintor I4).")
    surrogate_only: float | None = Field(
        description="Broken on the path the gradient took, not in the real forward pass (Pintor I5); null where "
        "both are one."
    )
    unbounded: float = Field(description="Images that stand without any bound (Pintor I6).")
    questions: list[Question]
    verdict: Verdict
    reasons: list[str]


class Scouting(_Part):
    """Every rule alone on the same few images, at one bound."""

    bound: str
    images: int
    cells: list[Cell]
    rules: list[RuleReport]
    kept: list[str] = Field(description="Rules that went on, the most successful first.")
    dropped: list[str] = Field(
        description="Rules that won no scouted image, or fewer than those that a preset keeps at most."
    )


class Conclusion(_Part):
    """The verdict in words, on the network's own gradient and on the audit's own number, with reasons."""

    own: Verdict
    own_reasons: list[str]
    audit: Verdict
    audit_reasons: list[str]
    sentence: str


class Layer(_Part):
    """Spikes of one layer / (neurons * T), clean and attacked at the headline bound."""

    name: str
    neurons: int
    clean: float
    attacked: float


class Picture(_Part):
    """One image beside its adversarial twin; PNGs in base64, 8 bits, the difference amplified around grey."""

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
    """What the audit spent: passes count images, so a pass over a batch of 200 is 200."""

    forward: int
    backward: int
    seconds: float


class Card(_Part):
    """One audit. Written to audit/card.json in a run folder."""

    schema_version: Literal[1] = 1  # raised where a field is removed or changes its meaning, not for a new one
    hiresnn: str
    date: str
    subject: Subject
    data: Images
    setting: Setting
    environment: dict[str, Any]
    clean: Share
    curve: list[Point] = Field(description="By bound, 0 first.")
    unbroken: list[int] = Field(description="Images that stand at the largest bound, by position.")
    attacks: list[AttackRow] = Field(description="In the order they ran.")
    scouting: Scouting
    conclusion: Conclusion
    activity: list[Layer] | None = Field(description="Null where the neurons are not hiresnn's.")
    gallery: list[Picture]
    budget: Budget

    def at(self, bound: str) -> Point:
        """The point of the curve at a bound."""
        return next(point for point in self.curve if point.bound == bound)
