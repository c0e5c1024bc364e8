"""Turn what pydantic finds wrong into one sentence: where, which key, which value, and what to write instead."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from hiresnn.errors import LONGEST_VALUE, closest, quoted

MOST_NAMED = 5
"""Further faulty keys that a sentence names."""
_HINTS = {
    "greater_than": "it must be greater than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "value_error": "{error}",
    "literal_error": "it must be one of {expected}",
    "string_pattern_mismatch": "it must have the form {pattern}",
    "string_too_short": "it must not be empty",
    "string_too_long": "it must have at most {max_length} characters",
    "too_long": "it must have at most {max_length} entries",
    "string_unicode": "it must be UTF-8; rename the file or folder of this name",
    "finite_number": "it must be finite",
    "model_type": "it must be a section with keys of its own",
}
"""Kind of fault -> what to say, with pydantic's context filled in."""
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": 'text in quotes, such as "name"',
    "tuple": 'a list in brackets, such as [0.6, 0.8] or ["8/255"]',
    "dict": "a table of keys and values",
    "list": "a list",
}


def sentence(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Describe the first fault in `error`, found while validating `model`, and name the keys of the others.

    Args:
        where: opens the sentence and names the file or the option, for example `recipe file my.toml`.
    """
    faults = error.errors(include_url=False)
    # An unknown key is most likely the misspelled name of a missing one, so it comes first.
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    others = dict.fromkeys(".".join(str(part) for part in fault["loc"])[:40] for fault in faults if fault is not first)
    names = [*list(others)[:MOST_NAMED], "..."] if len(others) > MOST_NAMED else list(others)
    rest = f" (wrong as well: {', '.join(names)})" if names else ""
    text = f"{where}: {_fault(first, model)}{rest}"
    return text if text.endswith("?") else f"{text}."


def shown(value: object) -> str:
    """Return a value as TOML would write it, shortened if it is long."""
    if value is None:
        return "none"
    if not isinstance(value, str | bool | int | float):
        return quoted(value, LONGEST_VALUE)
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        return json.dumps(value[:LONGEST_VALUE], ensure_ascii=False) + f"... ({len(value):,} characters)"
    try:
        return json.dumps(value, ensure_ascii=False)
    except ValueError:  # an integer of more than 4,300 digits
        return quoted(value, LONGEST_VALUE)


def _fault(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    path, kind = [str(part) for part in fault["loc"]], str(fault["type"])
    key, context = ".".join(path), fault.get("ctx", {})
    key = key if len(key) <= LONGEST_VALUE else key[:LONGEST_VALUE] + "..."
    if kind == "extra_forbidden":
        return f"unknown key {key}; {closest(path[-1], list(_section(model, path[:-1]).model_fields))}"
    if kind == "missing":
        section = f"under [{'.'.join(path[:-1])}]" if path[:-1] else "at the top"
        return f"key {key} is missing; add it {section}"
    if not path and "error" in context:  # a rule across fields, which names them
        return str(context["error"])
    named = f"{key} = " if path else ""
    return f"{named}{shown(fault['input'])} is not allowed; {_hint(kind, context, fault['msg'])}"


def _hint(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _HINTS:
        return _HINTS[kind].format_map(context)
    expected = _TYPES.get(kind.partition("_")[0])
    return f"it must be {expected}" if expected else message


def _section(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel]:
    for name in path:
        inner = model.model_fields[name].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, BaseModel)
        model = inner
    return model
