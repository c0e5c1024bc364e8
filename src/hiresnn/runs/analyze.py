"""`hiresnn analyze`: activity, distance and energy of a spiking run, into analysis-WHAT.json in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiresnn import data
from hiresnn.analysis import (
    PRICES,
    Distances,
    Energy,
    EnergyReport,
    LayerActivity,
    PerturbationDistance,
    SpikeDistance,
    SpikingActivity,
    Traffic,
)
from hiresnn.attacks import AttackSpec, verified
from hiresnn.data import Batches, Split
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork, record
from hiresnn.progress import Progress
from hiresnn.runs.context import RunContext
from hiresnn.runs.evaluate import attack_of, check_fits, label_of
from hiresnn.runs.folder import RunFolder
from hiresnn.runs.memory import fitting_batch
from hiresnn.runs.own_network import load_run

CLEAN = "clean"
LABEL = "estimated arithmetic energy, 45 nm"


class _Subject:
    """A trained spiking network, the images it is shown, and the attacks on them."""

    def __init__(self, context: RunContext, attacks: Sequence[str], limit: int | None, batch_size: int) -> None:
        recipe, folder, dataset = context.recipe, context.folder, context.dataset
        self.recipe = recipe
        self.attacks = [attack_of(recipe, text) for text in dict.fromkeys(attacks)]
        network = load_run(folder)
        if not isinstance(network, SpikingNetwork):
            raise UsageError(f"run {folder.path} holds an ANN, which does not spike; name a run of another method.")
        check_fits(network, dataset, f"{folder.path}")
        self.device, self.seed = context.device, recipe.seed
        self.batch_size = fitting_batch(network, dataset, batch_size, context.device, context.progress)
        self.network = network.to(self.device).fuse(False)  # figures must not depend on the work done before
        self.shown: Split = data.first(dataset.test, min(limit, len(dataset.test))) if limit else dataset.test

    @property
    def header(self) -> dict[str, Any]:
        """What every analysis states at its top."""
        return {"images": len(self.shown), "seed": self.seed, "timesteps": self.network.timesteps}

    def batches(self, title: str, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels in batches, with a progress bar."""
        with progress.task(f"  {title}", len(self.shown)) as task:
            for images, labels in Batches(self.shown, self.batch_size, device=self.device):
                yield images, labels
                task.advance(len(labels))

    def attacked(self, attack: AttackSpec | None, images: Tensor, labels: Tensor) -> Tensor:
        """Return the images after the attack, checked for its bound; unchanged without an attack."""
        if attack is None:
            return images
        return verified(attack, self.network, images, labels, eps=attack.eps)

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Repeat the same Poisson draws, so that two recordings differ only by their images."""
        encoder = self.network.encoding
        before, encoder.generator = encoder.generator, torch.Generator(self.device).manual_seed(self.seed)
        try:
            yield
        finally:
            encoder.generator = before

    @torch.no_grad()
    def spikes(self, images: Tensor) -> dict[str, Tensor]:
        """Return the spikes of every layer: layer name -> [T, B, ...]."""
        with self.seeded(), record(self.network) as spikes:
            self.network(images)
        return spikes

    def conditions(self) -> list[tuple[str, AttackSpec | None]]:
        """Return (label, attack) for clean images first, then for every attack."""
        return [(CLEAN, None), *((label_of(self.recipe, attack), attack) for attack in self.attacks)]


def activity(run: Path, **options: Any) -> dict[str, Any]:
    """Measure SA and TASA of every layer (Definition 1), clean and under each attack; options as for `energy`."""

    def measured(subject: _Subject, progress: Progress) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for label, attack in subject.conditions():
            measure = SpikingActivity()
            for images, labels in subject.batches(label, progress):
                measure.update(subject.spikes(subject.attacked(attack, images, labels)))
            result[label] = _activity_rows(measure.compute())
        return result

    return _analyzed(run, "activity", measured, **options)


def distance(run: Path, **options: Any) -> dict[str, Any]:
    """Measure PD of the images and spike PD of every layer (Definition 2) per attack; options as for `energy`."""
    options["attacks"] = options.get("attacks") or ["pgd"]

    def measured(subject: _Subject, progress: Progress) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for label, attack in subject.conditions()[1:]:
            assert attack is not None
            on_images, on_spikes = PerturbationDistance(), SpikeDistance()
            for images, labels in subject.batches(label, progress):
                adversarial = subject.attacked(attack, images, labels)
                on_images.update(images, adversarial)
                on_spikes.update(subject.spikes(images), subject.spikes(adversarial))
            layers = {name: _spread(found) for name, found in on_spikes.compute().items()}
            result[label] = {"images": _spread(on_images.compute()), "layers": layers}
        return result

    return _analyzed(run, "distance", measured, **options)


def energy(run: Path, **options: Any) -> dict[str, Any]:
    """Count operations, energy and memory per image, as the paper prints them and as they happen.

    Args:
        run: a run folder; its analysis-energy.json is rewritten.
        attacks: such as "pgd:eps=2/255", with the recipe's settings for what the text leaves out; each is measured
            beside the clean images.
        limit: number of test images, balanced over classes; None takes all.
        batch_size: images per batch.
        source: images to use instead of those that the recipe names.
        progress: where progress is reported.

    Raises:
        HiresnnError: the folder has no trained spiking network, the data do not fit, an attack is unknown, or a layer
            cannot be counted.
    """

    def measured(subject: _Subject, progress: Progress) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for label, attack in subject.conditions():
            measure = Energy(subject.network)
            for images, labels in subject.batches(label, progress):
                adversarial = subject.attacked(attack, images, labels)
                with subject.seeded():
                    measure.update(adversarial)
            result[label] = _energy_entry(measure.compute())
        return result

    return _analyzed(run, "energy", measured, **options)


def _analyzed(
    run: Path,
    what: str,
    measured: Callable[[_Subject, Progress], dict[str, Any]],
    *,
    attacks: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 200,
    source: str | None = None,
    progress: Progress,
) -> dict[str, Any]:
    with RunFolder.open(run, write=True) as folder:
        context = RunContext.of_run(folder, progress, source)
        subject = _Subject(context, attacks or [], limit, batch_size)
        result = {"analysis": what, **subject.header, what: measured(subject, progress)}
        folder.write_json(f"analysis-{what}.json", result)
    return result


def _activity_rows(layers: dict[str, LayerActivity]) -> dict[str, Any]:
    rows = {
        name: {"neurons": layer.neurons, "spikes": layer.spikes, "sa": layer.sa, "tasa": layer.tasa,
               "image_tasa_min": float(layer.image_rates.min()), "image_tasa_max": float(layer.image_rates.max())}
        for name, layer in layers.items()
    }  # fmt: skip
    neurons, steps = sum(layer.neurons for layer in layers.values()), next(iter(layers.values())).timesteps
    spikes = sum(layer.spikes for layer in layers.values())
    total = {"neurons": neurons, "spikes": spikes, "sa": spikes / neurons, "tasa": spikes / neurons / steps}
    return {"layers": rows, "total": total}


def _spread(found: Distances) -> dict[str, float]:
    return {"mean": found.mean, "min": float(found.per_image.min()), "max": float(found.per_image.max())}


def _energy_entry(report: EnergyReport) -> dict[str, Any]:
    layers = [
        {**asdict(layer), "flops_snn": layer.flops_snn,
         "pj": {name: report.layer_energy(layer, prices) for name, prices in PRICES.items()}}
        for layer in report.layers
    ]  # fmt: skip
    totals = {
        name: {
            "snn_printed": report.snn_printed(prices),
            "ann_printed": report.ann_printed(prices),
            "snn": report.snn(prices),
            "ann": report.ann(prices),
            "quantised_ann": report.quantised_ann(prices),
        }
        for name, prices in PRICES.items()
    }
    return {
        "label": LABEL,
        "layers": layers,
        "pj": totals,
        "quantised_bits": report.bits,
        "parameters": report.parameters,
        "state_bytes": report.state_bytes,
        "memory": {"snn": _traffic(report.snn_traffic()), "ann": _traffic(report.ann_traffic())},
    }


def _traffic(traffic: Traffic) -> dict[str, float]:
    return {**traffic._asdict(), "on_chip_pj": traffic.on_chip_pj, "off_chip_pj": traffic.off_chip_pj}
