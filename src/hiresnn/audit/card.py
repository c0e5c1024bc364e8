"""The card: the result of an audit as one JSON file with a versioned schema.

Accuracies are in percent. A bound is an L-infinity radius in pixel units, written as text: "0.5/255", "8/255", or
"inf" for the attack that only [0, 1] limits; in an audit in L2, "L2 0.5". `python -m hiresnn.audit.card >
docs/card.schema.json` writes the schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from hiresnn.figures import new_figure
from hiresnn.files import read_json

REPEATED, BATCH, CONSTANT = "repeated calls", "batch order and size", "dependence on the image"
FINITE, PRECISION = "finite logits", "precision"
INPUT, WEIGHTS, ANSWERS = "input unchanged", "weights unchanged", "answers unchanged"
"""Names of checks, see `behaviour`."""

GradientVerdict = Literal["consistent", "inconclusive", "masked gradients likely"]
"""On one gradient rule: no sign of masking, some sign of a failed attack, or evidence of masking."""
Percent = Annotated[float, Field(ge=0, le=100)]
Verdict = Literal["agrees", "overestimated", "unreliable"]
"""On the paper's PGD: the worst case agrees with it, the worst case is lower, or no number can be reported."""
TOO_FEW = "too few images to say"
"""What an agreement is called that so few images cannot show."""
NO_DOUBT = "no attack and no check found a reason to doubt the paper's PGD"
LITTLE = 5.0  # percentage points: a gap that images must be able to show, and a fall below which a bound says little


class Part(BaseModel):
    """A part of a card: frozen, and without fields that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(Part):
    """`count` of `of` images, in percent, with its 95 % interval (Wilson)."""

    count: int = Field(ge=0)
    of: int = Field(ge=0)
    percent: Percent
    low: Percent
    high: Percent


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


def undecided(pgd: Share, worst: Share) -> bool:
    """Whether so few images leave it open that the paper's PGD misses more than `LITTLE` points."""
    return share(max(pgd.count - worst.count, 0), pgd.of).high > LITTLE


class Subject(Part):
    """The audited network."""

    name: str
    kind: Literal["run", "file", "function"]
    architecture: str = Field(description="Class of the network, or the name that its builder gives it.")
    library: str = Field(description="hiresnn, or the library of a foreign network.")
    method: str | None = Field(description="Training method of a run.")
    timesteps: int | None
    neurons: int | None = Field(description="Layers of spiking neurons whose backward pass the audit can replace.")
    random: bool = Field(description="Whether two passes over one image gave different logits.")
    draws: int = Field(description="Passes that the logits of an answer are averaged over; 1 unless random.")
    rounds: bool = Field(description="Whether the forward pass rounds, so that gradients were passed through it.")
    fingerprint: str | None = Field(description="SHA-256 of the weights and buffers.")


class Images(Part):
    """The images of the audit."""

    name: str
    split: str
    images: int
    classes: list[str]
    size: list[int] = Field(description="Channels, height, width.")


class Setting(Part):
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
    norm: Literal["linf", "l2"] = Field(
        default="linf", description="What the bounds limit: the change of each pixel, or its Euclidean length."
    )
    replaced: dict[str, str] = Field(
        default={}, description="Attacks of the preset without a form in this norm, and what ran in their place."
    )


class Check(Part):
    """One check of the network's behaviour."""

    name: str
    result: Literal["passed", "failed", "not checked"]
    detail: str


class Point(Part):
    """Accuracy at one bound."""

    bound: str
    eps: float | None = Field(description="In pixel units; null for the unbounded attack.")
    fgsm: Share = Field(description="The paper's FGSM, own gradient.")
    pgd: Share = Field(description="The paper's PGD, own gradient, last iterate.")
    noise: Share = Field(description="Random noise, the worst of its draws.")
    worst: Share = Field(description="The worst case per image over all attacks.")
    gradient: Share | None = Field(
        default=None, description="What attacks with gradients leave together; null in cards before version 0.3."
    )


