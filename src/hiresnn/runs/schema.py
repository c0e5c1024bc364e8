"""The schema of a recipe: sections, types, ranges and defaults (those of the paper, sec. 5.1, if it has one)."""

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

from hiresnn.eps import format_eps, parse_eps
from hiresnn.errors import UsageError

Method: TypeAlias = Literal["ann", "traditional", "hire", "gaussian", "noise-free", "rate"]
METHOD_NAMES: tuple[str, ...] = get_args(Method)
PERIODIC_METHODS = ("hire", "gaussian", "noise-free")
SEEDS = 2**63
"""Number of seeds: torch takes 64 bits, and each stage of a training shuffles by a seed of its own."""
LONGEST_NAME = 128


def _eps(value: object) -> object:
    """Read a bound in pixel units, such as "8/255" or 0.03, with the parser of all bounds."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value  # the type of the field refuses it
    try:
        return parse_eps(value)
    except UsageError as error:
        raise ValueError(str(error).rstrip(".")) from None


def _fraction(value: float) -> float | str:
    text = format_eps(value)
    return text if "/" in text else value


def _increasing(values: tuple[float, ...]) -> tuple[float, ...]:
    if any(later <= earlier for earlier, later in pairwise(values)):
        raise ValueError("write fractions of the training that increase, such as [0.6, 0.8, 0.9]")
    return values


def _file_name(value: str) -> str:
    if value.startswith(".") or any(letter in "/\\:" or not letter.isprintable() for letter in value):
        raise ValueError("it names a folder in runs/: leave out slashes, colons, control characters and a leading dot")
    return value


# Upper limits exclude values that no training needs and that would overflow a number or exhaust the memory.
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_file_name)]
Positive: TypeAlias = Annotated[float, Field(gt=0, le=1e6)]
Rate: TypeAlias = Annotated[float, Field(gt=0, le=1e38)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0, le=1e6)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=10**9)]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=SEEDS)]
Size: TypeAlias = Annotated[int, Field(ge=1, le=10**6)]
Steps: TypeAlias = Annotated[int, Field(ge=1, le=10**4)]
UnitInterval: TypeAlias = Annotated[float, Field(ge=0, le=1)]
BelowOne: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Decay: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Noisy: TypeAlias = Annotated[float, BeforeValidator(_eps), Field(ge=0, le=1)]
Pixels: TypeAlias = Annotated[Noisy, PlainSerializer(_fraction, return_type=float | str)]
Milestones: TypeAlias = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False, max_length=100), AfterValidator(_increasing)
]


class Section(BaseModel):
    """Part of a recipe: unknown keys are refused, types are not converted, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(Section):
    """The images. `train_images = 0` takes all; `holdout_images` are never trained on."""

    source: Text
    train_images: Count = 0
    holdout_images: Count = 0
    augment: bool


class Model(Section):
    """The network. `width` scales the channels, `hidden` is the size of the hidden linear layers."""

    name: Text
    width: Annotated[float, Field(gt=0, le=1000)] = 1.0
    hidden: Size = 4096
    dropout: BelowOne = 0.2
    normalise: bool = True


class Ann(Section):
    """Training of the ANN by SGD; `lr` is multiplied by `decay` at each fraction in `milestones`."""

    epochs: Annotated[int, Field(ge=0, le=10**6)]
    batch_size: Size
    lr: Rate
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 5e-4
    milestones: Milestones = (0.625, 0.75, 0.875)
    decay: Decay = 0.1
    seed: Seed | None = None


class Conversion(Section):
    """From ANN to SNN: thresholds from the `percentile` of pre-activations, times `threshold_scale`."""

    images: Size = 512
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.7
    threshold_scale: Positive
    leak: UnitInterval = 1.0


class Snn(Section):
    """Training of the SNN with `timesteps` (T) steps per batch. `momentum` is for `optimizer = "sgd"`.

    `recompute` stores only each layer's input for the backward pass: less memory, more time, the same weights.
    """

    timesteps: Steps
    epochs: Annotated[int, Field(ge=0, le=10**6)]
    batch_size: Size
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Rate
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

    periods: Steps = 2
    step: Noisy
    bound: Noisy | None = None
    state: Literal["reset", "carry"] = "reset"

    @property
    def limit(self) -> float:
        """The bound of the noise, eps_t: `bound`, or `step` if there is none (the paper's choice)."""
        return self.step if self.bound is None else self.bound


class Attack(Section):
    """FGSM and PGD (Eq. 3, 4) in [0, 1]; PGD is evaluated once more at each bound in `extra_eps`."""

    eps: Pixels = 8 / 255
    step: Pixels = 0.01
    iterations: Annotated[int, Field(ge=0, le=10**6)] = 7
    random_start: bool = False
    extra_eps: Annotated[tuple[Pixels, ...], Field(strict=False, max_length=100)] = (2 / 255,)


class Recipe(Section):
    """Everything that decides the outcome of a run, except the content of the data and the machine."""

    name: Name
    seed: Seed = 0
    method: Method
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: Literal["auto", "always", "never"] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,3})?)$")] = "auto"
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
                f"noise.periods = {self.noise.periods} leaves no whole timestep per period of snn.timesteps = "
                f"{self.snn.timesteps}; take at most {self.snn.timesteps} periods or more timesteps"
            )
        return self
