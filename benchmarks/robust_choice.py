"""Choose the settings of robust training on held-out images, under a strong attack; docs/robust.md has the tables.

    python benchmarks/robust_choice.py robust-digits --out choice --seeds 0 1 2 \\
        --row "T 8" --row "T 16" snn.timesteps=16

Each row is a name and values that it sets in the recipe. The networks are trained into OUT/NAME-seedS and share their
ANNs. On the images that the recipe holds out, every network meets SA-PGD (100 steps, ASSG, cross-entropy of time-mean
logits) and PGD (40 steps, margin loss, conversion rule), the ANN the same two by its own gradient; an image counts if
both leave it. The last columns say how many percent of the images each attack breaks alone, and how many the images
break that were made on the other network of the pair, ANN or SNN. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.build import splits
from hiresnn.app.folder import MODEL
from hiresnn.app.networks import load
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.app.train import ann_path, train
from hiresnn.attacks import AttackSpec
from hiresnn.attacks.gate import frozen
from hiresnn.calls import format_eps, parse_eps
from hiresnn.checks import correct
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress


def attacks(network: nn.Module, eps: float, steps: tuple[int, int]) -> list[AttackSpec]:
    """Return the two attacks on a network."""
    rules: tuple[tuple[str, ...], ...] = (
        (("assg",), ("conversion",)) if isinstance(network, SpikingNetwork) else ((), ())
    )
    sa_pgd = AttackSpec("sa-pgd", {"eps": eps, "iterations": steps[0], "mean_logits": True}, rules[0])
    pgd = AttackSpec("pgd-restarts", {"eps": eps, "iterations": steps[1], "restarts": 1, "loss": "margin"}, rules[1])
    return [sa_pgd, pgd]


@torch.no_grad()
def right(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return which images are classified correctly."""
    with frozen(network):
        return correct(network(images), labels)


def measure(
    network: nn.Module, images: Tensor, labels: Tensor, eps: float, steps: tuple[int, int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the adversarial images of each attack and which images withstand each."""
    torch.manual_seed(0)
    adversarial = [attack(network, images, labels) for attack in attacks(network, eps, steps)]
    return adversarial, [right(network, shown, labels) for shown in adversarial]


def share(standing: Tensor) -> float:
    """Return the share of images in percent."""
    return 100 * standing.float().mean().item()


def found(
    recipe: Recipe, folder: Path, bounds: list[float], steps: tuple[int, int], alone: bool, limit: int
) -> dict[str, list[float]]:
    """Return the cells of the network ("snn") and, unless `alone`, of the ANN ("ann") of a run."""
    dataset = data.load(recipe.data.source)
    held_out = splits(recipe, dataset)[1]
    assert held_out is not None, "the recipe holds no images out"
    held_out = data.first(held_out, min(limit, len(held_out)))
    images, labels = held_out.images.float() / 255, held_out.labels
    networks = {"snn": load(folder / MODEL)}
    if not alone:
        networks["ann"] = load(ann_path(recipe, dataset, folder) / MODEL)
    cells = {name: [share(right(network, images, labels))] for name, network in networks.items()}
    for eps in bounds:
        made = {name: measure(network, images, labels, eps, steps) for name, network in networks.items()}
        for name, (_, standing) in made.items():
            cells[name] += [share(torch.stack(standing).all(0)), *(100 - share(each) for each in standing)]
            others = [images_of for other, (images_of, _) in made.items() if other != name]
            moved = [right(networks[name], shown, labels) for images_of in others for shown in images_of]
            cells[name].append(100 - share(torch.stack(moved).all(0)) if moved else float("nan"))
    return cells


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("recipe")
    cli.add_argument("--row", nargs="+", action="append", required=True, metavar="NAME KEY=VALUE")
    cli.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    cli.add_argument("--data", help="the data set, if not the recipe's")
    cli.add_argument("--bounds", nargs="+", help="default: a quarter of the recipe's attack.eps, and that")
    cli.add_argument("--steps", type=int, nargs=2, default=(100, 40), help="of SA-PGD and of PGD")
    cli.add_argument("--limit", type=int, default=400, help="held-out images, balanced over the classes")
    cli.add_argument("--alone", action="store_true", help="leave out the ANN, if an earlier row had it")
    cli.add_argument("--out", type=Path, required=True, help="folder of the runs; finished ones are used again")
    asked = cli.parse_args()
    base = read(asked.recipe)
    if asked.data:
        base = override(base, {"data.source": f'"{asked.data}"'})
    bounds = [parse_eps(text) for text in asked.bounds or ()] or [base.attack.eps / 4, base.attack.eps]
    per_bound = [f"{title} {format_eps(eps)}" for eps in bounds for title in ("worst", "SA-PGD", "PGD", "transfer")]
    print("| row | network | " + " | ".join(["clean", *per_bound]) + " |")
    print("|---" * (3 + len(per_bound)) + "|", flush=True)
    shown: set[tuple[str, ...]] = set()
    for name, *changes in asked.row:
        rows: dict[str, list[list[float]]] = {"snn": []} if asked.alone else {"ann": [], "snn": []}
        anns = []
        for seed in asked.seeds:
            recipe = override(base, {**dict(map(partial(str.split, sep="=", maxsplit=1), changes)), "seed": str(seed)})
            folder = asked.out / f"{name.replace(' ', '-').replace('/', '-')}-seed{seed}"
            train(recipe, out=folder, resume=True, progress=Progress(quiet=True))
            anns.append(ann_path(recipe, data.load(recipe.data.source), folder).name)
            for kind, cells in found(recipe, folder, bounds, tuple(asked.steps), asked.alone, asked.limit).items():
                rows[kind].append(cells)
        for kind, seeds in rows.items():
            if kind == "ann":
                if tuple(anns) in shown:
                    continue
                shown.add(tuple(anns))
            means = [f"{fmean(column):.1f}" for column in zip(*seeds, strict=True)]
            worst = " ".join(f"{cells[-4]:.1f}" for cells in seeds)
            print(f"| {name} | {kind} | " + " | ".join(means) + f" | <!-- seeds: {worst} -->", flush=True)


if __name__ == "__main__":
    sys.exit(main())