class AttackRow(Part):
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


class Cell(Part):
    """Accuracy that one attack with one rule leaves on the screened images."""

    attack: str
    rule: str
    standing: Share


class Question(Part):
    """One of the five questions of Athalye et al. 2018; a yes is proof of masking, a no proves nothing."""

    name: str
    yes: bool
    evidence: str


class RuleReport(Part):
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


class Screening(Part):
    """Every rule alone on the same few images, at one bound."""

    bound: str
    images: int
    cells: list[Cell]
    rules: list[RuleReport]
    selected: list[str] = Field(description="Rules used in the attacks on all images, the most successful first.")
    dropped: list[str] = Field(description="Rules that were the best on too few images to be selected.")
    refused: dict[str, str] = Field(
        default={},
        description="Rules that a network with neurons cannot take, and why; {} in cards before version 0.3.",
    )


OWN_ALONE = "No gradient but the network's own could be followed."
"""The end of the headline of a network that takes no gradient rule."""


class Conclusion(Part):
    """The number to report, why, and the next command to run."""

    verdict: Verdict
    headline: str = Field(description="A sentence with the number to report.")
    reasons: list[str]
    next_step: str = Field(description="A command line or a sentence.")
    own: GradientVerdict = Field(description="Whether the network's own gradient can be trusted.")

    @property
    def own_alone(self) -> bool:
        """Whether attacks could follow no gradient but the network's own."""
        return self.headline.endswith(OWN_ALONE)


class Layer(Part):
    """Spikes of one layer / (neurons * T), clean and attacked at the headline bound."""

    name: str
    neurons: int
    clean: float
    attacked: float


class Picture(Part):
    """One image and its adversarial version; 8-bit PNGs in base64, the difference amplified around grey."""

    index: int = Field(description="Position among the audited images.")
    label: str
    predicted: str
    bound: str
    attack: str
    amplified: float
    searched: bool = Field(default=False, description="Only an attack without gradients broke it at this bound.")
    clean: str
    adversarial: str
    difference: str


class Voted(Part):
    """Accuracy of a random network over repeated draws."""

    vote: Share = Field(description="By majority vote over the draws.")
    mean: Percent = Field(description="Of a single draw, the mean over the draws.")
    spread: float = Field(description="Standard deviation of the accuracy of a single draw, in points.")


class Tried(Part):
    """Accuracy under the attack with gradients over up to so many draws."""

    draws: int
    vote: Percent
    mean: Percent


class Randomness(Part):
    """A random network over repeated draws, and how many draws its gradients needed."""

    votes: int = Field(description="Draws over which each accuracy is measured.")
    clean: Voted
    attacked: Voted = Field(
        description="At the headline bound: of each image the worst version that the attacks made up to that bound, "
        "chosen by other draws than it is measured with."
    )
    tried: list[Tried] = Field(description="Draws of a gradient, doubled until the accuracy stays.")
    tolerance: float = Field(description="Percentage points by which more draws may change the accuracy.")
    needed: int | None = Field(description="Draws of a gradient beyond which nothing changes; null: more than tried.")
    used: int = Field(description="Draws of a gradient in the attacks on all images.")

    @property
    def text(self) -> str:
        """The randomness in sentences."""
        clean, attacked = (
            f"{part.vote.percent:.1f} % by majority vote and {part.mean:.1f} % (sd {part.spread:.1f}) of single draws"
            for part in (self.clean, self.attacked)
        )
        return f"Random network, {self.votes} draws: clean {clean}; attacked {attacked}. {self.draws}"

    @property
    def draws(self) -> str:
        """How many draws a gradient needed, as a sentence."""
        first, last = self.tried[-2:]
        if self.needed is not None:
            return (
                f"Gradients over {self.needed} draws are enough: up to {last.draws} draws change the accuracy by "
                f"at most {self.tolerance:g} points."
            )
        return (
            f"The number of draws did not converge: from {first.draws} to {last.draws} draws of a gradient the "
            f"accuracy went from {first.mean:.1f} to {last.mean:.1f} % of single draws; more draws may leave less."
        )


