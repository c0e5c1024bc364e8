"""`hiresnn quickstart`: what HIRE-SNN training buys, on embedded data, in one to two minutes."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hiresnn.app.evaluate import evaluate
from hiresnn.app.recipe import Recipe, changed, read
from hiresnn.app.train import train
from hiresnn.progress import Progress

ROWS = {
    "ann": ("digits", "ann"),
    "traditional": ("digits", "traditional"),
    "hire": ("digits", "hire"),
    "robust": ("robust-digits", "converted"),
}
"""Row of the table -> recipe and method."""
TWIN_SEED = 1000
"""Added to the seed for the twin that makes the black-box images; that of an SNN starts from the same ANN."""


def quickstart(out: Path, *, seed: int = 0, progress: Progress) -> str:
    """Train the networks of ROWS on the digits, each with a twin, attack them, return the table.

    Finished runs in `out` are kept and found again.
    """
    results = {}
    for row, (name, method) in ROWS.items():
        recipe = changed(read(name), {"seed": seed, "method": method}, "--seed")
        run = train(recipe, out=out / f"{row}-seed{seed}", resume=True, progress=progress)
        twin = train(twin_recipe(recipe), out=out / f"{row}-seed{seed}-twin", resume=True, progress=progress)
        results[row] = evaluate(run, twins=[twin], progress=progress)
    return render(results)


def twin_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the network that makes the black-box images."""
    twin = changed(recipe, {"seed": recipe.seed + TWIN_SEED}, "--seed, of the twins")
    if recipe.method in ("ann", "converted"):  # a converted network is its ANN, so another seed needs another ANN
        return twin
    return changed(twin, {"ann.seed": recipe.seed})


def render(results: dict[str, dict[str, Any]]) -> str:
    """Return the results as one table, with a row for each network and a column for each attack and box."""
    first = next(iter(results.values()))
    table = Table(
        title=f"Accuracy in percent on {first['images']:,} test images, seed {first['seed']}",
        caption="Black box: the images are made on a twin, trained the same way with another seed; "
        "the twin of an SNN that is trained starts from the same ANN.\n"
        "robust: an ANN trained on adversarial examples and converted. PGD can overestimate robustness; "
        "hiresnn audit reports the worst case.",
    )
    # An evaluation of one of the runs by hand may have added attacks that the others lack.
    attacks = [result["attacks"] for result in results.values()]
    labels = [label for label in first["attacks"] if all("black_box" in row.get(label, {}) for row in attacks)]
    table.add_column("")
    for heading in ("clean", *(f"{label}\n{box} box" for label in labels for box in ("white", "black"))):
        table.add_column(heading.replace(":", "\n").replace(",", "\n"), justify="right")
    for row, result in results.items():
        boxes = (result["attacks"][label][box] for label in labels for box in ("white_box", "black_box"))
        values = [result["clean"], *boxes]
        table.add_row(row, *(f"{value:.1f}" for value in values))
    console = Console(file=io.StringIO(), width=120, record=True)
    console.print(table)
    return console.export_text()
