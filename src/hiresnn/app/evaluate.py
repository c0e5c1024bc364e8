"""`hiresnn evaluate`: a run under attack, white box and black box, and on corrupted images; its result.json."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy, corruption_accuracy, mean_accuracy
from hiresnn.app.build import compile_neurons, device_of, fitting_batch, splits
from hiresnn.app.folder import ANN, MODEL, RECORDS, RunFolder
from hiresnn.app.recipe import SEEDS, Recipe
from hiresnn.app.targets import load_for, load_run
from hiresnn.attacks import ATTACKS, Attack, AttackSpec, seeded, transfer
from hiresnn.calls import format_eps, read_call
from hiresnn.checks import as_floats
from hiresnn.data import Batches, DataSet
from hiresnn.errors import RunError, UsageError
from hiresnn.files import json_text, read_json, write_atomically
from hiresnn.models import spec_of
from hiresnn.network import SpikingNetwork, record
from hiresnn.progress import Progress


def evaluate(
    run: Path, *, attacks: list[str] | None = None, twins: list[Path] | None = None, **options: Any
) -> dict[str, Any]:
    """Measure the clean and attacked accuracy of a run, in percent; return the content of result.json.

    New figures are added to it (to result-holdout.json for `split` "holdout") beside those on as many images, and
    replace those on fewer; with `out` they go to that file alone. `attacks` are by default the recipe's, `twins` runs
    whose networks make the black-box images. Every figure starts from `seed` (None: the recipe's), so none depends on
    the others, and the caller's generators stay as they are. "dead_layer" of the result names a layer that never
    spikes, if there is one. `options` are those of `_subject`.
    """
    with _subject(run, "result", **options) as subject:
        recipe, attack_seed = subject.recipe, subject.seed
        specs = [attack_of(recipe, text, attack_seed) for text in attacks or ()] or recipe_attacks(recipe)
        earlier = subject.earlier("attacks")
        opponents = {relation: load_run(twin) for relation, twin in _twins(subject.folder, twins or []).items()}
        passes = len(subject.images) * sum(1 + 2 * int(spec.resolved().get("iterations", 1)) for spec in specs)
        subject.prepare(passes, *opponents.values())
        clean = subject.accuracy("clean")
        figures: dict[str, dict[str, Any]] = {}
        for spec in specs:
            label, code = label_of(recipe, spec), ATTACKS[spec.name].source
            shown = read_call(label, "attack")  # results keep the syntax of version 0.2
            options = spec.resolved() | ({"source": code} if code else {})
            entry: dict[str, Any] = {"white_box": subject.accuracy(f"{shown}, white box", spec, spec.eps)}
            entry |= {"attack_seed": attack_seed, "options": options}
            for relation, twin in opponents.items():
                title = f"{shown}, twin from {'the same' if relation == 'same-ann' else 'an independent'} ANN"
                entry.setdefault("twins", {})[relation] = subject.accuracy(title, transfer(spec, twin), spec.eps)
                entry.setdefault("twin_seeds", {})[relation] = attack_seed
            figures[label] = entry
        return subject.stored({"clean": clean, "attacks": _merged(earlier, figures)}, recipe.seed)


def evaluate_corruptions(run: Path, **options: Any) -> dict[str, Any]:
    """Measure the accuracy of a run on corrupted images, in percent; return the content of corruptions.json.

    That file (corruptions-holdout.json for `split` "holdout") is replaced if it is of as many images or fewer. The
    corruptions are drawn from `seed` (None: 0); all else is as in `evaluate`.
    """
    with _subject(run, "corruptions", **options) as subject:
        subject.earlier("corruptions")
        subject.prepare(len(subject.images) * 5 * len(data.CORRUPTIONS))
        clean, seed, images = subject.accuracy("clean"), options.get("seed") or 0, subject.images
        with seeded(subject.seed):
            accuracies = corruption_accuracy(
                subject.network, as_floats(images.images), images.labels, seed=seed, batch_size=subject.batch_size,
                progress=subject.progress,
            )  # fmt: skip
        return subject.stored({"clean": clean, "corruptions": accuracies, "mean": mean_accuracy(accuracies)}, seed)


@contextmanager
def _subject(
    run: Path,
    name: str,
    *,
    limit: int | None = None,
    split: Literal["test", "holdout"] = "test",
    batch_size: int = 200,
    seed: int | None = None,
    source: str | None = None,
    out: Path | None = None,
    progress: Progress,
) -> Iterator[_Subject]:
    """Open a run for an evaluation, whose result goes to `out` or to the file `name` of the run.

    `limit` images are balanced over classes; None takes all. `source` replaces the data set of the run.
    """
    if seed is not None and not 0 <= seed < SEEDS:
        raise UsageError(f"seed is {seed}; choose a whole number from 0 to {SEEDS - 1}.")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise UsageError(f"--out {out} cannot be written: name a file in a folder that exists.")
    file = f"{name}{'' if split == 'test' else '-holdout'}.json"
    if out is not None and out.exists():
        remedy = "it is no result of hiresnn evaluate, and is not replaced; name a new file"
        read_json(out, RECORDS[file], remedy=remedy, error=UsageError)
    with RunFolder.open_or_zoo(run, write=out is None) as folder, seeded(folder.recipe.seed):
        recipe, network = folder.recipe, load_run(folder)
        dataset = load_for(recipe, source)
        images = dataset.test if split == "test" else splits(recipe, dataset)[1]
        if images is None:
            raise UsageError("the run held no images out (data.holdout_images = 0 in its recipe); use --split test.")
        images = data.first(images, min(limit, len(images))) if limit else images
        batch_size, seed = fitting_batch(network, dataset, batch_size), recipe.seed if seed is None else seed
        yield _Subject(run, folder, recipe, network, dataset, images, batch_size, seed, file, out, progress)


@dataclass
class _Subject:
    """The network of a run, the images that it is measured on, and the seed that each figure starts from."""

    run: Path
    folder: RunFolder
    recipe: Recipe
    network: nn.Module
    dataset: DataSet
    images: data.Split
    batch_size: int
    seed: int
    file: str
    out: Path | None
    progress: Progress

    def earlier(self, figures: Literal["attacks", "corruptions"]) -> dict[str, Any]:
        """The figures in the run's file; UsageError if it is of other images or of more, nothing if of fewer."""
        if self.out is not None or self.folder.drops_writes or not self.folder.has(self.file):
            return {}
        result, images, digest = self.folder.read_json(self.file), len(self.images), self.dataset.digest
        count, remedy = result["images"], "write elsewhere with --out FILE, or move that file"
        path = self.folder.path / self.file
        if result[figures] and result.get("data", digest) != digest:  # results before version 0.2 do not say
            raise UsageError(f"{path} has {figures} on images of another data set; {remedy}.")
        if result[figures] and images < count:
            raise UsageError(f"{path} has {figures} on {count:,} images; give --limit {count}, {remedy}.")
        return dict(result[figures]) if images == count else {}

    def prepare(self, passes: int, *twins: nn.Module) -> None:
        """Check that all networks take the images, and compile neurons if that pays for so many passes of images."""
        device = device_of(self.recipe)
        for model in (self.network, *twins):
            audited = model is self.network
            check_fits(model.to(device), self.dataset, f"{self.run}" if audited else "a twin")
            if isinstance(model, SpikingNetwork):
                image = as_floats(self.images.images[:1].to(device))
                compile_neurons(self.recipe.compile, model, image, passes, self.progress if audited else None)

    def accuracy(self, title: str, attack: Attack | None = None, eps: float | None = None) -> float:
        options: dict[str, Any] = {"batch_size": self.batch_size, "progress": self.progress}
        with seeded(self.seed):
            measured = accuracy(
                self.network, self.images, attack=attack, eps=eps, title=title, device=device_of(self.recipe), **options
            )
        return round(measured, 2)

    def stored(self, figures: dict[str, Any], seed: int) -> dict[str, Any]:
        """Return the figures with what they were measured on, written to `out` or else to the run's file."""
        result = figures | {"images": len(self.images), "seed": seed, "data": self.dataset.digest}
        if (layer := self._dead_layer()) is not None:
            result["dead_layer"] = layer
        if self.out is not None:
            write_atomically(self.out, json_text(result).encode())
        elif self.folder.drops_writes:
            self.progress.line(f"{self.run} is a network of the zoo, so the result is not stored; give --out FILE.")
        else:
            self.folder.write_json(self.file, result)
        return result

    @torch.no_grad()
    def _dead_layer(self) -> str | None:
        """Return a layer that spikes on no image, so that the logits do not depend on the image."""
        if not isinstance(self.network, SpikingNetwork):
            return None
        silent = list(self.network.neurons)
        for batch, _ in Batches(self.images, self.batch_size, device=device_of(self.recipe)):
            with record(self.network.eval()) as spikes:
                self.network(batch)
            if not (silent := [layer for layer in silent if not spikes[layer].any()]):
                return None
        return silent[0] if silent else None


def _merged(earlier: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """The attacks of both; new figures replace old ones, and each black-box figure keeps its own seed.

    The black-box figure is that of the stronger twin, from the same ANN, which the paper's figures resemble.
    """
    merged = {**earlier, **figures}
    for label, entry in figures.items():
        old = earlier.get(label, {})
        if "options" in old and {**old["options"], "seed": 0} != {**entry["options"], "seed": 0}:
            old = {}  # the same label, but another version ran it with other options
        seeds = old.get("twin_seeds") or dict.fromkeys(old.get("twins", {}), old.get("attack_seed"))
        if twins := {**old.get("twins", {}), **entry.get("twins", {})}:
            seeds = {**seeds, **entry.get("twin_seeds", {})}
            black_box = twins.get("same-ann", twins.get("independent"))
            merged[label] = {**entry, "twins": twins, "twin_seeds": seeds, "black_box": black_box}
    return merged


def recipe_attacks(recipe: Recipe) -> list[AttackSpec]:
    """FGSM and PGD at the recipe's bound, and PGD at each extra bound."""
    extra = (f"pgd(eps={format_eps(eps)})" for eps in recipe.attack.extra_eps)
    return [attack_of(recipe, text) for text in ("fgsm", "pgd", *extra)]


def attack_of(recipe: Recipe, text: str, seed: int = 0) -> AttackSpec:
    """Read an attack, with the recipe's settings for what the text leaves out, and `seed` if it takes one.

    The recipe's eps applies to every attack, its PGD settings to FGSM and PGD only: strong attacks keep their own
    iterations. A step that is not named scales with eps, from the recipe's step at the recipe's eps.
    """
    setting = recipe.attack
    spec = AttackSpec.parse(text, eps=setting.eps, seed=seed)
    if spec.name not in ("fgsm", "pgd"):
        return spec
    options: dict[str, Any] = {"iterations": setting.iterations, "random_start": setting.random_start}
    if setting.eps:
        options["relative_step"] = setting.step / setting.eps
    return AttackSpec.parse(text, eps=setting.eps, **options)


def label_of(recipe: Recipe, spec: AttackSpec) -> str:
    """The label of an attack on a run: it shows eps and iterations, but not a step that the recipe set."""
    setting, options = recipe.attack, dict(spec.options)
    if setting.eps and options.get("relative_step") == setting.step / setting.eps:
        del options["relative_step"]
    return replace(spec, options=options).label


def _twins(folder: RunFolder, twins: list[Path]) -> dict[str, RunFolder]:
    """Each twin by its kind: "same-ann" if it and the run started from the same ANN, else "independent"."""
    folders: dict[str, RunFolder] = {}
    for path in twins:
        twin = RunFolder.open_or_zoo(path)
        twin.require(MODEL)
        if twin.path.resolve() == folder.path.resolve():
            raise UsageError(f"the twin {path} is the run itself, which would be a white-box attack; name another run.")
        same = folder.has(ANN) and twin.has(ANN) and folder.read_json(ANN)["key"] == twin.read_json(ANN)["key"]
        kind = "same-ann" if same else "independent"
        if kind in folders:
            raise UsageError(f"two twins are of the kind {kind!r}; give at most one of each kind.")
        folders[kind] = twin
    return folders


def check_fits(model: nn.Module, dataset: DataSet, name: str) -> None:
    """Raise RunError if the network takes images of another shape than the data set has, or has other classes."""
    spec = spec_of(model) or {}
    events = spec.get("events", False) if spec else dataset.events is not None
    if isinstance(model, SpikingNetwork):
        events = model.encoding.encoding == "frames"
    if events != (dataset.events is not None):
        forms = "event grids, but {} has images" if events else "images, but {} has event grids"
        raise RunError(f"{name} takes {forms.format(dataset.name)}; name other data with --data.")
    timesteps = model.timesteps if events and isinstance(model, SpikingNetwork) else dataset.bins
    height = spec.get("height", spec.get("image_size", dataset.height))
    width = spec["width"] if "height" in spec else spec.get("image_size", dataset.width)

    def size(height: int, width: int) -> str:
        return f"{height}" if height == width else f"{height} x {width}"

    rows: tuple[tuple[str, object, object], ...] = (
        ("in_channels", spec.get("in_channels", dataset.in_channels), dataset.in_channels),
        ("image_size", size(height, width), size(dataset.height, dataset.width)),
        ("timesteps", timesteps, dataset.bins),
        ("num_classes", spec.get("num_classes", dataset.num_classes), dataset.num_classes),
    )
    for key, takes, has in rows:
        if takes != has:
            problem = f"{name} has {key} = {takes}, but the images of {dataset.name} have {has}"
            raise RunError(f"{problem}; name the images that it was trained for with --data.")
