"""Recipes: their schema, reading by name or from a file, changes by `key=value`, and writing as TOML.

Defaults are those of the paper, sec. 5.1, if it has one; docs/recipes.md says what each key means.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from hiresnn.calls import format_eps, parse_eps
from hiresnn.errors import RecipeError, RunError, UsageError, closest, quoted
from hiresnn.files import parse_toml, read_text, read_toml
from hiresnn.training.methods import METHODS, REMOVED, instead_of

SEMANTICS = 1
"""Version of the training semantics. Raise it when a change makes the same recipe train another network."""
LONGEST_CHAIN = 10
_SHELF = Path(__file__).parents[1] / "recipes"
SEEDS = 2**63
"""Number of seeds: torch takes 64 bits, and each stage of a training shuffles by a seed of its own."""
LONGEST_NAME = 128
COUNTS = ("data.train_images", "data.holdout_images")
STORED = "stored"
"""Context in which the recipe of a run of version 0.2 may name a method that was removed since."""
ADDED = {
    "data": {"size"},
    "model": {"batch_norm", "source", "weights"},
    "ann": {
        "schedule",
        "training",
        "eps",
        "label_smoothing",
        "average",
        "select",
        "activation",
        "levels",
        "craft_in_eval",
        "craft_loss",
        "quantise_from",
        "pgd_from",
    },
    "conversion": {"start", "rescale", "wait", "exact"},
    "snn": {"condition", "distil", "average", "rounding"},
}
"""Keys that version one did not have: at their defaults they are not part of the key of a stored run."""


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
    if list(values) != sorted(set(values)):
        raise ValueError("write fractions of the training that increase, such as [0.6, 0.8, 0.9]")
    return values


def _file_name(value: str) -> str:
    if value.startswith(".") or any(letter in "/\\:" or not letter.isprintable() for letter in value):
        raise ValueError("it names a folder in runs/: leave out slashes, colons, control characters and a leading dot")
    return value


def _method(value: str, info: Any) -> str:
    if (remedy := instead_of(value)) and not (info.context == STORED and value in REMOVED):
        raise ValueError(remedy)
    return value


def _normalisation(value: object) -> object:
    if not isinstance(value, bool) and value != "symmetric":  # a Literal takes 1 for true
        raise ValueError('write true, false or "symmetric"')
    return value


def _rounding(value: str) -> str:
    from hiresnn.exchange.deployed import ROUNDINGS, require_rounding

    try:
        require_rounding(value)
    except UsageError:
        raise ValueError(f"write {ROUNDINGS}") from None
    return value


Text: TypeAlias = Annotated[str, Field(min_length=1)]
Normalisation: TypeAlias = Annotated[Literal[True, False, "symmetric"], BeforeValidator(_normalisation)]
ModelName: TypeAlias = Literal["vgg5", "vgg11", "vgg16", "vgg16-4pools", "resnet12", "resnet9"]
Count: TypeAlias = Annotated[int, Field(ge=0, lt=SEEDS)]
# These sizes are bounded because a larger one overflows a number of 64 bits or never ends.
Size: TypeAlias = Annotated[int, Field(ge=1, le=10**6)]
Steps: TypeAlias = Annotated[int, Field(ge=1, le=10**4)]
Width: TypeAlias = Annotated[float, Field(gt=0, le=1000)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
UnitInterval: TypeAlias = Annotated[float, Field(ge=0, le=1)]
BelowOne: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Decay: TypeAlias = Annotated[float, Field(gt=0, le=1)]
Noisy: TypeAlias = Annotated[float, BeforeValidator(_eps), Field(ge=0, le=1)]
Pixels: TypeAlias = Annotated[Noisy, PlainSerializer(_fraction, return_type=float | str)]
Milestones: TypeAlias = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(strict=False), AfterValidator(_increasing)
]


class Section(BaseModel):
    """Part of a recipe: unknown keys are refused, types are not converted, values do not change."""

    model_config = {"extra": "forbid", "frozen": True, "strict": True, "allow_inf_nan": False}


class Data(Section):
    """Section data: the images; `train_images = 0` takes all."""

    source: Text
    size: Annotated[int, Field(ge=1, le=4096)] | None = None
    train_images: Count = 0
    holdout_images: Count = 0
    augment: bool


class Model(Section):
    """Section model: a network of the package by `name`, or the user's, FILE.py:FUNCTION or MODULE:FUNCTION."""

    name: ModelName | None = None
    source: Text | None = None
    weights: Text | None = None
    width: Width = 1.0
    hidden: Size = 4096
    dropout: BelowOne = 0.2
    batch_norm: bool = False
    normalise: Normalisation = True

    @model_validator(mode="before")
    @classmethod
    def _own_network_has_no_name(cls, values: Any) -> Any:
        own = isinstance(values, dict) and values.get("source") is not None
        return {**values, "name": None} if own else values

    @property
    def label(self) -> str:
        """The name for titles and folders: `name`, or that of the user's function."""
        if self.source is None:
            return str(self.name)
        module, _, function = self.source.rpartition(":")
        stem = re.split(r"[/\\]", module)[-1]
        text = f"{stem[:-3]}-{function}" if module.endswith(".py") else function
        return re.sub(r"[^\w.-]", "_", text)[:LONGEST_NAME] or "network"


