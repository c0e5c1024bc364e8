"""`hiresnn analyze`: activity, distance and energy of a spiking network, into analysis-WHAT.json in its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hiresnn.analysis import (
    PRICES,
    Distances,
    EnergyReport,
    LayerActivity,
    PerturbationDistance,
    SpikeDistance,
    SpikingActivity,
    Traffic,
    energy_counter,
)
from hiresnn.progress import Progress
from hiresnn.runs.subject import Subject, opened

LABEL = "estimated arithmetic energy, 45 nm"


def activity(target: str | Path, **options: Any) -> dict[str, Any]:
    """Measure SA and TASA of every layer (Definition 1), clean and under each attack; options as for `energy`."""

    def measured(subject: Subject, progress: Progress) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for label, attack in subject.conditions:
            measure = SpikingActivity()
            for images, labels in subject.batches(label, progress):
                measure.update(subject.spikes(subject.attacked(attack, images, labels)))
            result[label] = _activity_rows(measure.compute())
        return result

    return _analyzed(target, "activity", measured, **options)


def distance(target: str | Path, **options: Any) -> dict[str, Any]:
    """Measure PD of the images and spike PD of every layer (Definition 2) per attack; options as for `energy`."""
    options["attacks"] = options.get("attacks") or ["pgd"]

    def measured(subject: Subject, progress: Progress) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for label, attack in subject.conditions[1:]:
            assert attack is not None
            on_images, on_spikes = PerturbationDistance(), SpikeDistance()
            for images, labels in subject.batches(label, progress):
                adversarial = subject.attacked(attack, images, labels)
                on_images.update(images, adversarial)
                on_spikes.update(subject.spikes(images), subject.spikes(adversarial))
            layers = {name: _spread(found) for name, found in on_spikes.compute().items()}
            result[label] = {"images": _spread(on_images.compute()), "layers": layers}
        return result

    return _analyzed(target, "distance", measured, **options)


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

    def measured(subject: Subject, progress: Progress) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for label, attack in subject.conditions:
            measure = energy_counter(subject.network)
            for images, labels in subject.batches(label, progress):
                adversarial = subject.attacked(attack, images, labels)
                with subject.seeded():
                    measure.update(adversarial)
            result[label] = _energy_entry(measure.compute())
        return result

    return _analyzed(target, "energy", measured, **options)


def _analyzed(
    target: str | Path, what: str, measured: Callable[[Subject, Progress], dict[str, Any]],
    *, progress: Progress, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    with opened(str(target), progress=progress, **options) as subject:
        result = {"analysis": what, **subject.header, what: measured(subject, progress)}
        subject.write(f"analysis-{what}.json", result)
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
