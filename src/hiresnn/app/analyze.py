"""What `hiresnn analyze` measures: a spiking network, the images it is shown, and the attacks on them.

`hiresnn analyze`: activity, distance and energy of a spiking network, into analysis-WHAT.json in its folder.

`hiresnn analyze conversion`: the error of the conversion over T and threshold scale, into files of the run.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.analysis import (
    PRICES,
    ConversionError,
    Distances,
    PerturbationDistance,
    SpikeDistance,
    SpikingActivity,
    Traffic,
    energy_counter,
    recording,
)
from hiresnn.app.build import calibrate_by, spiking_network
from hiresnn.app.context import RunContext, device_of
from hiresnn.app.evaluate import attack_of, check_fits, label_of
from hiresnn.app.folder import ANN, RunFolder, locked
from hiresnn.app.memory import calibration_images, fitting_batch
from hiresnn.app.own import load_run
from hiresnn.app.recipe import Recipe, changed
from hiresnn.app.targets import audit_folder, data_of, resolve_model, run_named
from hiresnn.attacks import AttackSpec, frozen, seeded, verified
from hiresnn.data import Batches, Split
from hiresnn.errors import RunError, UsageError
from hiresnn.files import json_text, write_atomically
from hiresnn.foreign import Unrolled
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

CLEAN = "clean"


@dataclass
class Subject:
    """A spiking network, the images it is shown, and the attacks on them.

    Attributes:
        conditions: (label, attack), clean images first, with no attack.
        write: writes a result, as JSON, under the name of a file.
    """

    network: SpikingNetwork | Unrolled
    shown: Split
    device: str
    seed: int
    batch_size: int
    conditions: list[tuple[str, AttackSpec | None]]
    write: Callable[[str, Any], None]

    def batches(self, title: str, attack: AttackSpec | None, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images and what the attack makes of them, the same without one, in batches with a progress bar."""
        with progress.task(f"  {title}", len(self.shown)) as task:
            for number, (images, labels) in enumerate(Batches(self.shown, self.batch_size, device=self.device)):
                attacked = images
                if attack is not None:
                    with seeded(self.seed + number):  # what the attack draws must not depend on earlier work
                        attacked = verified(attack, self.network, images, labels, eps=attack.eps)
                yield images, attacked
                task.advance(len(labels))

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Repeat the same Poisson draws, so that two recordings differ only by their images."""
        if not isinstance(self.network, SpikingNetwork):
            with seeded(self.seed):
                yield
            return
        encoder = self.network.encoding
        before, encoder.generator = encoder.generator, torch.Generator(self.device).manual_seed(self.seed)
        try:
            yield
        finally:
            encoder.generator = before

    @torch.no_grad()
    def spikes(self, images: Tensor) -> dict[str, Tensor]:
        """Return the spikes of every layer: layer name -> [T, B, ...]."""
        with self.seeded(), frozen(self.network), recording(self.network) as spikes:
            self.network(images)
        return spikes


@contextmanager
def opened(
    target: str,
    *,
    attacks: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 200,
    source: str | None = None,
    out: Path | None = None,
    progress: Progress,
) -> Iterator[Subject]:
    """Open a run folder, which gets the results, or take a network from a file or a function; options as for `energy`.

    The results of a file or a function go into the folder of its audit, or another one.
    """
    texts = dict.fromkeys(attacks or ())
    network: Any
    with ExitStack() as held:
        if (path := run_named(target)) is not None:
            if out is not None:
                raise UsageError(f"the results of run {path} are part of its folder; leave out --out.")
            folder = held.enter_context(RunFolder.open(path, write=True))
            context = RunContext.of_run(folder, progress, source)
            recipe, dataset, device, write = context.recipe, context.dataset, context.device, folder.write_json
            specs = [attack_of(recipe, text, recipe.seed) for text in texts]
            conditions = [(label_of(recipe, spec), spec) for spec in specs]
            network, seed = load_run(folder), recipe.seed
            if not isinstance(network, SpikingNetwork):
                raise UsageError(f"run {path} holds an ANN, which does not spike; name a run of another method.")
            check_fits(network, dataset, f"{path}")
            batch_size = fitting_batch(network, dataset, batch_size, device, progress)
        else:
            found = resolve_model(target)
            network, seed, device = found.model, 0, device_of(None)
            if not isinstance(network, SpikingNetwork | Unrolled):
                raise UsageError(
                    f"{target} is a {type(network).__name__}, whose spikes hiresnn cannot find; name a function "
                    "that returns a network of hiresnn, or of another library in an adapter of hiresnn.foreign."
                )
            dataset = data_of(target, found, source)
            check_fits(network, dataset, target)
            conditions = [(spec.label, spec) for spec in map(AttackSpec.parse, texts)]
            place = out or audit_folder(target, found)
            held.enter_context(locked(place, "analysis folder"))

            def write(name: str, value: Any) -> None:
                write_atomically(place / name, json_text(value).encode())

        if isinstance(network, SpikingNetwork):
            network.fuse(False)  # figures must not depend on the work done before
        shown = data.first(dataset.test, min(limit, len(dataset.test))) if limit else dataset.test
        yield Subject(network.to(device), shown, device, seed, batch_size, [(CLEAN, None), *conditions], write)


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