class Corruptions(Part):
    """Accuracy on corrupted versions of the audited images, see `hiresnn.data.corrupt`; no attack."""

    seed: int
    accuracy: dict[str, Annotated[list[Percent], Field(min_length=5, max_length=5)]] = Field(
        description="Corruption -> percent at the five severities."
    )
    mean: Percent = Field(description="Over corruptions and severities.")


class Budget(Part):
    """The cost of the audit. Passes count images: a pass over a batch of 200 is 200."""

    forward: int
    backward: int
    seconds: float
    gradients_per_image: float | None = None
    seconds_per_image: float | None = None


class Longer(Part):
    """What a longer gradient search at the headline bound would find, extrapolated from its last half."""

    factor: float = Field(description="How many times as many gradients per image.")
    expected: int = Field(description="Images that it is expected to break beyond those broken, at most.")
    high: int = Field(description="The same with 95 % confidence (Poisson).")
    gradients: float = Field(description="Gradients per image of the search that was made, of an image that stands.")

    @property
    def text(self) -> str:
        """The estimate as a sentence."""
        breaks = f"break about {self.expected}" if self.expected else "probably break no"
        more = f"{breaks} more image{'s' * (self.expected != 1)} (at most {self.high})"
        return f"Estimate: a search {self.factor:.2g} times as long would {more}."


def inline(png: str, says: str, width: int = 56) -> str:
    """An image from its PNG in base64, as HTML."""
    style = f"width:{width}px;margin:2px;image-rendering:pixelated"
    return f'<img style="{style}" src="data:image/png;base64,{escape(png)}" alt="{says}">'


def notebook_view(
    headline: str, columns: Sequence[str], curve: Sequence[tuple[str, Share, Share]], pictures: Sequence[str]
) -> str:
    """What a notebook shows of a card: its headline, a table (worst case with its interval), and pictures as HTML."""
    rows = "".join(
        f"<tr><td>{at}</td><td>{worst.percent:.1f} ({worst.low:.1f}-{worst.high:.1f})</td>"
        f"<td>{other.percent:.1f}</td></tr>"
        for at, worst, other in curve
    )
    head = "".join(f"<th>{column}</th>" for column in columns)
    shown = "".join(f"{picture}<br>" for picture in pictures)
    return f"<p><b>{escape(headline)}</b></p><table><tr>{head}</tr>{rows}</table><p>{shown}</p>"


