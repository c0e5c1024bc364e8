"""How networks, boxes and methods are called on the pages."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hiresnn.paper.claims import claims
from hiresnn.paper.measurements import Run
from hiresnn.paper.scales import Scale

BOX_LABELS = {
    "white": "white box",
    "same-ann": "black box, twin from the same ANN",
    "independent": "black box, twin from an independent ANN",
}
PANEL_LABELS = {"white": "white box", "same-ann": "twin, same ANN", "independent": "twin, independent ANN"}
"""Short enough for the title of a panel."""
METHOD_LABELS = {
    "ann": "ANN",
    "rate": "rate-coded SNN",
    "traditional": "traditional SNN",
    "hire": "HIRE-SNN",
    "gaussian": "Gaussian noise",
    "noise-free": "periods without noise",
}
ATTACKS = ("fgsm", "pgd")
ATTACK_LABELS = {None: "clean", "fgsm": "FGSM", "pgd": "PGD"}
OVER_SEEDS = "mean ± sample standard deviation over seeds"
TWINS_NOTE = (
    "The paper prints one black box and does not say what its twin starts from, so it stands here beside both: a twin "
    "from the same ANN (another seed for the SNN only) and a twin from an independent ANN (another seed for both)."
)
ANN_TWIN_NOTE = (
    "An ANN has no twin from the same ANN, so it appears only in the white box and with the independent twin."
)

_MODELS = {"vgg5": "VGG5", "vgg11": "VGG11", "vgg16": "VGG16", "resnet12": "ResNet12"}
_DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


def network_labels(network: str) -> tuple[str, str]:
    """(model, data set) of the paper, such as ("VGG5", "CIFAR-10"), for a key such as "vgg5-cifar10"."""
    model, _, dataset = network.partition("-")
    return _MODELS.get(model, model), _DATA.get(dataset, dataset)


def network_label(network: str) -> str:
    """Such as "VGG5 on CIFAR-10"."""
    return " on ".join(network_labels(network))


def left_out(wanted: Iterable[str], present: Iterable[str]) -> list[str]:
    """A sentence on the networks of the paper that a page lacks; none if it has all."""
    missing = [network_label(network) for network in wanted if network not in set(present)]
    return [f"Left out, because this scale does not have them: {', '.join(missing)}."] if missing else []


def setting_notes(scale: Scale, networks: Iterable[str], *methods: str) -> list[str]:
    """One sentence per network on scale, data, images, seeds and attack; with "rate", also on rate-coded networks."""
    notes = []
    for network in networks:
        recipe = scale.recipe(Run(network, "hire", 0))
        attack, source = recipe.attack, Path(recipe.data.source).name
        notes.append(
            f"{network_label(network)}: scale {scale.name}, data {source}, {images_label(scale)}, "
            f"{seeds_label(scale.seeds_of(network))}; T = {recipe.snn.timesteps}, eps = {255 * attack.eps:.3g}/255, "
            f"alpha = {attack.step:.3g}, K = {attack.iterations}, noise step {recipe.noise.step:.3g}."
        )
        if "rate" in methods and "rate" in claims().table1.get(network, ()):
            steps = scale.setting(network).rate_timesteps
            notes[-1] += f" The rate-coded network: T = {steps}, {seeds_label(scale.seeds_of(network, 'rate'))}."
    return notes


def subtitle(scale: Scale, networks: Iterable[str]) -> str:
    """One line under a title: networks with their data and seeds, number of images, scale."""
    each = [f"{network_label(name)} ({seeds_label(scale.seeds_of(name))})" for name in networks]
    return f"{', '.join(each)}; {images_label(scale)}; scale {scale.name}."


def images_label(scale: Scale) -> str:
    """Number of attacked test images."""
    return f"{scale.images:,} test images" if scale.images else "all test images"


def seeds_label(seeds: tuple[int, ...]) -> str:
    """Such as "seeds 0, 1, 2"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
