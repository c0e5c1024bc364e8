"""Sections `precision` and `precision-cpu`: clean and robust accuracy after training in bfloat16 and in float32."""

import shutil
import tempfile
from pathlib import Path

from figures import Section, spread
from torch import Tensor
from turns import say

from hiresnn import SpikingNetwork, data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.app.train import ann_path, train
from hiresnn.attacks import Model, pgd
from hiresnn.data import DataSet
from hiresnn.progress import Progress

METHODS = ("traditional", "hire")
OTHER = {"float32": "bfloat16", "bfloat16": "float32"}
QUICK = {"data.train_images": "64", "ann.epochs": "1", "snn.epochs": "1", "model.width": "0.125"}
IMAGES = 1000


def measure_precision(
    quick: bool,
    name: str = "digits",
    *,
    methods: tuple[str, ...] = METHODS,
    source: str | None = None,
    folder: Path | None = None,
) -> Section:
    """Train SNNs of the recipe `name` in both precisions, from one ANN per seed; evaluate in float32 on test images.

    `folder` stores the runs; finished ones are not trained again.
    """
    seeds = (0,) if quick else (0, 1, 2)
    recipe = override(read(name), QUICK if quick else {})
    if source:
        recipe = override(recipe, {"data.source": f'"{source}"'})
    attack = recipe.attack
    dataset = data.load(recipe.data.source)
    shown = data.first(dataset.test, min(IMAGES, len(dataset.test)))
    section = Section(
        f"Precision, {name}",
        f"SNNs of the recipe `{name}` trained in either precision, seeds {', '.join(map(str, seeds))}, from the same "
        f"ANNs, which are trained in {recipe.precision}; clean and under PGD at {255 * attack.eps:.3g}/255, "
        f"{attack.iterations} iterations, on {len(shown):,} test images. The target is met if the "
        "means differ by at most the largest difference between two seeds in float32. A round is a seed.",
        {"recipe": name, "seeds": len(seeds)},
    )

    def robust(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        return pgd(model, images, labels, eps=attack.eps, step=attack.step, iterations=attack.iterations)

    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        root = folder or Path(temporary)
        for method in methods:
            for precision in (recipe.precision, OTHER[recipe.precision]):
                say(f"  {method}, {precision}")
                mine = found[method, precision] = {"clean %": [], "PGD %": []}
                for seed in seeds:
                    run = override(recipe, {"method": method, "precision": f'"{precision}"', "seed": str(seed)})
                    network = load(_trained(run, recipe, dataset, root / f"{method}-{precision}-{seed}"))
                    if isinstance(network, SpikingNetwork):
                        network.fuse(not quick)
                    mine["clean %"].append(accuracy(network, shown))
                    mine["PGD %"].append(accuracy(network, shown, attack=robust, eps=attack.eps))
                section.add(f"{method}, {precision}", {unit: spread(values) for unit, values in mine.items()})
    for method in methods:
        for unit in ("clean %", "PGD %"):
            plain, brief = (found[method, precision][unit] for precision in ("float32", "bfloat16"))
            apart = abs(sum(plain) - sum(brief)) / len(seeds)
            what = f"{method}, {unit[:-2]}: bfloat16 and float32 differ by, in points"
            section.at_most(what, apart, max(plain) - min(plain))
    return section


def _trained(recipe: Recipe, own: Recipe, dataset: DataSet, out: Path) -> Path:
    """Return the network of a run that starts from the ANN trained in the precision of the shipped recipe."""
    # If it belongs to another recipe (a quick one), `train` says how they differ.
    if not (out / MODEL).is_file() or RunFolder.open(out).recipe != recipe:
        same_but = recipe.model_copy(update={"precision": own.precision})
        source, target = (ann_path(each, dataset, out) for each in (same_but, recipe))
        if source != target and not (target / MODEL).is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / MODEL, target / MODEL)
        train(recipe, out=out, resume=True, progress=Progress(quiet=True))
    return out / MODEL
