"""Types of the values of a recipe: what each accepts, and the message for what it refuses."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from hiresnn.eps import format_eps, parse_eps
from hiresnn.errors import UsageError, closest
from hiresnn.plugins import offered

METHOD_NAMES = (
    "ann", "traditional", "hire", "gaussian", "noise-free", "rate", "converted", "nfgsm", "hire-nfgsm",
    "short", "twin", "memory", "free", "consistency", "rotating", "trades", "snn-rat", "sparse",
    "mppd-tv", "mpd-sgr",
)  # fmt: skip
"""Training methods of the package; plug-ins may add others."""
OWN_LOSS = ("consistency", "trades", "sparse", "mppd-tv", "mpd-sgr")
"""Methods with a loss of their own, which distillation would replace."""
PERIODIC_METHODS = ("hire", "gaussian", "noise-free", "hire-nfgsm", "consistency")
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


def _method(value: str) -> str:
    if value not in METHOD_NAMES and value not in offered("methods"):
        found = closest(value, (*METHOD_NAMES, *offered("methods")))
        raise ValueError(f"{found}, or install the package that offers it (docs/plugins.md)")
    return value


def _function(value: str) -> str:
    if not value.rpartition(":")[0]:
        raise ValueError(
            "write FILE.py:FUNCTION or MODULE:FUNCTION, such as mine.py:network or torchvision.models:resnet18 (a "
            "network of the package, such as vgg5, goes into model.name)"
        )
    return value


def _rounding(value: str) -> str:
    from hiresnn.exchange.rounding import ROUNDINGS, require_rounding

    try:
        require_rounding(value)
    except UsageError:
        raise ValueError(f"write {ROUNDINGS}") from None
    return value


# Upper limits exclude values that no training needs and that would overflow a number or exhaust the memory.
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=4096)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_file_name)]
Method: TypeAlias = Annotated[str, AfterValidator(_method), AfterValidator(_file_name)]
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
RoundingText: TypeAlias = Annotated[Text, AfterValidator(_rounding)]
Milestones: TypeAlias = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False, max_length=100), AfterValidator(_increasing)
]
Function: TypeAlias = Annotated[Text, AfterValidator(_function)]
Repeats: TypeAlias = Annotated[int, Field(ge=0, le=10**6)]
