"""Section `precision`: whether bfloat16 costs accuracy, clean or robust, against float32 over three seeds."""

import tempfile
from pathlib import Path

from figures import Section, spread
from torch import Tensor
from turns import say

from hiresnn import data
from hiresnn.attacks import Model, pgd
from hiresnn.progress import Progress
from hiresnn.runs.checkpoint import load
from hiresnn.runs.folder import MODEL
from hiresnn.runs.measure import accuracy
from hiresnn.runs.recipe import override, read
from hiresnn.runs.train import train

METHODS = ("traditional", "hire")
PRECISIONS = ("float32", "bfloat16")
QUICK = {"data.train_images": "64", "ann.epochs": "1", "snn.epochs": "1", "model.width": "0.125"}


def measure_precision(quick: bool) -> Section:
    """The recipe `digits`, ANN and SNN in either precision; evaluated in float32 on all test images."""
    seeds = (0,) if quick else (0, 1, 2)
    recipe = override(read("digits"), QUICK if quick else {})
    attack = recipe.attack
    section = Section(
        "Precision",
        f"The recipe `digits` trained in either precision, seeds {', '.join(map(str, seeds))}; clean and under PGD at "
        f"{255 * attack.eps:.3g}/255, {attack.iterations} iterations, on its test images. A difference of means counts "
        "as inside the spread where it is not above the largest difference between two seeds of float32.",
        {"recipe": "digits", "seeds": len(seeds)},
    )
    shown = data.load(recipe.data.source).test

    def robust(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        return pgd(model, images, labels, eps=attack.eps, step=attack.step, iterations=attack.iterations)

    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS:
            for precision in PRECISIONS:
                say(f"  {method}, {precision}")
                mine = found[method, precision] = {"clean %": [], "PGD %": []}
                for seed in seeds:
                    changes = {"method": method, "precision": f'"{precision}"', "seed": str(seed)}
                    out = Path(folder) / f"{method}-{precision}-{seed}"
                    run = train(override(recipe, changes), out=out, progress=Progress(quiet=True))
                    network = load(run / MODEL)
                    mine["clean %"].append(accuracy(network, shown))
                    mine["PGD %"].append(accuracy(network, shown, attack=robust, eps=attack.eps))
                section.add(f"{method}, {precision}", {unit: spread(values) for unit, values in mine.items()})
    for method in METHODS:
        for unit in ("clean %", "PGD %"):
            plain, brief = (found[method, precision][unit] for precision in PRECISIONS)
            apart = abs(sum(plain) - sum(brief)) / len(seeds)
            what = f"{method}, {unit[:-2]}: bfloat16 and float32 differ by, in points"
            section.at_most(what, apart, max(plain) - min(plain))
    return section
