"""Recipes: those of the package by name, a user's by file, changed by `key=value`, written back as TOML."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from hiresnn.app.schema import Recipe as Recipe
from hiresnn.errors import RecipeError, RunError, closest, quoted
from hiresnn.files import parse_toml, read_toml

SEMANTICS = 1
"""Version of the training semantics. Raise it when a change makes the same recipe train another network."""
LONGEST_CHAIN = 10
_SHELF = Path(__file__).parents[1] / "recipes"


def shipped() -> dict[str, str]:
    """Return the names of the recipes of the package, sorted, each with its one-line description."""
    # The first comment line of a recipe of the package is the command, the second the description.
    return {name: shipped_text(name).splitlines()[1].lstrip("# ") for name in sorted(_names())}


@cache
def _names() -> frozenset[str]:
    return frozenset(path.stem for path in _SHELF.glob("*.toml"))


def shipped_text(name: str) -> str:
    """Return the TOML text of a recipe of the package with its comments."""
    if name not in _names():
        raise RecipeError(f"no recipe of the package is called {quoted(name)}; {closest(name, list(shipped()))}.")
    return (_SHELF / f"{name}.toml").read_text(encoding="utf-8")


def text_of(name_or_path: str | Path) -> str:
    """Return the TOML text of a recipe of the package or of a file."""
    return _located(name_or_path)[0].read_text(encoding="utf-8")


def read(name_or_path: str | Path, context: str | None = None) -> Recipe:
    """Return a recipe of the package, or the recipe in a TOML file, completed from the recipe that it extends.

    In the context `schema.STORED`, that of a run folder, its method may be one that only version 0.2 has. Raises
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
    if name in _names():
        return _SHELF / f"{name}.toml", f'recipe of the package "{name}"'
    path = folder / name
    if path.is_dir():
        raise RecipeError(f"recipe {path} is a folder; name the TOML file in it, such as {path / 'recipe.toml'}.")
    if not path.is_file():
        raise RecipeError(
            f"no recipe file and no recipe of the package is called {quoted(name)}; {closest(name, list(shipped()))}."
        )
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
    message = first["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    for technical, plain in (
        ("a valid integer", "a whole number"),
        ("a valid boolean", "true or false"),
        ("a valid tuple", "a list, such as [0.6, 0.8]"),
        ("a valid dictionary or instance of", "a section of keys:"),
        ("a valid string", 'text in quotes, such as "name"'),
    ):
        message = message.replace(technical, plain)
    if first["type"] == "extra_forbidden":
        model: Any = Recipe.model_fields[str(section[0])].annotation if section else Recipe
        text = f"unknown key {key[:80]}; {closest(first['loc'][-1], model.model_fields)}"
    elif first["type"] == "missing":
        text = f"key {key} is missing; add it {f'under [{section[0]}]' if section else 'at the top'}"
    else:
        text = f"{key} = {quoted(first['input'])} is not allowed; {message}" if key else message
    others = sorted({".".join(map(str, problem["loc"])) for problem in problems} - {key})
    return f"{text} (wrong as well: {', '.join(others)[:200]})." if others else f"{text}."
