"""Section `hire`: what a batch of HIRE-SNN costs against one of traditional training, in time and memory.

Both are measured by `reproduction.cost`, as for Fig. 7, always in a fresh process and in alternation. With `--before
SRC`, the `src` folder of another checkout, every round measures that version of hiresnn, too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import torch
from figures import Section, over, spread
from turns import say

from hiresnn.app.recipe import Recipe, override, read
from hiresnn.models import build
from reproduction.cost import measure

METHODS = ("traditional", "hire")
SIZES = {"full width": "vgg5-cifar10", "narrow": "vgg5-cifar10-cpu"}
PRECISIONS = ("float32", "bfloat16")
QUICK = {
    "model.width": "0.125", "model.hidden": "16", "snn.batch_size": "2", "snn.timesteps": "2", "compile": "never",
}  # fmt: skip
MIB = 2**20
BYTES_PER_WEIGHT = 4 * 4
"""What Adam holds for each weight: the weight, its gradient and two moments, all float32."""


def measure_hire(quick: bool, before: Path | None = None) -> Section:
    """Both methods, sizes and precisions, in this version and in the one before."""
    rounds, batches = (1, 1) if quick else (3, 12)
    section = Section(
        "HIRE against traditional training",
        "The recipes `vgg5-cifar10` (full width, hidden 4096) and `vgg5-cifar10-cpu` (narrow: width 0.5, hidden 256) "
        "on random images, batch 32, T = 6, N = 2, Adam. Each number is from a fresh process: the median time of "
        f"{batches} batches, and the peak of resident memory in one batch above that of the process without training. "
        f"Activations are that peak minus {BYTES_PER_WEIGHT} bytes per weight, for weights, gradients and the two "
        "moments of Adam. `before` is an earlier version of hiresnn (`--before`).",
        {"sizes": SIZES, "precisions": PRECISIONS, "rounds": rounds, "batches": batches, "before": before is not None},
    )
    versions = {"": None, **({", before": before} if before else {})}
    costs: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for turn in range(rounds):
        for size, name in SIZES.items():
            for precision in PRECISIONS:
                changes = {"device": "cpu", "precision": precision, **(QUICK if quick else {})}
                recipe = override(read(name), changes)
                for method, version in product(METHODS, versions):
                    chosen = override(recipe, {"method": method})
                    with importing(versions[version]):
                        cost = measure(chosen, batches, channels=3, size=32, classes=10)
                    found = {**cost, "activations": cost["peak_bytes"] - BYTES_PER_WEIGHT * weights(recipe)}
                    costs.setdefault((size, precision, method + version), []).append(found)
                    say(f"  round {turn + 1} of {rounds}: {size}, {precision}, {method}{version}")
    for (size, precision, name), runs in costs.items():
        measures = {
            "ms per batch": spread([cost["seconds_per_batch"] for cost in runs], 1e3),
            "processor ms per batch": spread([cost["processor_seconds_per_batch"] for cost in runs], 1e3),
            "activations MiB": spread([cost["activations"] for cost in runs], 1 / MIB),
        }
        section.add(f"{size}, {precision}: {name}", measures)
    for where in (f"{size}, {precision}" for size in SIZES for precision in PRECISIONS):
        add_ratios(section, where, before is not None)
    return section


def add_ratios(section: Section, where: str, before: bool) -> None:
    """Compare HIRE with traditional training, and both with the version before, at one size and precision."""

    def ratio(one: str, other: str, unit: str = "ms per batch") -> float | None:
        return over(section.median(f"{where}: {one}", unit), section.median(f"{where}: {other}", unit))

    section.at_most(f"{where}: time of a batch, HIRE over traditional", ratio("hire", "traditional"), 1.05)
    if where.startswith(next(iter(SIZES))):
        activations = ratio("hire", "traditional", "activations MiB")
        section.at_most(f"{where}: activations, HIRE over traditional", activations, 0.70)
    if before:
        was = ratio("hire, before", "traditional, before") or 0
        plain, hire = (ratio(name, f"{name}, before") or 0 for name in METHODS)
        section.notes.append(
            f"{where}: in the version before, a batch of HIRE took {was:.2f} times as long as one of traditional "
            f"training. A batch now takes {plain:.2f} (traditional) and {hire:.2f} (HIRE) times as long as in the "
            "version before."
        )


@contextmanager
def importing(source: Path | None) -> Iterator[None]:
    """Make new processes import hiresnn from another `src` folder."""
    own = os.environ.get("PYTHONPATH")
    if source is not None:
        os.environ["PYTHONPATH"] = str(source.resolve())
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH", None)
        if own is not None:
            os.environ["PYTHONPATH"] = own


def weights(recipe: Recipe) -> int:
    """Number of weights of the recipe's network."""
    with torch.device("meta"):  # shapes only
        ann = build(recipe.model.name, 10, width=recipe.model.width, hidden=recipe.model.hidden)
    return sum(weight.numel() for weight in ann.parameters())
