"""From what pydantic found wrong in a recipe to one sentence: where, which key, which value, the mend."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

_RANGES = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": 'text in quotes, such as "name"',
    "tuple": "a list, such as [0.6, 0.8, 0.9]",
}


def sentence(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Describe the first fault in `error`, found while validating `model`, and count the others.

    `where` opens the sentence and names the file or the option, for example `recipe file my.toml`.
    """
    faults = error.errors(include_url=False)
    # An unknown key is most likely the cause of the missing one, so it is named first.
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    rest = f" ({len(faults) - 1} more to mend after this one)" if len(faults) > 1 else ""
    return f"{where}: {_fault(first, model)}{rest}."


def closest(word: str, known: Sequence[str]) -> str:
    """The mend for a misspelled `word`: `did you mean "x"? ` where one is near, and all that is known."""
    near = difflib.get_close_matches(word, known, n=1)
    guess = f'did you mean "{near[0]}"? ' if near else ""
    return f"{guess}known are {', '.join(known)}"


def _fault(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    path, kind = [str(part) for part in fault["loc"]], str(fault["type"])
    key, context = ".".join(path), fault.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key {key}; {closest(path[-1], list(_section(model, path[:-1]).model_fields))}"
    if kind == "missing":
        section = f"under [{'.'.join(path[:-1])}]" if path[:-1] else "at the top"
        return f"key {key} is missing; add it {section}"
    if not path:  # a rule across fields, which names its own
        return str(context["error"])
    return f"{key} = {_shown(fault['input'])} is not allowed; {_mend(kind, context, fault['msg'])}"


def _mend(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _RANGES:
        name, words = _RANGES[kind]
        return f"it must be {words} {context[name]}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"it must be one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"it must have the form {context['pattern']}"
    if kind == "string_too_short":
        return "it must not be empty"
    if kind == "string_unicode":
        return "it must be UTF-8; rename the file or folder of this name"
    if kind == "finite_number":
        return "it must be finite"
    if kind == "model_type":
        return "it must be a section with keys of its own"
    expected = _TYPES.get(kind.partition("_")[0])
    return f"it must be {expected}" if expected else message


def _section(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    for name in path:
        inner = model.model_fields[name].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return model


def _shown(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)
