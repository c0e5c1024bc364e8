"""Fig. 5b: spike distance layer by layer in two VGG5, one right and one wrong on the same perturbed image."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from hiresnn.analysis import PerturbationDistance, SpikeDistance
from hiresnn.attacks import verified
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork, record
from hiresnn.paper.artefact import Artefact, Cell, Table
from hiresnn.paper.layers import BATCH_ROWS, names_of
from hiresnn.paper.plan import attack_seconds
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.sweep import judged
from hiresnn.paper.words import network_words, setting_notes
from hiresnn.runs.evaluate import attack_of

NETWORK, METHOD, ATTACK = "vgg5-cifar10", "traditional", "pgd"
SIDES = {"right": "M1, right on the perturbed image", "wrong": "M2, wrong on the perturbed image"}


def fig5b(study: Study) -> Artefact:
    """Spike PD of every layer on one such image, and its mean over all such images."""
    seeds = (study.seeds[0], study.seeds[0] + 1, study.seeds[0] + 2)
    found = _measured(study, seeds)
    layers, count, of = found.get("layers", []), found.get("images", 0), found.get("of", 0)
    rows: list[list[Cell]] = []
    for at, layer in enumerate(layers):
        one: list[Cell] = [found[side]["one"][at] for side in SIDES]
        rows.append([layer, f"{found['neurons'][at]}", *one, *(_mean(found[side]["all"], at) for side in SIDES)])
    if layers:
        rows.insert(0, ["image", "", *[found["image"][0]] * 2, *[_mean(found["image"][1], 0)] * 2])
    caption = (
        f"{' on '.join(network_words(NETWORK))}: L2 distance from clean to perturbed, of the image (pixels in [0, 1]) "
        "and of each layer's spikes / T. Means ± standard deviation over images."
    )
    columns = ["layer", "neurons", *(f"{words.partition(',')[0]}, one image" for words in SIDES.values())]
    columns += ["right network, all images", "wrong network, all images"]
    notes = [
        *setting_notes(study, (NETWORK,)),
        f"Two traditional SNNs of seeds {seeds[0]} and {seeds[1]}, ANN and all; the images are made by PGD on a third "
        f"one, seed {seeds[2]}, and so are a black box to both. M1 and M2 are named after what they did: whichever "
        "was right is M1.",
        f"{count} of {of:,} test images are classified rightly by both when clean, "
        "and by just one of them when perturbed."
        + (" One of these, drawn at random, is shown alone." if count else ""),
        "A layer's distance grows with its number of neurons, so a rise from one layer to the next is judged per "
        "neuron: the distance divided by the square root of their number.",
        "The paper draws this figure and prints none of its numbers.",
        *_judgements(found, layers),
    ]

    def figure(plotting: Any) -> Any:
        drawn, panels = plotting.figure(1, 2, width=plotting.FULL_WIDTH, height=2.5)
        styles = [
            plotting.STYLES[key].named(words) for key, words in zip(("direct", "hire"), SIDES.values(), strict=True)
        ]
        if layers:
            for axes, chosen in zip(panels, ("one", "all"), strict=True):
                values = [
                    [Stat.of([value]) for value in found[side]["one"]]
                    if chosen == "one"
                    else [_mean(found[side]["all"], at) for at in range(len(layers))]
                    for side in SIDES
                ]
                plotting.bars(axes, layers, list(zip(styles, values, strict=True)))
            plotting.outside(drawn, columns=2)
        titles = ("(a) one image", f"(b) mean of {count} images")
        for axes, title in zip(panels, titles, strict=True):
            plotting.label(axes, x="layer", y="spike PD ($L_2$ of spikes per step)", title=title)
        return drawn

    return Artefact("fig5b", "Spike distance layer by layer", [Table(caption, columns, rows)], figure, notes)


def _measured(study: Study, seeds: tuple[int, int, int]) -> dict[str, Any]:
    """Distances on the images that both networks know and one of them loses; a plan gets {}.

    "images" of "of" are such images; the rest is there where "images" is not 0. "right" and "wrong" hold, for the
    network that was right or wrong on the perturbed image, "one", a distance a
    layer, and "all", the same for each such image.
    """
    runs = [study.run(NETWORK, METHOD, seed) for seed in seeds]
    recipe = study.recipe(NETWORK, METHOD, seeds[2])
    attack, images = attack_of(recipe, ATTACK, seeds[2]), study.scale.analysed
    key = {"what": "two-networks", "runs": [run.name for run in runs], "attack": attack.resolved(), "images": images}

    def work() -> dict[str, Any]:
        one, other, maker = (study.network_of(run) for run in runs)
        assert isinstance(one, SpikingNetwork)
        assert isinstance(other, SpikingNetwork)
        shown, labels = study.images.shown(NETWORK, images)
        parts = zip(*(torch.split(rows, BATCH_ROWS // one.timesteps) for rows in (shown, labels)), strict=True)
        attacked = torch.cat([verified(attack, maker, *part, eps=attack.eps) for part in parts])
        known = _right(one, shown, labels) & _right(other, shown, labels)
        first, second = (known & _right(network, attacked, labels) for network in (one, other))
        split = (first ^ second).nonzero()[:, 0]
        if not len(split):
            return {"images": 0, "of": len(shown)}
        pairs = [spike_distances(network, shown[split], attacked[split]) for network in (one, other)]
        # [image, layer]: the network that was right, then the one that was wrong
        is_first = first[split].cpu()[:, None]
        right = torch.where(is_first, pairs[0][1], pairs[1][1])
        wrong = torch.where(is_first, pairs[1][1], pairs[0][1])
        pixels = PerturbationDistance()
        pixels.update(shown[split], attacked[split])
        moved = pixels.compute().per_image
        drawn = int(torch.randint(len(split), ()))
        return {
            "layers": pairs[0][0],
            "neurons": _neurons(one, shown[:1]),
            "right": {"one": right[drawn].tolist(), "all": right.tolist()},
            "wrong": {"one": wrong[drawn].tolist(), "all": wrong.tolist()},
            "image": [float(moved[drawn]), moved[:, None].tolist()],
            "images": len(split),
            "of": len(shown),
        }

    seconds = attack_seconds(recipe, study.setting(NETWORK), images, recipe.attack.iterations)
    found: dict[str, Any] = study.measured(key, work, seconds=seconds, like={})
    return found


@torch.no_grad()
def spike_distances(network: SpikingNetwork, images: Tensor, attacked: Tensor) -> tuple[list[str], Tensor]:
    """Names of the layers, and their spike PD (Definition 2), [image, layer]."""
    measure, names = SpikeDistance(), {}
    size = max(1, BATCH_ROWS // network.timesteps)
    for clean, perturbed in zip(torch.split(images, size), torch.split(attacked, size), strict=True):
        recordings = []
        for shown in (clean, perturbed):
            with record(network) as spikes:
                network(shown)
            recordings.append(spikes)
        names = names_of(recordings[0])
        measure.update(*recordings)
    found = measure.compute()
    return [names[name] for name in found], torch.stack([layer.per_image for layer in found.values()], 1)


@torch.no_grad()
def _right(network: SpikingNetwork, images: Tensor, labels: Tensor) -> Tensor:
    parts = torch.split(images, max(1, BATCH_ROWS // network.timesteps))
    return correct(torch.cat([network(part) for part in parts]), labels)


@torch.no_grad()
def _neurons(network: SpikingNetwork, image: Tensor) -> list[int]:
    with record(network) as spikes:
        network(image)
    return [layer[0, 0].numel() for layer in spikes.values()]


def _mean(values: list[list[float]], at: int) -> Stat:
    """Over images."""
    return Stat.of(image[at] for image in values)


def _judgements(found: dict[str, Any], layers: list[str]) -> list[str]:
    """Observation 3: from layer to layer the distance does not always fall, whether the network is right or not."""
    notes = []
    for side, words in SIDES.items() if layers else ():
        change = [value / math.sqrt(size) for value, size in zip(found[side]["one"], found["neurons"], strict=True)]
        rises = [name for name, (before, after) in zip(layers[1:], pairwise(change), strict=True) if after > before]
        told = f"judged per neuron, it rises at {', '.join(rises) or 'no layer'}"
        notes.append(judged("the distance does not always fall from layer to layer", bool(rises), told, of=words))
    return notes
