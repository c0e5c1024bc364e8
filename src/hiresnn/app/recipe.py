"""Recipes: those of the package by name, a user's by file, changed by `key=value`, written back as TOML."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from hiresnn.app.faults import sentence, shown
from hiresnn.app.schema import Recipe
from hiresnn.errors import RecipeError, closest, quoted

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SEMANTICS = 1
"""Version of the training semantics. Raise it when a change makes the same recipe train another network."""
LONGEST_FILE = 2**20
"""Bytes of a recipe file; a recipe has about 3,000."""
LONGEST_CHAIN = 10
_SHELF = Path(__file__).parents[1] / "recipes"

__all__ = [
    "SEMANTICS", "Recipe", "changed", "digest", "dump", "flatten", "override", "parse", "read",
    "shipped", "shipped_text", "stated_keys",
]  # fmt: skip


def shipped() -> dict[str, str]:
    """Return the names of the recipes of the package, sorted, each with its one-line description."""
    # The first comment line of a recipe of the package is the command, the second the description.
    return {name: shipped_text(name).splitlines()[1].lstrip("# ") for name in sorted(_names())}


@cache
def _names() -> frozenset[str]:
    return frozenset(path.stem for path in _SHELF.glob("*.toml"))


def shipped_text(name: str) -> str:
    """Return the TOML text, comments included, of a recipe of the package. Raises RecipeError if there is none."""
    if name not in _names():
        raise RecipeError(f"no recipe of the package is called {quoted(name)}; {closest(name, list(shipped()))}.")
    return (_SHELF / f"{name}.toml").read_text(encoding="utf-8")


def text_of(name_or_path: str | Path) -> str:
    """Return the TOML text of a recipe of the package, or of a file. Raises RecipeError if there is neither."""
    return _source(str(name_or_path))[0]


def read(name_or_path: str | Path) -> Recipe:
    """Return a recipe of the package, or the recipe in a TOML file, completed from the recipe that it extends.

    Raises:
        RecipeError: there is no such recipe, the file is not TOML, or a key or value is not allowed.
    """
    return parse(*_source(str(name_or_path)))


def parse(text: str, where: str, folder: Path = Path()) -> Recipe:
    """Return the recipe in TOML `text`; `where` names its origin in errors. Raises RecipeError.

    A file that it extends is found relative to `folder`.
    """
    return _validated(_completed(_toml(text, where), where, folder), where)


def override(recipe: Recipe, values: Mapping[str, str], where: str = "--set") -> Recipe:
    """Return `recipe` with dotted keys replaced as by `changed`: `{"snn.lr": "1e-3", "data.source": "cifar10"}`.

    A value is read as TOML. Anything that is not TOML is text, and `none` is None.
    """
    return changed(recipe, {key: _value(text) for key, text in values.items()}, where)


def changed(recipe: Recipe, values: Mapping[str, object], where: str = "--set") -> Recipe:
    """Return `recipe` with dotted keys replaced: `{"snn.lr": 1e-3, "data.source": "cifar10"}`.

    None removes an optional value (`noise.bound`, `ann.seed`).

    Raises:
        RecipeError: an unknown key or a value that is not allowed.
    """
    if not values:
        return recipe
    merged = recipe.model_dump()
    if values.get("model.name") is not None and "model.source" not in values:
        merged["model"]["source"] = None  # a name takes the place of the user's own network
    for key, value in values.items():
        *path, last = key.split(".")
        section: Any = merged
        for name in path:
            section = section.setdefault(name, {})
            if not isinstance(section, dict):
                raise RecipeError(
                    f"{where} {quoted(key)}: {quoted(name)} is a value, not a section; set {quoted(name)} itself."
                )
        section[last] = value
    return _validated(merged, where)


def dump(recipe: Recipe) -> str:
    """Return `recipe` as TOML with every value resolved; `parse` of it gives an equal recipe."""
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
    return _flat(recipe.model_dump(), "")


def stated_keys(name_or_path: str) -> set[str]:
    """Return the dotted keys that a user's recipe file states itself; none for a recipe of the package."""
    if name_or_path in _names():
        return set()
    text, where, _ = _source(name_or_path)
    return set(_flat(_toml(text, where), ""))


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for key, value in values.items():
        pairs |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return pairs


def _source(name_or_path: str, folder: Path = Path()) -> tuple[str, str, Path]:
    """Return the text of a recipe, where it comes from, and the folder that its `extends` is relative to."""
    if name_or_path in _names():
        return shipped_text(name_or_path), f'recipe of the package "{name_or_path}"', Path()
    path = folder / name_or_path
    try:
        if path.is_dir():
            raise RecipeError(f"recipe {path} is a folder; name the TOML file in it, such as {path / 'recipe.toml'}.")
        if not path.is_file():
            raise RecipeError(
                f"no recipe file and no recipe of the package is called {quoted(name_or_path)}; "
                f"{closest(name_or_path, list(shipped()))}."
            )
        if path.stat().st_size > LONGEST_FILE:
            raise RecipeError(f"recipe file {path} is larger than {LONGEST_FILE:,} bytes; name a recipe.")
        return path.read_text(encoding="utf-8"), f"recipe file {path}", path.parent
    except UnicodeDecodeError:
        raise RecipeError(f"recipe file {path} is not UTF-8 text; write a recipe as TOML.") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"recipe {quoted(name_or_path)} cannot be read: {reason}; check name and permissions."
        ) from None


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found, lines = re.search(r"at line (\d+)", str(error)), text.splitlines() or [""]
        place, line = (f"line {found[1]}", lines[int(found[1]) - 1]) if found else ("the last line", lines[-1])
        reason = str(error).partition(" (at ")[0]
        raise RecipeError(
            f"{where}, {place} is no TOML: {quoted(line.strip())} ({reason}); write KEY = VALUE, with texts and "
            'fractions in quotes, such as step = "8/255".'
        ) from None
    except ValueError:
        raise RecipeError(f"{where}: a number has thousands of digits; write a shorter one.") from None
    except RecursionError:
        raise RecipeError(f"{where}: values are nested too deeply; a recipe has sections of single values.") from None


def _completed(values: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """Return `values` over those of the recipe that they extend, which may extend another."""
    chain = [values]
    while "extends" in chain[-1]:
        base = chain[-1].pop("extends")
        if not isinstance(base, str):
            raise RecipeError(f"{where}: extends = {shown(base)} is not allowed; name a recipe in quotes.")
        if len(chain) > LONGEST_CHAIN:
            raise RecipeError(f"{where}: more than {LONGEST_CHAIN} recipes extend each other, last {quoted(base)}.")
        text, where, folder = _source(base, folder)
        chain.append(_toml(text, where))
    complete = chain.pop()
    for each in reversed(chain):
        for key, value in each.items():
            below = complete.get(key)
            complete[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return complete


def _validated(values: Mapping[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(sentence(error, Recipe, where)) from None


def _value(text: str) -> object:
    """Read a value of `--set` as TOML, or else as text."""
    if text.strip().lower() == "none":
        return None
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if len(values) == 1 else text
