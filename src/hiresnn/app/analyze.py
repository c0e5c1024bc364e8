"""`hiresnn analyze`: activity, distance, energy and conversion error of a network, into analysis-WHAT.json."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.analysis import (
    PRICES,
    ConversionError,
    Distances,
    Energy,
    PerturbationDistance,
    SpikeDistance,
    SpikingActivity,
    recording,
)
from hiresnn.app.build import calibrate_by, calibration_images, device_of, fitting_batch, spiking_network, splits
from hiresnn.app.evaluate import attack_of, check_fits, label_of
from hiresnn.app.folder import ANN, RunFolder, locked
from hiresnn.app.recipe import changed
from hiresnn.app.targets import audit_folder, data_of, load_for, load_run, resolve_model, run_named
from hiresnn.attacks import AttackSpec, frozen, seeded, verified
from hiresnn.checks import as_floats
from hiresnn.data import Batches
from hiresnn.errors import RunError, UsageError
from hiresnn.files import json_text, write_atomically
from hiresnn.foreign import Unrolled
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

CLEAN = "clean"
LABEL = "estimated arithmetic energy, 45 nm"
FACTORS = (0.5, 1, 2, 4)
"""Multiples of the recipe's T that `conversion` measures by default."""
LIMIT = 1000
"""Images that `conversion` measures by default."""
COLUMNS = ("images", "timesteps", "threshold_scale", "layer", "error", "bias", "clipped", "accuracy")
Network = SpikingNetwork | Unrolled
Pairs = Iterable[tuple[Tensor, Tensor]]
"""Images, and what an attack makes of them; the same images twice without an attack."""


def activity(target: str | Path, **options: Any) -> dict[str, Any]:
    """Measure SA and TASA of every layer (Definition 1), clean and under each attack; options as for `energy`."""
    return _analyzed("activity", _activity, target, **options)


def distance(target: str | Path, **options: Any) -> dict[str, Any]:
    """Measure PD of the images and spike PD of every layer (Definition 2) per attack; options as for `energy`."""
    return _analyzed("distance", _distance, target, **{**options, "attacks": options.get("attacks") or ["pgd"]})


def energy(target: str | Path, **options: Any) -> dict[str, Any]:
    """Count operations, energy and memory per image, as the paper prints them and as they happen.

    `target` is a run folder, which gets the result, or as for `resolve_model`; then `out` is the folder, by default
    that of its audit. Each attack, with the settings of the recipe if there is one, is measured beside the clean
    images. `limit` images of the test set, or of that of `source`, are balanced over classes; None takes all.
    """
    return _analyzed("energy", _energy, target, **options)