class Ann(Section):
    """Section ann: training of the ANN by SGD."""

    epochs: Count
    batch_size: Size
    lr: Positive
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 5e-4
    milestones: Milestones = (0.625, 0.75, 0.875)
    decay: Decay = 0.1
    schedule: Literal["steps", "cyclic"] = "steps"
    training: Literal["plain", "gaussian", "fgsm", "n-fgsm", "pgd", "trades"] = "plain"
    eps: Pixels = 8 / 255
    label_smoothing: BelowOne = 0.0
    average: BelowOne = 0.0
    select: Literal["last", "robust"] = "last"
    activation: Literal["relu", "qcfs"] = "relu"
    levels: Steps = 8
    craft_in_eval: bool = False
    craft_loss: Literal["cross-entropy", "margin"] = "cross-entropy"
    quantise_from: BelowOne = 0.0
    pgd_from: UnitInterval = 1.0
    seed: Count | None = None


class Conversion(Section):
    """Section conversion: thresholds from the `percentile` of pre-activations, times `threshold_scale`."""

    images: Size = 512
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.7
    threshold_scale: Positive
    leak: UnitInterval = 1.0
    start: BelowOne = 0.0
    rescale: bool = False
    wait: bool = False
    exact: bool = False


class Snn(Section):
    """Section snn: training of the SNN with `timesteps` (T) steps per batch."""

    timesteps: Steps
    epochs: Count
    batch_size: Size
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: Positive
    momentum: BelowOne = 0.9
    weight_decay: NotNegative = 0.0
    milestones: Milestones = (0.6, 0.8, 0.9)
    decay: Decay = 0.2
    reset: Literal["subtract", "subtract-unleaked", "zero"] = "subtract"
    condition: Literal[">", ">="] = ">"
    encoding: Literal["direct", "poisson"] = "direct"
    train_neurons: bool = True
    surrogate_gamma: Positive = 0.3
    recompute: bool = False
    distil: UnitInterval = 0.0
    average: BelowOne = 0.0
    rounding: Annotated[str, AfterValidator(_rounding)] | None = None


class Noise(Section):
    """Section noise: the periods (N) and the noise of Eq. 6 in pixel units: `step` is eps_s, `bound` is eps_t."""

    periods: Steps = 2
    step: Noisy
    bound: Noisy | None = None
    state: Literal["reset", "carry"] = "reset"

    @property
    def limit(self) -> float:
        """The bound of the noise, eps_t: `bound`, or `step` if there is none (the paper's choice)."""
        return self.step if self.bound is None else self.bound


class Attack(Section):
    """Section attack: FGSM and PGD (Eq. 3, 4) in [0, 1]; PGD is evaluated once more at each of `extra_eps`."""

    eps: Pixels = 8 / 255
    step: Pixels = 0.01
    iterations: Count = 7
    random_start: bool = False
    extra_eps: Annotated[tuple[Pixels, ...], Field(strict=False)] = (2 / 255,)


