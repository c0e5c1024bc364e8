"""`hiresnn analyze`: activity, distance and energy of a spiking network, into analysis-WHAT.json in its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiresnn import data
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
    recording,
)
from hiresnn.attacks import AttackSpec, frozen, seeded, verified
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.runs.atomic import write_atomically
from hiresnn.runs.context import RunContext
from hiresnn.runs.evaluate import attack_of, check_fits, label_of
from hiresnn.runs.folder import RunFolder
from hiresnn.runs.lock import locked
from hiresnn.runs.memory import fitting_batch
from hiresnn.runs.model_source import ModelSource, audit_folder, resolve_model
from hiresnn.runs.own_network import load_run

CLEAN = "clean"
LABEL = "estimated arithmetic energy, 45 nm"


@dataclass
class _Subject:
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

    @classmethod
    @contextmanager
    def of_run(cls, run: Path, request: _Request) -> Iterator[_Subject]:
        """Open a run folder, which gets the results."""
        with RunFolder.open(run, write=True) as folder:
            context = RunContext.of_run(folder, request.progress, request.source)
            recipe = context.recipe
            specs = [attack_of(recipe, text) for text in dict.fromkeys(request.attacks)]
            network = load_run(folder)
            if not isinstance(network, SpikingNetwork):
                raise UsageError(f"run {run} holds an ANN, which does not spike; name a run of another method.")
            check_fits(network, context.dataset, f"{run}")
            batch = fitting_batch(network, context.dataset, request.batch_size, context.device, context.progress)
            labels = [label_of(recipe, spec) for spec in specs]
            yield cls._on(
                network, request.shown(context.dataset), context.device, recipe.seed, batch,
                list(zip(labels, specs, strict=True)), folder.write_json,
            )  # fmt: skip

    @classmethod
    @contextmanager
    def of_target(cls, source: ModelSource, request: _Request) -> Iterator[_Subject]:
        """Take a network from a file or a function; the results go into the folder of its audit, or another one."""
        network = source.model
        if not isinstance(network, SpikingNetwork | Unrolled):
            raise UsageError(
                f"{request.target} is a {type(network).__name__}, whose spikes hiresnn cannot find; name a function "
                "that returns a network of hiresnn, or of another library in an adapter of hiresnn.foreign."
            )
        if request.source is None:
            raise UsageError(f"{request.target} has no data set of its own; name one with --data, for example digits.")
        dataset = data.load(request.source)
        check_fits(network, dataset, request.target)
        specs = [AttackSpec.parse(text) for text in dict.fromkeys(request.attacks)]
        out = request.out or audit_folder(request.target, source)
        with locked(out, "analysis folder"):

            def write(name: str, result: Any) -> None:
                write_atomically(out / name, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())

            device = "cuda" if torch.cuda.is_available() else "cpu"
            yield cls._on(
                network, request.shown(dataset), device, 0, request.batch_size,
                [(spec.label, spec) for spec in specs], write,
            )  # fmt: skip

    @classmethod
    def _on(
        cls, network: SpikingNetwork | Unrolled, shown: Split, device: str, seed: int, batch_size: int,
        attacks: list[tuple[str, AttackSpec]], write: Callable[[str, Any], None],
    ) -> _Subject:  # fmt: skip
        if isinstance(network, SpikingNetwork):
            network.fuse(False)  # figures must not depend on the work done before
        return cls(network.to(device), shown, device, seed, batch_size, [(CLEAN, None), *attacks], write)

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


def activity(target: str | Path, **options: Any) -> dict[str, Any]:
    """Measure SA and TASA of every layer (Definition 1), clean and under each attack; options as for `energy`."""

    def measured(subject: _Subject, progress: Progress) -> dict[str, Any]:
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

    def measured(subject: _Subject, progress: Progress) -> dict[str, Any]:
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
        batch_size: images per batch.
        source: images to use instead of those that the recipe names; required without a recipe.
        out: folder for the result of a target that is no run; None takes that of its audit.
        progress: where progress is reported.

    Raises:
        HiresnnError: the target has no spiking network, the data do not fit, an attack is unknown, or a layer
            cannot be counted.
    """

    def measured(subject: _Subject, progress: Progress) -> dict[str, Any]:
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


@dataclass(frozen=True)
class _Request:
    """What a caller asks for; see `energy`."""

    target: str
    attacks: Sequence[str]
    limit: int | None
    batch_size: int
    source: str | None
    out: Path | None
    progress: Progress

    def shown(self, dataset: DataSet) -> Split:
        """Return the test images to measure on."""
        return data.first(dataset.test, min(self.limit, len(dataset.test))) if self.limit else dataset.test

    def subject(self) -> AbstractContextManager[_Subject]:
        """Return what is measured, a run folder or any other target."""
        path = Path(self.target)
        if not path.is_dir() and (":" in self.target or path.suffix == ".safetensors"):
            found = resolve_model(self.target)
            if found.folder is None:
                return _Subject.of_target(found, self)
            path = found.folder
        if self.out is not None:
            raise UsageError(f"the results of run {path} are part of its folder; leave out --out.")
        return _Subject.of_run(path, self)


def _analyzed(
    target: str | Path,
    what: str,
    measured: Callable[[_Subject, Progress], dict[str, Any]],
    *,
    attacks: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 200,
    source: str | None = None,
    out: Path | None = None,
    progress: Progress,
) -> dict[str, Any]:
    request = _Request(str(target), attacks or [], limit, batch_size, source, out, progress)
    with request.subject() as subject:
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
