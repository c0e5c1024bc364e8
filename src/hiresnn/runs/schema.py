"""What a recipe may say: sections, types, ranges and defaults (the paper's, sec. 5.1, where it has one)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

Method: TypeAlias = Literal["ann", "traditional", "hire", "gaussian", "noise-free", "rate"]
METHOD_NAMES: tuple[str, ...] = get_args(Method)
PERIODIC_METHODS = ("hire", "gaussian", "noise-free")
SEEDS = 2**63
"""How many there are: torch takes 64 bits, and each stage of a training shuffles by one of its own."""


def _pixels(value: object) -> object:
    """Read a bound written as people write it, `"8/255"`, into a number."""
    if not isinstance(value, str):
        return value
    above, slash, below = value.partition("/")
    try:
        return float(above) / float(below) if slash else float(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError('write a number in [0, 1] or a fraction such as "8/255"') from None


def _fraction(value: float) -> float | str:
    levels = round(value * 255)
    return f"{levels}/255" if levels and levels / 255 == value else value


def _increasing(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError("write fractions of the training that increase, such as [0.6, 0.8, 0.9]")
    return values


Text: TypeAlias = Annotated[str, Field(min_length=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=0)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=SEEDS)]
AtLeastOne: TypeAlias = Annotated[int, Field(ge=1)]
UnitInterval: TypeAlias = Annotated[float, Field(ge=0, le=1)]
BelowOne: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Decay: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Pixels: TypeAlias = Annotated[
    float, BeforeValidator(_pixels), Field(ge=0, le=1), PlainSerializer(_fraction, return_type=float | str)
]
Milestones: TypeAlias = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False), AfterValidator(_increasing)
]


class Section(BaseModel):
    """Unknown keys are refused, types are not guessed, values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(Section):
    """Where images come from. `train_images = 0` takes all; `holdout_images` never enter training."""

    source: Text
    train_images: Count = 0
    holdout_images: Count = 0
    augment: bool


class Model(Section):
    """The network. `width` scales the channels, `hidden` is the size of the hidden linear layers."""

    name: Text
    width: Positive = 1.0
    hidden: AtLeastOne = 4096
    dropout: BelowOne = 0.2
    normalise: bool = True


class Ann(Section):
    """Training of the ANN by SGD; `lr` is multiplied by `decay` at each fraction in `milestones`."""

    epochs: Count
    batch_size: AtLeastOne
    lr: Positive
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 5e-4
    milestones: Milestones = (0.625, 0.75, 0.875)
    decay: Decay = 0.1
    seed: Seed | None = None


class Conversion(Section):
    """From ANN to SNN: thresholds from the `percentile` of pre-activations, times `threshold_scale`."""

    images: AtLeastOne = 512
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.7
    threshold_scale: Positive
    leak: UnitInterval = 1.0


class Snn(Section):
    """Training of the SNN over `timesteps` (T) steps a batch. `momentum` is for `optimizer = "sgd"`.

    `recompute` keeps only each layer's input for the backward pass: less memory, more time, the same weights.
    """

    timesteps: AtLeastOne
    epochs: Count
    batch_size: AtLeastOne
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Positive
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 0.0
    milestones: Milestones = (0.6, 0.8, 0.9)
    decay: Decay = 0.2
    reset: Literal["subtract", "subtract-unleaked"] = "subtract"
    encoding: Literal["direct", "poisson"] = "direct"
    train_neurons: bool = True
    surrogate_gamma: Positive = 0.3
    recompute: bool = False


class Noise(Section):
    """The periods (N) and the noise of Eq. 6 in pixel units: `step` is eps_s, `bound` is eps_t."""

    periods: AtLeastOne = 2
    step: NotNegative
    bound: NotNegative | None = None
    state: Literal["reset", "carry"] = "reset"

    @property
    def limit(self) -> float:
        """The noise bound in force: `bound`, or `step` where no bound is given (the paper's choice)."""
        return self.step if self.bound is None else self.bound


class Attack(Section):
    """FGSM and PGD (Eq. 3, 4) in [0, 1]; PGD is evaluated once more at each bound in `extra_eps`."""

    eps: Pixels = 8 / 255
    step: Pixels = 0.01
    iterations: Count = 7
    random_start: bool = False
    extra_eps: Annotated[tuple[Pixels, ...], Field(strict=False)] = (2 / 255,)


class Recipe(Section):
    """Everything that decides the outcome of a run, apart from the data's content and the machine."""

    name: Text
    seed: Seed = 0
    method: Method
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: Literal["auto", "always", "never"] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    data: Data
    model: Model
    ann: Ann
    conversion: Conversion
    snn: Snn
    noise: Noise
    attack: Attack

    @property
    def ann_seed(self) -> int:
        """The seed of the ANN's training: `ann.seed`, or the run's own."""
        return self.seed if self.ann.seed is None else self.ann.seed

    @model_validator(mode="after")
    def _every_period_has_a_step(self) -> Recipe:
        if self.method in PERIODIC_METHODS and self.snn.timesteps < self.noise.periods:
            raise ValueError(
                f"noise.periods = {self.noise.periods} leaves no whole step a period of snn.timesteps = "
                f"{self.snn.timesteps}; take at most {self.snn.timesteps} periods or more timesteps"
            )
        return self