def _analyzed(
    what: str,
    measure: Callable[[Network, Pairs, int], dict[str, Any]],
    target: str | Path,
    *,
    attacks: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 200,
    source: str | None = None,
    out: Path | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Measure under each attack, and on the clean images unless `what` is a distance; write the result."""
    target = str(target)
    with ExitStack() as stack:
        if (run := run_named(target)) is not None and run.exists():
            if out is not None:
                raise UsageError(f"the results of run {run} are part of its folder; leave out --out.")
            stack.enter_context(RunFolder.open(run, write=True))
        else:
            run = None
        subject = resolve_model(target, source=source)
        network, recipe = subject.model, subject.recipe
        if not isinstance(network, SpikingNetwork | Unrolled):
            raise UsageError(
                f"{target} is a {type(network).__name__}, whose spikes hiresnn cannot find; name a spiking network of "
                "hiresnn, or one of another library in an adapter of hiresnn.foreign."
            )
        dataset, device = data_of(target, subject, source), device_of(recipe)
        check_fits(network, dataset, target)
        conditions: dict[str, AttackSpec | None] = {} if what == "distance" else {CLEAN: None}
        for text in attacks or ():
            spec = AttackSpec.parse(text) if recipe is None else attack_of(recipe, text, recipe.seed)
            conditions[spec.label if recipe is None else label_of(recipe, spec)] = spec
        if run is None:
            run = out or audit_folder(target, subject)
            stack.enter_context(locked(run, "analysis folder"))
        if isinstance(network, SpikingNetwork):
            network.fuse(False)  # figures must not depend on the work done before
            network.encoding.generator = None  # Poisson draws follow `seeded`
        network.to(device)
        split = data.first(dataset.test, min(limit, len(dataset.test))) if limit else dataset.test
        seed = recipe.seed if recipe else 0
        entries: dict[str, Any] = {}
        for label, attack in conditions.items():
            batches = Batches(split, fitting_batch(network, dataset, batch_size), device=device)
            attacked = attacked_batches(network, batches, attack, label, len(split), seed, progress)
            entries[label] = measure(network, ((images, changed) for images, changed, _ in attacked), seed)
        result = {"analysis": what, "images": len(split), "seed": seed, "timesteps": network.timesteps, what: entries}
        write_atomically(run / f"analysis-{what}.json", json_text(result).encode())
    return result


def attacked_batches(
    model: nn.Module, batches: Batches, attack: AttackSpec | None, label: str, count: int, seed: int, progress: Progress
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield images, what the attack makes of them (the same without one), and labels."""
    with progress.task(f"  {label}", count) as task:
        for number, (images, labels) in enumerate(batches):
            attacked = images
            if attack is not None:
                with seeded(seed + number):  # what the attack draws must not depend on earlier work
                    attacked = verified(attack, model, images, labels, eps=attack.eps)
            yield images, attacked, labels
            task.advance(len(labels))


@torch.no_grad()
def _spikes(network: Network, images: Tensor, seed: int) -> dict[str, Tensor]:
    """Return the spikes of every layer, [T, B, ...]; two recordings repeat the same Poisson draws."""
    with seeded(seed), frozen(network), recording(network) as spikes:
        network(images)
    return spikes


def _activity(network: Network, pairs: Pairs, seed: int) -> dict[str, Any]:
    measure = SpikingActivity()
    for _, attacked in pairs:
        measure.update(_spikes(network, attacked, seed))
    layers = measure.compute()
    rows = {
        name: {**{key: getattr(layer, key) for key in ("neurons", "spikes", "sa", "tasa")},
               "image_tasa_min": float(layer.image_rates.min()), "image_tasa_max": float(layer.image_rates.max())}
        for name, layer in layers.items()
    }  # fmt: skip
    neurons, spikes = (sum(row[key] for row in rows.values()) for key in ("neurons", "spikes"))
    tasa = spikes / neurons / next(iter(layers.values())).timesteps
    return {"layers": rows, "total": {"neurons": neurons, "spikes": spikes, "sa": spikes / neurons, "tasa": tasa}}


def _distance(network: Network, pairs: Pairs, seed: int) -> dict[str, Any]:
    on_images, on_spikes = PerturbationDistance(), SpikeDistance()
    for images, attacked in pairs:
        on_images.update(images, attacked)
        on_spikes.update(_spikes(network, images, seed), _spikes(network, attacked, seed))

    def spread(distances: Distances) -> dict[str, float]:
        per_image = distances.per_image
        return {"mean": distances.mean, "min": float(per_image.min()), "max": float(per_image.max())}

    layers = {name: spread(distances) for name, distances in on_spikes.compute().items()}
    return {"images": spread(on_images.compute()), "layers": layers}


def _energy(network: Network, pairs: Pairs, seed: int) -> dict[str, Any]:
    measure = Energy(network)
    for _, attacked in pairs:
        with seeded(seed):
            measure.update(attacked)
    report = measure.compute()
    layers = [
        {**asdict(layer), "flops_snn": layer.flops_snn,
         "pj": {name: report.layer_energy(layer, prices) for name, prices in PRICES.items()}}
        for layer in report.layers
    ]  # fmt: skip
    totals = ("snn_printed", "ann_printed", "snn", "ann", "quantised_ann")
    pj = {name: {total: getattr(report, total)(prices) for total in totals} for name, prices in PRICES.items()}
    memory = {
        name: {**traffic._asdict(), "on_chip_pj": traffic.on_chip_pj, "off_chip_pj": traffic.off_chip_pj}
        for name, traffic in (("snn", report.snn_traffic()), ("ann", report.ann_traffic()))
    }
    return {
        "label": LABEL, "layers": layers, "pj": pj, "quantised_bits": report.bits, "parameters": report.parameters,
        "state_bytes": report.state_bytes, "memory": memory,
    }  # fmt: skip


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

    The images are those that the recipe holds out, because settings are chosen by this; else the test images. The
    defaults are FACTORS of the recipe's T, its own scale, no attacks on the ANN, and LIMIT images.
    """
    with RunFolder.open(run, write=True) as folder:
        recipe = folder.recipe
        device, dataset = device_of(recipe), load_for(recipe, source)
        train, held_out = splits(recipe, dataset)
        steps, scale = recipe.snn.timesteps, recipe.conversion.threshold_scale
        measured_steps = timesteps or sorted({max(1, round(factor * steps)) for factor in FACTORS})
        settings = dict.fromkeys([(steps, scale), *((t, s) for s in scales or [scale] for t in measured_steps)])
        # More periods than timesteps are no recipe; their number does not matter to a conversion.
        keys = ("noise.periods", "snn.timesteps", "conversion.threshold_scale")
        recipes = [
            changed(recipe, dict(zip(keys, (1, *setting), strict=True)), "--timesteps or --scales")
            for setting in settings
        ]
        ann = load_run(_ann(folder)).to(device)
        check_fits(ann, dataset, f"{folder.path}")
        images = as_floats(calibration_images(recipe, train).to(device))  # as in training
        networks = []
        for variant in recipes:
            network = spiking_network(variant, ann).to(device).eval()
            calibrate_by(variant, ann, network, images)
            networks.append(network.fuse(False))
        name, split = ("test", dataset.test) if held_out is None else ("held-out", held_out)
        split = data.first(split, min(limit or LIMIT, len(split)))
        rows: list[dict[str, Any]] = []
        for attack in [None, *(attack_of(recipe, text, recipe.seed) for text in dict.fromkeys(attacks or ()))]:
            label = CLEAN if attack is None else label_of(recipe, attack)
            measures = [ConversionError(ann, network) for network in networks]
            batches = Batches(split, batch_size, device=device)
            for _, attacked, labels in attacked_batches(ann, batches, attack, label, len(split), recipe.seed, progress):
                for measure in measures:
                    measure.update(attacked, labels)
            for variant, measure in zip(recipes, measures, strict=True):
                setting = {"timesteps": variant.snn.timesteps, "threshold_scale": variant.conversion.threshold_scale}
                accuracies = dict(zip(("ann", "snn"), measure.accuracies, strict=True))
                layers = {layer: asdict(errors) for layer, errors in measure.compute().items()}
                rows.append({"images": label, **setting, **accuracies, "layers": layers})
        result = {
            "analysis": "conversion", "images": len(split), "split": name, "seed": recipe.seed, "timesteps": steps,
            "threshold_scale": scale, "conversion": rows,
        }  # fmt: skip
        folder.write_json("analysis-conversion.json", result)
        folder.write_bytes("analysis-conversion.csv", table(rows).encode())
    return result


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as CSV: one line per setting and layer, and one each for the whole ANN and the whole network."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        setting = [row[key] for key in COLUMNS[:3]]
        for name, layer in row["layers"].items():
            writer.writerow([*setting, name, *(f"{layer[key]:.6g}" for key in COLUMNS[4:])])
        for name in ("ann", "snn"):
            writer.writerow([*setting, name.upper(), "", "", "", f"{row[name]:.6g}"])
    return text.getvalue()


def _ann(folder: RunFolder) -> RunFolder:
    """Return the folder of the ANN that a run started from; a run of the method "ann" is that itself."""
    if folder.recipe.method == "ann":
        return folder
    path = folder.path.parent / "ann" / folder.read_json(ANN)["folder"] if folder.has(ANN) else None
    if path is None or not path.is_dir():
        missing = f"the ANN that run {folder.path} was converted from is not {f'in {path}' if path else 'named in it'}"
        raise RunError(f"{missing}; name a run that hiresnn train wrote, in the folder where it was trained.")
    return RunFolder.open(path)