class Card(Part):
    """One audit, as card.json holds it."""

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
    searched: list[int] = Field(
        default=[],
        description="Positions of the images that only attacks without gradients broke at their smallest bound up to "
        "the headline; the Square search with which SA-PGD ends is such an attack.",
    )
    attacks: list[AttackRow] = Field(description="In the order they ran.")
    screening: Screening
    checks: list[Check]
    conclusion: Conclusion
    activity: list[Layer] | None = Field(description="Null if the neurons are not hiresnn's.")
    gallery: list[Picture]
    budget: Budget
    longer: Longer | None = Field(default=None, description="Null in cards before version 0.3.")
    corruptions: Corruptions | None = Field(default=None, description="Absent unless they were asked for.")
    random: Randomness | None = Field(default=None, description="Absent unless the network is random.")

    def at(self, bound: str) -> Point:
        """The point of the curve at a bound."""
        return next(point for point in self.curve if point.bound == bound)

    @property
    def worst(self) -> Share:
        """The number to report: the worst case at the headline bound, of a random network by majority vote."""
        return self.random.attacked.vote if self.random else self.at(self.setting.headline).worst

    @property
    def verdict(self) -> str:
        """The verdict on the paper's PGD, where an agreement that so few images cannot show is `TOO_FEW`."""
        agrees = self.conclusion.verdict == "agrees"
        return (
            TOO_FEW if agrees and undecided(self.at(self.setting.headline).pgd, self.worst) else self.conclusion.verdict
        )

    @property
    def remarks(self) -> list[str]:
        """What to know about the number: what these images and this bound cannot say, then the reasons."""
        point, reasons, cautions = self.at(self.setting.headline), self.conclusion.reasons, list[str]()
        clean = self.random.clean.vote if self.random else self.clean
        if self.verdict == TOO_FEW:
            missed = share(max(point.pgd.count - self.worst.count, 0), point.pgd.of)
            cautions.append(
                f"{missed.of} images are too few to say by how much the paper's PGD overestimates: it may be "
                f"{missed.low:.0f} to {missed.high:.0f} points"
            )
            reasons = [reason for reason in reasons if reason != NO_DOUBT]
        if self.conclusion.verdict != "unreliable" and clean.percent - self.worst.percent < LITTLE:
            cautions.append(
                f"at {point.bound} the worst case is less than {LITTLE:.0f} points below the clean accuracy, so this "
                "bound says little about the network; audit it at a larger one (--eps)"
            )
        return cautions + reasons

    def __repr__(self) -> str:
        worst = ", ".join(f"{point.worst.percent:.1f} % at {point.bound}" for point in self.curve[1:])
        return f"Card({self.subject.name}: clean {self.clean.percent:.1f} %, worst case {worst})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """What a notebook shows: the number to report, the curve, and up to six images, clean beside attacked."""
        pictures = [
            f"{inline(picture.clean, 'clean')}{inline(picture.adversarial, 'attacked')} "
            f"{escape(picture.label)} read as {escape(picture.predicted)} at {escape(picture.bound)}"
            for picture in self.gallery[:6]
        ]
        columns = ("bound", "worst case, %", "the paper's PGD, %")
        rows = [(escape(point.bound), point.worst, point.pgd) for point in self.curve]
        return notebook_view(self.conclusion.headline, columns, rows, pictures)

    def plot(self) -> Any:
        """Draw the curve as a `matplotlib.figure.Figure`: worst case with its 95 % interval, PGD, FGSM and noise."""
        figure = new_figure(6, 3.5)
        axes, bounds = figure.subplots(), [point.bound for point in self.curve]
        for name, title in (("worst", "worst case"), ("pgd", "the paper's PGD"), ("fgsm", "FGSM"), ("noise", "noise")):
            axes.plot(bounds, [getattr(point, name).percent for point in self.curve], marker="o", label=title)
        axes.fill_between(bounds, [p.worst.low for p in self.curve], [p.worst.high for p in self.curve], alpha=0.2)
        limited = "bound on each pixel" if self.setting.norm == "linf" else "bound on the image"
        axes.set(title=self.subject.name, xlabel=limited, ylabel="accuracy (%)", ylim=(-3, 103))  # markers whole
        axes.legend()
        return figure

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, content: SerializerFunctionWrapHandler) -> dict[str, Any]:
        absent = {name for name in ("corruptions", "random") if getattr(self, name) is None}
        return {name: part for name, part in content(self).items() if name not in absent}

    @model_validator(mode="after")
    def _headline_on_curve(self) -> Card:
        if self.setting.headline not in [point.bound for point in self.curve]:
            raise ValueError(f"its curve lacks the headline bound {self.setting.headline!r}")
        for point in self.curve:
            if point.eps and point.bound.startswith("L2 ") != (self.setting.norm == "l2"):
                raise ValueError(f"its bound {point.bound!r} is not one of the norm {self.setting.norm!r}")
        return self


def read_card(path: str | Path, remedy: str = "name a card.json of hiresnn audit, or audit again") -> Card:
    """Read card.json; RunError, a sentence that ends with `remedy`, if it is missing or no card."""
    return read_json(Path(path), Card, remedy=remedy)


if __name__ == "__main__":
    print(json.dumps(Card.model_json_schema(), indent=2))
