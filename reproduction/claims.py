"""The numbers that the paper prints, read from claims.toml beside this file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(name: str) -> dict[str, Any]:
    """The content of a TOML file of this package."""
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


class Claims(dict[str, Any]):
    """A section of the claims: entries by attribute or, where a name has a dash, by key.

    >>> claims().table1["vgg5-cifar10"].ann.white.fgsm
    13.3
    """

    def __init__(self, values: Mapping[str, Any], where: str = "claims") -> None:
        sections = {name: Claims(each, f"{where}.{name}") for name, each in values.items() if isinstance(each, dict)}
        super().__init__({**values, **sections})
        self._where = where

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"{self.__dict__.get('_where')} has no {name!r}; it has {', '.join(self)}")


@lru_cache(maxsize=1)
def claims() -> Claims:
    """All claims: `claims().fig7.memory_saving_max`."""
    return Claims(read_toml("claims.toml"))


def printed(*path: str) -> float | None:
    """The number at `path`, None where the paper prints none.

    >>> printed("table1", "vgg5-cifar10", "rate", "black", "pgd"), printed("table1", "resnet12-cifar10", "rate")
    (16.0, None)
    """
    at: Any = claims()
    for name in path:
        at = at.get(name) if isinstance(at, dict) else None
    return float(at) if isinstance(at, int | float) else None