class Recipe(Section):
    """Everything that decides the outcome of a run, except the content of the data and the machine."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), AfterValidator(_file_name)]
    seed: Count = 0
    method: Annotated[str, AfterValidator(_method)]
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

    @property
    def snn_epochs(self) -> int:
        """The epochs of the SNN's training: none for the method "converted"."""
        return 0 if self.method == "converted" else self.snn.epochs

    def keyed(self, **options: Any) -> dict[str, Any]:
        """Return the JSON values from which a key is made; `options` are those of `model_dump`."""
        values = self.model_dump(mode="json", **options)
        for section, names in ADDED.items():
            given: Section = getattr(self, section)
            for name in names & values.get(section, {}).keys():
                if getattr(given, name) == type(given).model_fields[name].default:
                    del values[section][name]
        return values

    @model_validator(mode="after")
    def _values_fit_together(self) -> Recipe:
        method, model, ann, snn, periods = METHODS.get(self.method), self.model, self.ann, self.snn, self.noise.periods
        if model.name is None and model.source is None:
            raise ValueError("model has neither a name nor a source; name a network of the package, or your own")
        if ann.select == "robust" and not self.data.holdout_images:
            raise ValueError('ann.select = "robust" needs held-out images; set data.holdout_images, such as 1000')
        if ann.activation == "qcfs" and not self.conversion.rescale:
            raise ValueError('ann.activation = "qcfs" learns thresholds as activations; set conversion.rescale = true')
        if ann.activation == "qcfs" and model.source is not None:
            raise ValueError('ann.activation = "qcfs" is for networks of the package; use hiresnn.models.QCFS in yours')
        if snn.distil and method is not None and method.loss:
            raise ValueError(f"snn.distil would replace the loss of method {self.method}; set it to 0")
        if snn.recompute and self.method == "mpd-sgr":
            raise ValueError("snn.recompute does not store the membranes that method mpd-sgr needs; set it to false")
        if method is not None and method.periodic and snn.timesteps < periods:
            raise ValueError(f"noise.periods = {periods} leaves no timestep of {snn.timesteps} to a period; take fewer")
        return self


def shipped() -> dict[str, str]:
    """Return the names of the recipes of the package, sorted, each with its description, the second line."""
    return {name: shipped_text(name).splitlines()[1].lstrip("# ") for name in names()}


@cache
def names() -> tuple[str, ...]:
    """Return the names of the recipes of the package, sorted."""
    return tuple(sorted(path.stem for path in _SHELF.glob("*.toml")))


def shipped_text(name: str) -> str:
    """Return the TOML text of a recipe of the package with its comments."""
    if name not in names():
        raise RecipeError(f"no recipe of the package is called {quoted(name)}; {closest(name, names())}.")
    return (_SHELF / f"{name}.toml").read_text(encoding="utf-8")


def text_of(name_or_path: str | Path) -> str:
    """Return the TOML text of a recipe of the package or of a file."""
    path, source = _located(name_or_path)
    return read_text(path, name=source, error=RecipeError)


def read(name_or_path: str | Path, context: str | None = None) -> Recipe:
    """Return a recipe of the package, or the recipe in a TOML file, completed from the recipe that it extends.

    In the context `STORED`, that of a run folder, its method may be one that only version 0.2 has. Raises
    RecipeError if there is no such recipe, the file is not TOML, or a key or value is not allowed.
    """
    path, source = _located(name_or_path)
    return _validated(_completed(read_toml(path, name=source, error=RecipeError), source, path.parent), source, context)


def override(recipe: Recipe, values: Mapping[str, str], source: str = "--set") -> Recipe:
    """Return `recipe` with dotted keys replaced as by `changed`: `{"snn.lr": "1e-3", "data.source": "cifar10"}`.

    A value is read as TOML. Anything that is not TOML is text, and `none` is None.
    """
    return changed(recipe, {key: _value(text) for key, text in values.items()}, source)


def changed(recipe: Recipe, values: Mapping[str, object], source: str = "--set") -> Recipe:
    """Return `recipe` with dotted keys replaced: `{"snn.lr": 1e-3, "data.source": "cifar10"}`.

    None removes an optional value (`noise.bound`, `ann.seed`). `source` names the origin of the values in errors.
    """
    if not values:
        return recipe
    merged = recipe.model_dump()
    if values.get("model.name") is not None and "model.source" not in values:
        merged["model"]["source"] = None  # a name takes the place of the user's own network
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        target = merged.setdefault(section, {}) if section else merged
        if not isinstance(target, dict):
            raise RecipeError(f"{source}: {section} is a value, not a section; set {section} itself.")
        target[name] = value
    return _validated(merged, source)


def dump(recipe: Recipe) -> str:
    """Return `recipe` as TOML with every value resolved; `read` of it gives an equal recipe."""
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))


