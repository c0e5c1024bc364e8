"""`hiresnn quickstart`: what HIRE-SNN training buys, on embedded data, in about a minute."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hiresnn.progress import Progress
from hiresnn.runs.evaluate import evaluate
from hiresnn.runs.recipe import Recipe, override, read
from hiresnn.runs.train import train

METHODS = ("ann", "traditional", "hire")
TWIN_SEED = 1000
"""Added to the seed for the twin that makes the black-box images; it starts from the same ANN."""


def quickstart(out: Path, *, seed: int = 0, progress: Progress) -> str:
    """Train ANN, traditional SNN and HIRE-SNN on the digits, each with a twin, attack them, return the table.

    Finished runs in `out` are kept and found again.
    """
    recipe = override(read("digits"), {"seed": str(seed)})
    results = {}
    for method in METHODS:
        run = _trained(override(recipe, {"method": method}), out / f"{method}-seed{seed}", progress)
        twin = _trained(_twin_recipe(recipe, method), out / f"{method}-seed{seed}-twin", progress)
        results[method] = evaluate(run, twins=[twin], progress=progress)
    return render(results)


def _twin_recipe(recipe: Recipe, method: str) -> Recipe:
    changes = {"method": method, "seed": str(recipe.seed + TWIN_SEED)}
    if method != "ann":
        changes["ann.seed"] = str(recipe.seed)
    return override(recipe, changes)


def _trained(recipe: Recipe, path: Path, progress: Progress) -> Path:
    return train(recipe, out=path, resume=True, progress=progress)


def render(results: dict[str, dict[str, Any]]) -> str:
    """The results of several methods as one table: a row a method, a column an attack and box."""
    first = next(iter(results.values()))
    table = Table(
        title=f"Accuracy in percent on {first['images']:,} test images, seed {first['seed']}",
        caption="Black box: the images are made on a twin, trained the same way with another seed; "
        "the twin of an SNN starts from the same ANN.",
    )
    table.add_column("")
    table.add_column("clean", justify="right")
    for label in first["attacks"]:
        heading = label.replace(":", "\n").replace(",", "\n")
        table.add_column(f"{heading}\nwhite box", justify="right")
        table.add_column(f"{heading}\nblack box", justify="right")
    for method, result in results.items():
        cells = [f"{result['clean']:.1f}"]
        for entry in result["attacks"].values():
            cells += [f"{entry['white_box']:.1f}", f"{entry['black_box']:.1f}"]
        table.add_row(method, *cells)
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(table)
    return console.export_text()
