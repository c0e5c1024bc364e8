"""A table for a recipe: every method over several seeds, white box and both kinds of black box.

    python benchmarks/study.py vgg5-cifar10-cpu --data cifar10.npz --runs runs/study --out results/cifar10-cpu

Trains the missing runs (those of `hiresnn train RECIPE --method M --seed S`), attacks the test images as `hiresnn
evaluate` does, and writes OUT.md and OUT.json: mean and sample standard deviation over seeds. An interrupted study
continues where it stopped. The twin from an independent ANN is the next seed's run; the twin from the same ANN is one
more training; both are for the `--twins` methods. Each attack runs once per network: its images are the network's white
box and the black box of the others.
"""

import argparse
import hashlib
import json
import shlex
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from hiresnn import data, load
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app.evaluate import recipe_attacks
from hiresnn.app.folder import MODEL, RunFolder, environment
from hiresnn.app.quickstart import TWIN_SEED
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.app.train import train
from hiresnn.attacks import AttackSpec, Model
from hiresnn.process import keep_memory
from hiresnn.progress import Progress

ROWS = {  # label -> changes to the recipe
    "traditional": {"method": "traditional"},
    "hire": {"method": "hire"},
    "ann": {"method": "ann"},
    "gaussian": {"method": "gaussian"},
    "noise-free": {"method": "noise-free"},
    "hire-frozen": {"method": "hire", "snn.train_neurons": "false"},
    "traditional-frozen": {"method": "traditional", "snn.train_neurons": "false"},
}
TWINS = ["traditional", "hire"]
SEEDS = [0, 1, 2]


class Remembered:
    """An attack on one network that computes the images of each batch once."""

    def __init__(self, spec: AttackSpec, network: Model) -> None:
        self.spec, self.network = spec, network
        self.made: dict[bytes, Tensor] = {}

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        key = hashlib.blake2b(images.numpy().tobytes(), digest_size=16).digest()
        if key not in self.made:
            self.made[key] = self.spec(self.network, images, labels)
        return self.made[key]


def recipe_of(recipe: Recipe, label: str, seed: int, *, twin: bool = False) -> Recipe:
    changes = {**ROWS[label], "seed": str(seed)}
    if twin:
        changes |= {"seed": str(seed + TWIN_SEED), "ann.seed": str(seed)}
    return override(recipe, changes)


def trained(recipe: Recipe, labels: list[str], twins: list[str], seeds: list[int], runs: Path) -> dict[str, Path]:
    """Train the missing runs; return run name -> folder."""
    paths = {}
    for seed in seeds:
        for label in labels:
            for twin in (False, True) if label in twins else (False,):
                name = f"{label}-seed{seed}" + "-twin" * twin
                chosen, out = recipe_of(recipe, label, seed, twin=twin), runs / name
                # If it belongs to another recipe, `train` says how they differ.
                done = (out / MODEL).is_file() and RunFolder.open(out).recipe == chosen
                paths[name] = out if done else train(chosen, out=out, resume=True, progress=Progress())
    return paths


