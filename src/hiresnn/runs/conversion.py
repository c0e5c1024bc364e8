"""`hiresnn analyze conversion`: the error of the conversion over T and threshold scale, into files of the run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hiresnn import data
from hiresnn.analysis import ConversionError
from hiresnn.attacks import seeded, verified
from hiresnn.data import Batches
from hiresnn.errors import RunError
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.runs.context import RunContext
from hiresnn.runs.evaluate import attack_of, check_fits, label_of
from hiresnn.runs.folder import ANN, RunFolder
from hiresnn.runs.memory import calibration_images
from hiresnn.runs.networks import calibrate_by, spiking_network
from hiresnn.runs.own_network import load_run
from hiresnn.runs.recipe import Recipe, changed

FACTORS = (0.5, 1, 2, 4)
"""Multiples of the recipe's T that are measured by default."""
LIMIT = 1000
"""Images that are measured by default."""
COLUMNS = ("images", "timesteps", "threshold_scale", "layer", "error", "bias", "clipped", "accuracy")


def conversion(
    run: Path,
    *,
    timesteps: Sequence[int] | None = None,
    scales: Sequence[float] | None = None,
    attacks: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 200,
    source: str | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Convert the ANN of a run at every T and threshold scale; compare its activations with the rates of the neurons.

    The images are those that the recipe holds out, because settings are chosen by this; else the test images.

    Args:
        run: a run folder beside its ANN; its analysis-conversion.json and .csv are rewritten.
        timesteps: every T; None is a half, one, two and four times that of the recipe.
        scales: every threshold scale; None is that of the recipe.
        attacks: attacks on the ANN, such as "pgd:eps=2/255"; the error is measured on these images, too.
        limit: number of images, balanced over classes; None is at most 1,000.
    """
    with RunFolder.open(run, write=True) as folder:
        context = RunContext.of_run(folder, progress, source)
        recipe, (train, held_out) = context.recipe, context.splits()
        own = recipe.snn.timesteps, recipe.conversion.threshold_scale
        steps = timesteps or sorted({max(1, round(factor * own[0])) for factor in FACTORS})
        pairs = dict.fromkeys([own, *((step, scale) for scale in scales or own[1:] for step in steps)])
        recipes = [_at(recipe, *pair) for pair in pairs]
        attacked = [None, *(attack_of(recipe, text, recipe.seed) for text in dict.fromkeys(attacks or ()))]
        ann = load_run(_ann(folder)).to(context.device)
        check_fits(ann, context.dataset, f"{folder.path}")
        first = spiking_network(recipes[0], ann)
        count = calibration_images(recipe, first, train.images.shape[1:], len(train))  # as in the training
        images = data.first(train, count).images.to(context.device) / 255
        shown = context.dataset.test if held_out is None else held_out
        shown = data.first(shown, min(limit or LIMIT, len(shown)))
        networks = [_converted(each, ann, images) for each in recipes]
        rows = []
        for attack in attacked:
            label = "clean" if attack is None else label_of(recipe, attack)
            measures = [ConversionError(ann, network) for network in networks]
            with progress.task(f"  {label}", len(shown)) as task:
                for number, (pixels, labels) in enumerate(Batches(shown, batch_size, device=context.device)):
                    if attack is not None:
                        with seeded(recipe.seed + number):
                            pixels = verified(attack, ann, pixels, labels, eps=attack.eps)
                    for measure in measures:
                        measure.update(pixels, labels)
                    task.advance(len(labels))
            rows += [_row(label, each, measure) for each, measure in zip(recipes, measures, strict=True)]
        result = {
            "analysis": "conversion", "images": len(shown), "split": "test" if held_out is None else "held-out",
            "seed": recipe.seed, "timesteps": own[0], "threshold_scale": own[1], "conversion": rows,
        }  # fmt: skip
        folder.write_json("analysis-conversion.json", result)
        folder.write_bytes("analysis-conversion.csv", table(rows).encode())
    return result


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV: one line per setting and layer, and one each for the whole ANN and the whole network."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        setting = {key: row[key] for key in COLUMNS[:3]}
        for name, layer in row["layers"].items():
            writer.writerow({**setting, "layer": name, **{key: f"{value:.6g}" for key, value in layer.items()}})
        for name in ("ann", "snn"):
            writer.writerow({**setting, "layer": name.upper(), "accuracy": f"{row[name]:.6g}"})
    return text.getvalue()


def _ann(folder: RunFolder) -> RunFolder:
    """Return the folder of the ANN that a run started from; a run of the method "ann" is that itself."""
    if folder.recipe.method == "ann":
        return folder
    place = folder.path.parent / "ann" / folder.read_json(ANN)["folder"] if folder.has(ANN) else None
    if place is None or not place.is_dir():
        missing = "does not name" if place is None else f"started from {place}, which does not exist, so it lacks"
        raise RunError(
            f"run {folder.path} {missing} the ANN that it was converted from; name a run that hiresnn train wrote, in "
            "the folder where it was trained."
        )
    return RunFolder.open(place)


def _at(recipe: Recipe, timesteps: int, scale: float) -> Recipe:
    # More periods than timesteps are no recipe; their number does not matter to a conversion.
    values = {"noise.periods": 1, "snn.timesteps": timesteps, "conversion.threshold_scale": scale}
    return changed(recipe, values, "--timesteps or --scales")


def _converted(recipe: Recipe, ann: nn.Module, images: Tensor) -> SpikingNetwork:
    network = spiking_network(recipe, ann).to(images.device).eval()
    calibrate_by(recipe, ann, network, images)
    return network.fuse(False)


def _row(label: str, recipe: Recipe, measure: ConversionError) -> dict[str, Any]:
    ann, snn = measure.accuracies
    layers = {name: asdict(layer) for name, layer in measure.compute().items()}
    setting = {"timesteps": recipe.snn.timesteps, "threshold_scale": recipe.conversion.threshold_scale}
    return {"images": label, **setting, "ann": ann, "snn": snn, "layers": layers}
