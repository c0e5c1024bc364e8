"""Choose settings of training on event grids on held-out samples, or measure the chosen ones on the test set.

    python benchmarks/events.py saccade-digits --out choice --set data.holdout_images=200 --set snn.epochs=6 \\
        --row "traditional" method=traditional --row "hire 0.02" noise.step=0.02 noise.bound=0.02

A row is a name and values that it sets in the recipe; `noise=one` or `noise=merged` in a row of hire takes another
meaning of the noise of a period, see `OneForAllBins` and `WholeRecording`. Rows share the ANN, which is trained first.
On the held-out samples, or with --test on the test samples, the columns are the clean accuracy, that after PGD with 7
steps within 0.1 of every cell, the accuracy after 10 flips of the guided attack and the median of its smallest budgets
(own gradient, first LIMIT samples). Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from hiresnn import data, fit
from hiresnn.app.build import calibrate_by, calibration_images, method_of, optimizer_of, spiking_network, splits
from hiresnn.app.folder import MODEL
from hiresnn.app.networks import load
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.app.train import ann_path, train
from hiresnn.attacks import guided, pgd, seeded
from hiresnn.attacks.gate import frozen
from hiresnn.checks import as_floats, correct
from hiresnn.data import rebin
from hiresnn.progress import Progress
from hiresnn.training import CraftedNoise, Schedule


class OneForAllBins(CraftedNoise):
    """One kappa [B, 1, P, H, W] for all bins of a period, from the sum of their gradients."""

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        super().begin(model, images[:, :1], labels)

    def update(self, gradient: Tensor) -> None:
        super().update(gradient.sum(1, keepdim=True))


class WholeRecording(CraftedNoise):
    """Every period sees the whole recording with T/N merged bins, as every period of an image sees the image."""

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        # `images` are the bins of the first period, so `recording` is set by `Recordings`.
        assert self.recording is not None
        self.merged = rebin(self.recording, images.shape[1], binary=True)
        super().begin(model, self.merged, labels)

    def apply(self, images: Tensor) -> Tensor:
        return super().apply(self.merged)

    recording: Tensor | None = None


class Recordings(data.Batches):
    """Batches that show `noise` each recording as a whole before a period sees its bins."""

    noise: WholeRecording

    def __iter__(self):
        for grids, labels in super().__iter__():
            self.noise.recording = grids
            yield grids, labels


MEANINGS = {"one": OneForAllBins, "merged": WholeRecording}


def trained(recipe: Recipe, ann: nn.Module, split: data.Split, meaning: str | None) -> nn.Module:
    """Return the spiking network of the recipe, trained as `hiresnn train` does."""
    torch.manual_seed(recipe.seed)
    network, method = spiking_network(recipe, ann), method_of(recipe, ann)
    calibrate_by(recipe, ann, network, as_floats(calibration_images(recipe, split)))
    kind = Recordings if meaning == "merged" else data.Batches
    order = torch.Generator().manual_seed(2 * recipe.seed + 1)
    batches = kind(split, recipe.snn.batch_size, shuffle=True, augment=False, generator=order)
    if meaning is not None:
        batches.noise = method.noise = MEANINGS[meaning](recipe.noise.step, recipe.noise.limit)
    snn = recipe.snn
    schedule = Schedule(recipe.snn_epochs, snn.lr, snn.decay, snn.milestones)
    options = {"optimizer": optimizer_of(recipe, network), "schedule": schedule, "seed": None, "progress": False}
    return fit(network, batches, method=method, compile=False, **options).network


def measured(network: nn.Module, split: data.Split, limit: int) -> list[float]:
    """Return the columns of a row; a sample that nothing breaks counts as a budget of 1000."""
    grids, labels = as_floats(split.images), split.labels
    attacked = pgd(network, grids, labels, eps=0.1, step=0.025, iterations=7)
    with frozen(network), torch.no_grad():
        shares = [100 * correct(network(shown), labels).float().mean().item() for shown in (grids, attacked)]
    with seeded(0):
        budgets = guided(network, grids[:limit], labels[:limit]).budgets.clamp(max=1000)
    return [*shares, 100 * (budgets > 10).float().mean().item(), budgets[budgets > 0].median().item()]


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("recipe")
    cli.add_argument("--row", nargs="+", action="append", required=True, metavar="NAME KEY=VALUE")
    cli.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all rows")
    cli.add_argument("--test", action="store_true", help="measure on the test samples, not on those held out")
    cli.add_argument("--limit", type=int, default=60, help="samples under the guided attack")
    cli.add_argument("--out", type=Path, required=True, help="folder of the ANN, which is used again")
    asked = cli.parse_args()
    pairs = partial(map, partial(str.split, sep="=", maxsplit=1))
    base = override(read(asked.recipe), dict(pairs(asked.set)))
    dataset = data.load(base.data.source, bins=base.snn.timesteps)
    split, held_out = splits(base, dataset)
    measured_on = data.in_turn(dataset.test, len(dataset.test)) if asked.test else held_out
    assert measured_on is not None, "the recipe holds no samples out; add --set data.holdout_images=200"
    train(
        override(base, {"method": '"converted"'}),
        out=asked.out / f"converted-{base.seed}-{base.snn_epochs}",
        resume=True,
        progress=Progress(quiet=True),
    )
    ann = load(ann_path(base, dataset, asked.out / "converted") / MODEL)
    print("| row | clean | PGD-7 0.1 | 10 flips | median flips | training, s |\n|---|---|---|---|---|---|", flush=True)
    for name, *changes in asked.row:
        values = dict(pairs(changes))
        meaning, start = values.pop("noise", None), time.perf_counter()
        network = trained(override(base, values), ann, split, meaning)
        seconds = time.perf_counter() - start
        cells = " | ".join(f"{cell:.1f}" for cell in measured(network, measured_on, asked.limit))
        print(f"| {name} | {cells} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
