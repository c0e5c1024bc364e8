"""How networks, boxes and methods are called on the pages, and the texts of texts.toml."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from reproduction.claims import read_toml
from reproduction.measurements import Run
from reproduction.scales import Scale

VGG5, VGG11, DIGITS = "vgg5-cifar10", "vgg11-cifar100", "vgg5-mnist"
"""The networks that most figures are about, and the ANN through which Fig. 5a perturbs its digits."""

_TEXTS = read_toml("texts.toml")


def section(name: str) -> Any:
    """A text, or a section of texts, of texts.toml, as it is."""
    return reduce(getitem, name.split("."), _TEXTS)


def text(name: str, **values: object) -> str:
    """A text of texts.toml, such as "fig9.caption", with its braces filled in."""
    return " ".join(section(name).split()).format(over_seeds=_TEXTS["over_seeds"], **values)


NAMES: dict[str, str] = section("labels.name")
BOX_LABELS: dict[str, str] = section("labels.box")
PANEL_LABELS: dict[str, str] = section("labels.panel")
METHOD_LABELS: dict[str, str] = section("labels.method")
ATTACKS = ("fgsm", "pgd")
ATTACK_LABELS = {None: "clean", "fgsm": "FGSM", "pgd": "PGD"}


def network_labels(network: str) -> tuple[str, str]:
    """(model, data set) of the paper, such as ("VGG5", "CIFAR-10"), for a key such as "vgg5-cifar10"."""
    model, _, dataset = network.partition("-")
    return NAMES.get(model, model), NAMES.get(dataset, dataset)


def network_label(network: str) -> str:
    """Such as "VGG5 on CIFAR-10"."""
    return " on ".join(network_labels(network))


def left_out(wanted: Iterable[str], present: Iterable[str]) -> list[str]:
    """A sentence on the networks of the paper that a page lacks; none if it has all."""
    missing = [network_label(network) for network in wanted if network not in set(present)]
    return [text("missing", networks=", ".join(missing))] if missing else []


def setting_notes(scale: Scale, networks: Iterable[str], *methods: str) -> list[str]:
    """One sentence per network on scale, data, images, seeds and attack; with "rate", also on rate-coded networks."""
    notes = []
    for network in networks:
        recipe, seeds = scale.recipe(Run(network, "hire", 0)), seeds_label(scale.seeds_of(network))
        notes.append(
            text(
                "setting", network=network_label(network), scale=scale.name, source=Path(recipe.data.source).name,
                images=images_label(scale.images), seeds=seeds, timesteps=recipe.snn.timesteps,
                eps=255 * recipe.attack.eps, step=recipe.attack.step, iterations=recipe.attack.iterations,
                noise=recipe.noise.step,
            )
        )  # fmt: skip
        if "rate" in methods and scale.is_rated(network):
            steps, seeds = scale.setting(network).rate_timesteps, seeds_label(scale.seeds_of(network, "rate"))
            notes[-1] += " " + text("setting_rate", timesteps=steps, seeds=seeds)
    return notes


def subtitle(scale: Scale, networks: Iterable[str], images: str = "") -> str:
    """Networks with their data and seeds, and the images: what a figure must say to be read alone."""
    each = [f"{network_label(name)} ({seeds_label(scale.seeds_of(name))})" for name in networks]
    return ", ".join([*each, images or images_label(scale.images), f"scale {scale.name}"])


def images_label(count: int) -> str:
    """Number of test images, where 0 means all."""
    return f"{count:,} test images" if count else "all test images"


def with_rate(scale: Scale, networks: Iterable[str], images: str) -> str:
    """The images of a page that also shows rate-coded networks, with their T and seeds, which may be others."""
    rated = [name for name in networks if scale.is_rated(name)]
    each = {
        name: f"T = {scale.setting(name).rate_timesteps}, {seeds_label(scale.seeds_of(name, 'rate'))}" for name in rated
    }
    if len(set(each.values())) == 1:
        return f"{images}, rate-coded: {each[rated[0]]}"
    return ", ".join([images, *(f"rate-coded {network_labels(name)[0]}: {words}" for name, words in each.items())])


def seeds_label(seeds: tuple[int, ...]) -> str:
    """Such as "seeds 0, 1, 2"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
