"""How networks, boxes and methods are called in the tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hiresnn.paper.claims import claims
from hiresnn.paper.study import Study

BOXES = {
    "white": "white box",
    "same-ann": "black box, twin from the same ANN",
    "independent": "black box, twin from an independent ANN",
}
"""Kind of box -> words. The paper prints one black box and does not say which of the two it is."""
METHODS = {
    "ann": "ANN",
    "rate": "rate-coded SNN",
    "traditional": "traditional SNN",
    "hire": "HIRE-SNN",
    "gaussian": "Gaussian noise",
    "noise-free": "periods without noise",
}
_MODELS = {"vgg5": "VGG5", "vgg11": "VGG11", "vgg16": "VGG16", "resnet12": "ResNet12"}
_DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def printed_box(box: str) -> str:
    """The paper's name of a box, "white" or "black", as claims.toml has it."""
    return "white" if box == "white" else "black"


def network_words(network: str) -> tuple[str, str]:
    """(model, data set) of the paper, such as ("VGG5", "CIFAR-10"), of a key such as "vgg5-cifar10"."""
    model, _, dataset = network.partition("-")
    return _MODELS.get(model, model), _DATA.get(dataset, dataset)


def left_out(wanted: Iterable[str], shown: Iterable[str]) -> list[str]:
    """A sentence on the networks of the paper that are not shown; none where all are."""
    missing = [" on ".join(network_words(network)) for network in wanted if network not in set(shown)]
    return [f"Left out here: {', '.join(missing)}."] if missing else []


def setting_notes(study: Study, networks: Iterable[str], *methods: str) -> list[str]:
    """What the numbers of an artefact are of, a sentence a network: scale, data, images, seeds, attack.

    Where "rate" is among `methods`, also T and seeds of the rate-coded networks, which the paper has of the VGGs alone.
    """
    scale = study.scale
    images = f"{scale.images:,} test images" if scale.images else "all test images"
    notes = []
    for network in networks:
        recipe = study.recipe(network, "hire", 0)
        attack, source = recipe.attack, Path(recipe.data.source).name
        notes.append(
            f"{' on '.join(network_words(network))}: scale {scale.name}, data {source}, {images}, "
            f"{_seeds(study.seeds_of(network))}; T = {recipe.snn.timesteps}, eps = {255 * attack.eps:.3g}/255, "
            f"alpha = {attack.step:.3g}, K = {attack.iterations}, noise step {recipe.noise.step:.3g}."
        )
        if "rate" in methods and "rate" in claims().table1.get(network, ()):
            steps = study.setting(network).rate_timesteps
            notes[-1] += f" The rate-coded network: T = {steps}, {_seeds(study.seeds_of(network, 'rate'))}."
    return notes


def _seeds(seeds: tuple[int, ...]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
