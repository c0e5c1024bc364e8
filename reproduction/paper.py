"""What the paper prints, number by number (claims.toml), and the words of the pages (texts.toml)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(name: str) -> dict[str, Any]:
    """The content of a TOML file beside this module."""
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


CLAIMS, TEXTS = read_toml("claims.toml"), read_toml("texts.toml")
HEADLINE = CLAIMS["headline"]


def printed(*path: str) -> float | None:
    """The number at `path` in claims.toml, None where the paper prints none.

    >>> printed("table1", "vgg5-cifar10", "rate", "black", "pgd"), printed("table1", "resnet12-cifar10", "rate")
    (16.0, None)
    """
    entry: Any = CLAIMS
    for name in path:
        entry = entry.get(name) if isinstance(entry, dict) else None
    return float(entry) if isinstance(entry, int | float) else None


def section(name: str) -> Any:
    """A text, or a section of texts, of texts.toml."""
    return reduce(getitem, name.split("."), TEXTS)


def text(name: str, **values: object) -> str:
    """A text of texts.toml, such as "fig9.caption", with its braces filled in."""
    return " ".join(section(name).split()).format(over_seeds=TEXTS["over_seeds"], **values)


VGG5, VGG11, DIGITS = "vgg5-cifar10", "vgg11-cifar100", "vgg5-mnist"
"""The networks that most figures are about, and the ANN through which Fig. 5a perturbs its digits."""
VGGS = (VGG5, VGG11)
PANEL_LABELS: dict[str, str] = section("labels.panel")
LABELS: dict[str | None, str] = {None: "clean", "fgsm": "FGSM", "pgd": "PGD"}
LABELS |= section("labels.box") | section("labels.method") | section("labels.name")
"""What the pages call an attack, a box, a method, a model and a data set."""
ATTACKS = ("fgsm", "pgd")


def network_labels(network: str) -> tuple[str, str]:
    """(model, data set), such as ("VGG5", "CIFAR-10"), of a key such as "vgg5-cifar10"."""
    model, _, dataset = network.partition("-")
    return LABELS[model], LABELS[dataset]


def network_label(network: str) -> str:
    """Such as "VGG5 on CIFAR-10"."""
    return " on ".join(network_labels(network))


def left_out(printed_networks: Iterable[str], present: Iterable[str]) -> list[str]:
    """A sentence on the networks of the paper that a page lacks; none if it has all."""
    missing = [network_label(network) for network in printed_networks if network not in set(present)]
    return [text("missing", networks=", ".join(missing))] if missing else []
