"""The numbers that the paper prints, read from claims.toml beside this file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class Claims(Mapping[str, Any]):
    """A section of the claims: entries by attribute or, where a name has a dash, by key.

    >>> claims().table1["vgg5-cifar10"].ann.white.fgsm
    13.3
    """

    def __init__(self, values: Mapping[str, Any], where: str = "claims") -> None:
        self._values, self._where = values, where

    def __getitem__(self, name: str) -> Any:
        value = self._values[name]
        return Claims(value, f"{self._where}.{name}") if isinstance(value, Mapping) else value

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{self._where} has no {name!r}; it has {', '.join(self._values)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Claims({dict(self._values)!r})"


@lru_cache(maxsize=1)
def claims() -> Claims:
    """All claims: `claims().fig7.memory_saving_max`."""
    return Claims(tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8")))


def printed(*path: str) -> float | None:
    """The number at `path`, None where the paper prints none.

    >>> printed("table1", "vgg5-cifar10", "rate", "black", "pgd"), printed("table1", "resnet12-cifar10", "rate")
    (16.0, None)
    """
    at: Any = claims()
    for name in path:
        if not isinstance(at, Mapping) or name not in at:
            return None
        at = at[name]
    return float(at) if isinstance(at, int | float) else None