def measured(
    paths: dict[str, Path], labels: list[str], twins: list[str], seeds: list[int], recipe: Recipe, limit: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (label, seed -> {"clean": .., attack: {"white_box", "same-ann", "independent"}}) for each method.

    The black box is measured for the methods in `twins`, at the recipe's main bound.
    """
    dataset, progress = data.load(recipe.data.source), Progress()
    images = data.first(dataset.test, limit)
    for label in labels:
        rows: dict[str, Any] = {}
        networks = {name: load(path / MODEL) for name, path in paths.items() if name.startswith(f"{label}-seed")}
        for network in networks.values():
            if label != "ann":
                network.fuse()
        attacks = {
            name: {spec.label: Remembered(spec, network) for spec in recipe_attacks(recipe)}
            for name, network in networks.items()
        }
        for index, seed in enumerate(seeds):
            own = f"{label}-seed{seed}"
            makers = {"white_box": own, "same-ann": f"{own}-twin"}
            if len(seeds) > 1:
                makers["independent"] = f"{label}-seed{seeds[(index + 1) % len(seeds)]}"
            main = [spec.label for spec in recipe_attacks(recipe) if spec.eps == recipe.attack.eps]
            row: dict[str, Any] = {"clean": accuracy(networks[own], images, title=f"{own}: clean", progress=progress)}
            for spec in recipe_attacks(recipe):
                row[spec.label] = {
                    box: accuracy(
                        networks[own], images, attack=attacks[maker][spec.label], eps=spec.eps,
                        title=f"{own}: {spec.label}, {box}", progress=progress,
                    )
                    for box, maker in makers.items()
                    if maker in networks and (box == "white_box" or (label in twins and spec.label in main))
                }  # fmt: skip
            rows[str(seed)] = row
        yield label, rows


def cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def table(found: dict[str, Any]) -> str:
    """Return Markdown: one row per method, one column per attack, mean ± sample standard deviation over seeds."""
    attacks = [key for key in next(iter(next(iter(found.values())).values())) if key != "clean"]
    boxes = {"white_box": "white box", "same-ann": "twin, same ANN", "independent": "twin, independent ANN"}
    lines = []
    for box, words in boxes.items():
        body = []
        for label, rows in found.items():
            cells = [cell([row["clean"] for row in rows.values()])]
            cells += [cell([row[a][box] for row in rows.values() if box in row[a]]) for a in attacks]
            if any(cells[1:]):
                body.append(f"| {label} | " + " | ".join(cells) + " |")
        if body:
            lines += [f"\n### {words[0].upper()}{words[1:]}\n", "| method | clean | " + " | ".join(attacks) + " |"]
            lines += ["|---" * (len(attacks) + 2) + "|", *body]
    return "\n".join(lines) + "\n"


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("recipe")
    cli.add_argument("--data")
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the recipe")
    cli.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    cli.add_argument("--methods", nargs="+", default=list(ROWS), choices=list(ROWS))
    cli.add_argument("--twins", nargs="*", default=TWINS, choices=list(ROWS))
    cli.add_argument("--limit", type=int, default=2000, help="test images")
    cli.add_argument("--runs", type=Path, default=Path("runs/study"))
    cli.add_argument("--out", type=Path, required=True, help="path of the results without suffix")
    asked = cli.parse_args()
    keep_memory()
    recipe = read(asked.recipe)
    if asked.data:
        recipe = override(recipe, {"data.source": json.dumps(asked.data)})
    recipe = override(recipe, dict(pair.split("=", 1) for pair in asked.set))
    # Before the training, not after hours.
    asked.limit = min(asked.limit, len(data.load(recipe.data.source).test))
    start = time.time()
    paths = trained(recipe, asked.methods, asked.twins, asked.seeds, asked.runs)
    found: dict[str, Any] = {}
    for label, rows in measured(paths, asked.methods, asked.twins, asked.seeds, recipe, asked.limit):
        found[label] = rows
        write(asked, recipe, found)
    print(table(found))
    print(f"{asked.out}.md after {(time.time() - start) / 60:.0f} min")


def command(asked: argparse.Namespace) -> str:
    """Return the command for these results, run in the folder of the data."""
    words = ["python", "benchmarks/study.py", asked.recipe]
    words += ["--data", Path(asked.data).name] if asked.data else []
    words += ["--set", *asked.set] if asked.set else []
    words += ["--seeds", *map(str, asked.seeds)] if asked.seeds != SEEDS else []
    words += ["--methods", *asked.methods] if asked.methods != list(ROWS) else []
    words += ["--twins", *asked.twins] if asked.twins != TWINS else []
    words += ["--limit", str(asked.limit)] if asked.limit != 2000 else []
    return shlex.join([*words, "--out", f"results/{asked.out.name}"])


def write(asked: argparse.Namespace, recipe: Recipe, found: dict[str, Any]) -> None:
    """Write OUT.json and OUT.md with the methods measured so far."""
    where = environment()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    shown = recipe.model_dump(mode="json")
    shown["data"]["source"] = Path(recipe.data.source).name
    content = {"recipe": shown, "images": asked.limit, "results": found, "machine": where}
    asked.out.with_name(f"{asked.out.name}.json").write_text(json.dumps(content, indent=2) + "\n")
    head = (
        f"# {recipe.name}\n\n"
        f"`{command(asked)}`\n\n"
        f"Accuracy in percent on {asked.limit:,} test images, mean ± sample standard deviation over seeds "
        f"{', '.join(map(str, asked.seeds))}. {where['cpu']}, {where['threads']} threads, torch {where['torch']}, "
        f"hiresnn {where['hiresnn']}, {where['date'][:10]}.\n"
    )
    asked.out.with_name(f"{asked.out.name}.md").write_text(head + table(found))


if __name__ == "__main__":
    main()
