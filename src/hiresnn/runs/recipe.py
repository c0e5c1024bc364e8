"""Recipes: shipped ones by name, a user's by file, changed by `key=value`, written back as TOML."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from hiresnn.errors import RecipeError
from hiresnn.runs.faults import closest, sentence
from hiresnn.runs.schema import METHOD_NAMES, Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SEMANTICS = 1
"""Version of the training semantics. Raise it when a change makes the same recipe train another network."""
_SHELF = Path(__file__).parents[1] / "recipes"

__all__ = [
    "METHOD_NAMES", "SEMANTICS", "Recipe", "digest", "dump", "flatten", "override", "parse", "read", "shipped",
    "shipped_text",
]  # fmt: skip


def shipped() -> dict[str, str]:
    """Names of the shipped recipes, sorted, each with its one-line description."""
    names = sorted(path.stem for path in _SHELF.glob("*.toml"))
    # The first comment line of a shipped recipe is the command, the second the description.
    return {name: shipped_text(name).splitlines()[1].lstrip("# ") for name in names}


def shipped_text(name: str) -> str:
    """The TOML text, comments included, of the shipped recipe `name`. Raises RecipeError if unknown."""
    entry = _SHELF / f"{name}.toml"
    if not entry.is_file():
        raise RecipeError(f'there is no shipped recipe "{name}"; {closest(name, list(shipped()))}.')
    return entry.read_text(encoding="utf-8")


def read(name_or_path: str | Path) -> Recipe:
    """The recipe of a shipped name, or in a TOML file.

    Raises RecipeError where there is neither, where the file is not TOML, and for every key or value that
    a recipe cannot have.
    """
    text = str(name_or_path)
    if text in shipped():
        return parse(shipped_text(text), f'shipped recipe "{text}"')
    path = Path(name_or_path)
    if path.is_dir():
        raise RecipeError(f"recipe {path} is a folder; name the TOML file in it, such as {path / 'recipe.toml'}.")
    if not path.is_file():
        raise RecipeError(f'there is no recipe file and no shipped recipe "{text}"; {closest(text, list(shipped()))}.')
    try:
        return parse(path.read_text(encoding="utf-8"), f"recipe file {path}")
    except UnicodeDecodeError:
        raise RecipeError(f"recipe file {path} is not UTF-8 text; write a recipe as TOML.") from None
    except OSError as error:
        raise RecipeError(f"recipe file {path} cannot be read: {error.strerror}; check its permissions.") from None


def parse(text: str, where: str) -> Recipe:
    """The recipe in TOML `text`; `where` names its origin in errors. Raises RecipeError."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        place = f"line {line.group(1)}" if line else "the last line"
        reason = str(error).partition(" (at ")[0]
        raise RecipeError(f"{where}, {place}: {reason}; mend the TOML there.") from None
    return _validated(values, where)


def override(recipe: Recipe, values: Mapping[str, str], where: str = "--set") -> Recipe:
    """`recipe` with dotted keys replaced: `{"snn.lr": "1e-3", "data.source": "cifar10"}`.

    A value is read as TOML; what is not TOML is text; `none` removes an optional value (`noise.bound`,
    `ann.seed`). Raises RecipeError for unknown keys and values out of range.
    """
    if not values:
        return recipe
    merged = recipe.model_dump()
    for key, text in values.items():
        *path, last = key.split(".")
        section: Any = merged
        for name in path:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise RecipeError(f"{where} {key}={text}: {name} is a value, not a section; set {name} itself.")
        section[last] = _value(text)
    return _validated(merged, where)


def dump(recipe: Recipe) -> str:
    """`recipe` as TOML with every value resolved; `read` of it gives an equal recipe."""
    return tomli_w.dumps(recipe.model_dump(exclude_none=True))


def digest(part: Mapping[str, Any]) -> str:
    """Return the key of stored runs and figures: 16 hexadecimal digits of SHA-256 over `part` and SEMANTICS.

    Keys are equal if and only if `part`, which must be JSON-able, and the training semantics are equal.
    """
    # Version one wrote keys without the semantics, which are those numbered 1: its runs and figures are still found.
    keyed = dict(part) if SEMANTICS == 1 else {**part, "semantics": SEMANTICS}
    text = json.dumps(keyed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def flatten(recipe: Recipe) -> dict[str, Any]:
    """Return the values of `recipe` by dotted key, such as "snn.lr", in the order of the sections."""

    def flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        for key, value in values.items():
            pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        return pairs

    return flat(recipe.model_dump(), "")


def _validated(values: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(sentence(error, Recipe, where)) from None


def _value(text: str) -> object:
    if text.strip().lower() == "none":
        return None
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return values["value"] if len(values) == 1 else text
