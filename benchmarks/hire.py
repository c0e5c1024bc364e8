"""Section `hire`: what a batch costs by HIRE with N = 2 periods, against traditional training; time and memory.

`hiresnn.paper.cost` measures both, as `hiresnn reproduce` does, each time in a fresh process.
"""

import torch
from figures import Section, over, spread
from turns import say

from hiresnn.models import build
from hiresnn.paper.cost import measure
from hiresnn.runs.recipe import Recipe, override, read

METHODS = ("traditional", "hire")
QUICK = {"model.width": "0.125", "model.hidden": "16", "snn.batch_size": "2", "snn.timesteps": "2"}
MIB = 2**20
A_WEIGHT = 4 * 4
"""Bytes that a weight takes in Adam: itself, its gradient and two moments, all float32."""


def measure_hire(quick: bool) -> Section:
    """The recipe vgg5-cifar10 by both methods in alternation."""
    recipe = override(read("vgg5-cifar10"), {"device": "cpu", **(QUICK if quick else {})})
    rounds, batches = (1, 1) if quick else (3, 12)
    section = Section(
        "HIRE against traditional training",
        f"The recipe `vgg5-cifar10` on random images, batch {recipe.snn.batch_size}, T = {recipe.snn.timesteps}, "
        f"hidden {recipe.model.hidden}, N = {recipe.noise.periods}, Adam; fresh processes in alternation, a figure "
        f"a process: the median time of a batch, over {batches}, and the peak of one batch in resident memory above "
        f"what the process holds without the training. Activations are that peak less {A_WEIGHT} bytes a weight, for "
        "weights, gradients and the two moments of Adam.",
        {
            "recipe": recipe.name, "batch": recipe.snn.batch_size, "timesteps": recipe.snn.timesteps,
            "hidden": recipe.model.hidden, "width": recipe.model.width, "periods": recipe.noise.periods,
            "rounds": rounds, "batches": batches,
        },
        ratio="time, of traditional",
    )  # fmt: skip
    seen: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for turn in range(rounds):
        for method in METHODS:
            seen[method].append(measure(override(recipe, {"method": method}), batches, channels=3, size=32, classes=10))
            say(f"  round {turn + 1} of {rounds}: {method}")
    held = A_WEIGHT * _weights(recipe)
    for method, costs in seen.items():
        measures = {
            "ms a batch": spread([cost["seconds_per_batch"] for cost in costs], 1e3),
            "processor ms a batch": spread([cost["processor_seconds_per_batch"] for cost in costs], 1e3),
            "peak MiB": spread([cost["peak_bytes"] for cost in costs], 1 / MIB),
            "activations MiB": spread([cost["peak_bytes"] - held for cost in costs], 1 / MIB),
        }
        base = section.median("traditional", "ms a batch") or measures["ms a batch"]["median"]
        section.add(method, measures, measures["ms a batch"]["median"] / base)

    def ratio(unit: str) -> float | None:
        return over(section.median("hire", unit), section.median("traditional", unit))

    section.at_most("time of a batch, of traditional", ratio("ms a batch"), 1.05)
    section.at_most("peak of the activations, of traditional", ratio("activations MiB"), 0.70)
    section.notes.append(f"Of the whole peak of traditional training, HIRE takes {ratio('peak MiB') or 0:.2f}.")
    return section


def _weights(recipe: Recipe) -> int:
    with torch.device("meta"):  # counted, not drawn
        ann = build(recipe.model.name, 10, width=recipe.model.width, hidden=recipe.model.hidden)
    return sum(weight.numel() for weight in ann.parameters())