def digest(part: Mapping[str, Any]) -> str:
    """Return the key of stored runs and figures: 16 hexadecimal digits of SHA-256 over the JSON values of `part`."""
    # The semantics are part of it; keys without them are those of semantics 1, so that stored runs are found.
    keyed = part if SEMANTICS == 1 else {**part, "semantics": SEMANTICS}
    text = json.dumps(keyed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(recipe: Recipe | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of a recipe by dotted key, such as "snn.lr", in the order of the sections."""
    pairs: dict[str, Any] = {}
    for key, value in (recipe.model_dump() if isinstance(recipe, Recipe) else recipe).items():
        pairs |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return pairs


def stated_keys(name_or_path: str) -> set[str]:
    """Return the dotted keys that a user's recipe file states itself; none for a recipe of the package."""
    path, source = _located(name_or_path)
    return set() if path.parent == _SHELF else set(flatten(read_toml(path, name=source, error=RecipeError)))


def _located(name_or_path: str | Path, folder: Path = Path()) -> tuple[Path, str]:
    """Return the path of a recipe of the package or of a file relative to `folder`, and its name in errors."""
    name = str(name_or_path)
    if name in names():
        return _SHELF / f"{name}.toml", f'recipe of the package "{name}"'
    path = folder / name
    if path.is_dir():
        raise RecipeError(f"recipe {path} is a folder; name the TOML file in it, such as {path / 'recipe.toml'}.")
    if not path.is_file():
        raise RecipeError(f"no file and no recipe of the package is called {quoted(name)}; {closest(name, names())}.")
    return path, f"recipe file {path}"


def _completed(values: dict[str, Any], source: str, folder: Path, depth: int = 0) -> dict[str, Any]:
    """Return `values` over those of the recipe that they extend, which may extend another."""
    base = values.pop("extends", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise RecipeError(f"{source}: extends = {quoted(base)} is not allowed; name a recipe in quotes.")
    if depth == LONGEST_CHAIN:
        raise RecipeError(f"{source}: more than {LONGEST_CHAIN} recipes extend each other, last {quoted(base)}.")
    path, base_source = _located(base, folder)
    base_values = read_toml(path, name=base_source, error=RecipeError)
    complete = _completed(base_values, base_source, path.parent, depth + 1)
    for key, value in values.items():
        section = complete.get(key)
        complete[key] = {**section, **value} if isinstance(section, dict) and isinstance(value, dict) else value
    return complete


def _value(text: str) -> object:
    """Read a value of `--set` as TOML, or else as text."""
    if text.strip().lower() == "none":
        return None
    try:
        values = parse_toml(f"value = {text}", "--set")
    except RunError:
        return text
    return values["value"] if len(values) == 1 else text


def _validated(values: Mapping[str, Any], source: str, context: str | None = None) -> Recipe:
    try:
        return Recipe.model_validate(values, context=context)
    except ValidationError as error:
        raise RecipeError(f"{source}: {_sentence(error)}") from None


def _sentence(error: ValidationError) -> str:
    """Describe the first problem of a recipe, and name the keys of the others."""
    problems = error.errors(include_url=False)
    # An unknown key is most likely the misspelled name of a missing one, so it comes first.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    section, key = first["loc"][:-1], ".".join(map(str, first["loc"]))
    plain = {
        "int_type": "a whole number", "bool_type": "true or false", "tuple_type": "a list, such as [0.6, 0.8]",
        "model_type": "a section of keys", "string_type": 'text in quotes, such as "name"',
    }  # fmt: skip
    technical = first["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    message = f"it must be {plain[first['type']]}" if first["type"] in plain else technical
    if first["type"] == "extra_forbidden":
        model: Any = Recipe.model_fields[str(section[0])].annotation if section else Recipe
        text = f"unknown key {key[:80]}; {closest(first['loc'][-1], model.model_fields)}"
    elif first["type"] == "missing":
        text = f"key {key} is missing; add it {f'under [{section[0]}]' if section else 'at the top'}"
    else:
        text = f"{key} = {quoted(first['input'])} is not allowed; {message}" if key else message
    others = sorted({".".join(map(str, problem["loc"])) for problem in problems} - {key})
    return f"{text} (wrong as well: {', '.join(others)[:200]})." if others else f"{text}."
