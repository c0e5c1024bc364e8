"""`hiresnn analyze`: activity, distance and energy of a spiking network, into analysis-WHAT.json in its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from hiresnn.analysis import (
    PRICES,
    Distances,
    PerturbationDistance,
    SpikeDistance,
    SpikingActivity,
    Traffic,
    energy_counter,
)
from hiresnn.progress import Progress
from hiresnn.runs.subject import Subject, opened

Pairs = Iterable[tuple[Tensor, Tensor]]
"""Images, and what an attack makes of them; see `Subject.batches`."""
LABEL = "estimated arithmetic energy, 45 nm"


def activity(target: str | Path, **options: Any) -> dict[str, Any]:
    """Measure SA and TASA of every layer (Definition 1), clean and under each attack; options as for `energy`."""
    return _analyzed(target, "activity", _activity, **options)


def distance(target: str | Path, **options: Any) -> dict[str, Any]:
    """Measure PD of the images and spike PD of every layer (Definition 2) per attack; options as for `energy`."""
    options["attacks"] = options.get("attacks") or ["pgd"]
    return _analyzed(target, "distance", _distance, clean=False, **options)


def energy(target: str | Path, **options: Any) -> dict[str, Any]:
    """Count operations, energy and memory per image, as the paper prints them and as they happen.

    Args:
        target: a run folder, whose analysis-energy.json is rewritten; or FILE.py:FUNCTION, which is executed and
            returns a network of hiresnn or of another library in its adapter, or a file that `hiresnn.save` wrote.
        attacks: such as "pgd:eps=2/255", with the recipe's settings for what the text leaves out, or the attack's own
            where there is no recipe; each is measured beside the clean images.
        limit: number of test images, balanced over classes; None takes all.
        source: images to use instead of those that the recipe names; required without a recipe.
        out: folder for the result of a target that is no run; None takes that of its audit.
    """
    return _analyzed(target, "energy", _energy, **options)


def _analyzed(
    target: str | Path, what: str, entry: Callable[[Subject, Pairs], dict[str, Any]],
    *, clean: bool = True, progress: Progress, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Make an entry for each attack, and one for the clean images if `clean`, and write all into the folder."""
    with opened(str(target), progress=progress, **options) as subject:
        entries = {
            label: entry(subject, subject.batches(label, attack, progress))
            for label, attack in subject.conditions
            if clean or attack is not None
        }
        result = {
            "analysis": what, "images": len(subject.shown), "seed": subject.seed,
            "timesteps": subject.network.timesteps, what: entries,
        }  # fmt: skip
        subject.write(f"analysis-{what}.json", result)
    return result


def _activity(subject: Subject, pairs: Pairs) -> dict[str, Any]:
    measure = SpikingActivity()
    for _, attacked in pairs:
        measure.update(subject.spikes(attacked))
    layers = measure.compute()
    rows = {
        name: {"neurons": layer.neurons, "spikes": layer.spikes, "sa": layer.sa, "tasa": layer.tasa,
               "image_tasa_min": float(layer.image_rates.min()), "image_tasa_max": float(layer.image_rates.max())}
        for name, layer in layers.items()
    }  # fmt: skip
    neurons, steps = sum(layer.neurons for layer in layers.values()), next(iter(layers.values())).timesteps
    spikes = sum(layer.spikes for layer in layers.values())
    total = {"neurons": neurons, "spikes": spikes, "sa": spikes / neurons, "tasa": spikes / neurons / steps}
    return {"layers": rows, "total": total}


def _distance(subject: Subject, pairs: Pairs) -> dict[str, Any]:
    on_images, on_spikes = PerturbationDistance(), SpikeDistance()
    for images, attacked in pairs:
        on_images.update(images, attacked)
        on_spikes.update(subject.spikes(images), subject.spikes(attacked))
    layers = {name: _spread(found) for name, found in on_spikes.compute().items()}
    return {"images": _spread(on_images.compute()), "layers": layers}


def _spread(found: Distances) -> dict[str, float]:
    return {"mean": found.mean, "min": float(found.per_image.min()), "max": float(found.per_image.max())}


def _energy(subject: Subject, pairs: Pairs) -> dict[str, Any]:
    measure = energy_counter(subject.network)
    for _, attacked in pairs:
        with subject.seeded():
            measure.update(attacked)
    report = measure.compute()
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
