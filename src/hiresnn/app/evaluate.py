"""`hiresnn evaluate`: a run under attack, white box and black box, added to its result.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app.build import compile_neurons
from hiresnn.app.context import RunContext, fitting_batch
from hiresnn.app.folder import ANN, MODEL, RESULT, RunFolder, read_record
from hiresnn.app.own import load_run
from hiresnn.app.recipe import Recipe
from hiresnn.app.schema import SEEDS
from hiresnn.attacks import ATTACKS, Attack, AttackSpec, seeded, transfer
from hiresnn.data import Batches, DataSet, Split
from hiresnn.eps import format_eps
from hiresnn.errors import RunError, UsageError
from hiresnn.files import json_text, write_atomically
from hiresnn.models import spec_of
from hiresnn.network import SpikingNetwork, record
from hiresnn.progress import Progress


def evaluate(
    run: Path, *, attacks: list[str] | None = None, twins: list[Path] | None = None, limit: int | None = None,
    split: Literal["test", "holdout"] = "test", batch_size: int = 200, seed: int | None = None,
    source: str | None = None, out: Path | None = None, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """Measure the clean and attacked accuracy of a run, in percent.

    Args:
        run: a run folder. New figures are added to its result.json (result-holdout.json for the held-out images)
            beside those on as many images, and replace those on fewer.
        attacks: such as "pgd:eps=2/255"; None takes the recipe's: FGSM, PGD, and PGD at its extra bounds.
        twins: run folders whose networks make the black-box images. Whether a twin starts from the same ANN is read
            from the runs.
        limit: number of images, balanced over classes; None takes all.
        split: "test", or "holdout", the training images that the recipe held out.
        seed: of what attacks and networks draw from torch's global generators; None is the recipe's. Every figure
            starts from it, so no figure depends on the others. The caller's generators stay as they are.
        source: images to use instead of those that the recipe names.
        out: file for the result instead of the run folder, which then stays as it is. It replaces only a result.

    Returns:
        The content of result.json, with "dead_layer", the name of a layer that never spikes, if there is one.
    """
    _require(seed, out)
    with RunFolder.open(run, write=out is None) as folder, seeded(folder.recipe.seed):
        recipe, attack_seed = folder.recipe, folder.recipe.seed if seed is None else seed
        specs = [attack_of(recipe, text, attack_seed) for text in attacks] if attacks else recipe_attacks(recipe)
        network = load_run(folder)
        context = RunContext.of_run(folder, progress, source)
        network.to(context.device)
        check_fits(network, context.dataset, f"{run}")
        batch_size = fitting_batch(network, context.dataset, batch_size)
        shown = _images(context, split, limit)
        name = RESULT if split == "test" else f"result-{split}.json"
        earlier = _earlier(folder, name, len(shown), context.dataset.digest) if out is None else {}
        opponents = [(kind, load_run(twin).to(context.device)) for twin, kind in _twins(folder, twins or [])]
        _prepare(context, network, [twin for _, twin in opponents], specs, shown)

        def measured(title: str, attack: Attack | None = None, eps: float | None = None) -> float:
            torch.manual_seed(attack_seed)
            found = accuracy(
                network, shown, attack=attack, eps=eps, batch_size=batch_size, device=context.device, title=title,
                progress=progress,
            )  # fmt: skip
            return round(found, 2)

        result: dict[str, Any] = {
            "clean": measured("clean"), "attacks": {}, "images": len(shown), "seed": recipe.seed,
            "data": context.dataset.digest,
        }  # fmt: skip
        labels = {label_of(recipe, spec): spec for spec in specs}
        new = {label: _attacked(measured, label, spec, opponents, attack_seed) for label, spec in labels.items()}
        result["attacks"] = _merged(earlier, new)
        if (layer := _dead_layer(context, network, shown, batch_size)) is not None:
            result["dead_layer"] = layer
        if out is None:
            folder.write_json(name, result)
        else:
            write_atomically(out, json_text(result).encode())
    return result


def _require(seed: int | None, out: Path | None) -> None:
    if seed is not None and not 0 <= seed < SEEDS:
        raise UsageError(f"seed is {seed}; choose a whole number from 0 to {SEEDS - 1}.")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise UsageError(f"--out {out} cannot be written: name a file in a folder that exists.")
    if out is not None and out.exists() and not _is_result(out):
        raise UsageError(f"--out {out} exists, is no result of hiresnn evaluate, and is not replaced; name a new file.")


def _is_result(path: Path) -> bool:
    try:
        read_record(path.read_text("utf-8", "replace"), RESULT, str(path))
    except (RunError, OSError):
        return False
    return True


def _attacked(
    measured: Callable[..., float], label: str, spec: AttackSpec, opponents: list[tuple[str, nn.Module]], seed: int
) -> dict[str, Any]:
    """Return the figures of one attack, in the white box and on each twin: (kind, network)."""
    own = ATTACKS[spec.name].source
    entry: dict[str, Any] = {
        "white_box": measured(f"{label}, white box", spec, spec.eps),
        "attack_seed": seed,
        "options": spec.resolved() | ({"source": own} if own else {}),
    }
    for kind, twin in opponents:
        title = f"{label}, twin from {'the same' if kind == 'same-ann' else 'an independent'} ANN"
        entry.setdefault("twins", {})[kind] = measured(title, transfer(spec, twin), spec.eps)
        entry.setdefault("twin_seeds", {})[kind] = seed
    return _black_box(entry)


def _prepare(
    context: RunContext, network: nn.Module, twins: list[nn.Module], specs: list[AttackSpec], shown: Split
) -> None:
    """Check that the twins fit the data, and compile the neurons of all networks if that pays."""
    for twin in twins:
        check_fits(twin, context.dataset, "a twin")
    passes = sum(1 + 2 * int(spec.resolved().get("iterations", 1)) for spec in specs)
    image = shown.images[:1].to(context.device) / 255
    for model in (network, *twins):
        if isinstance(model, SpikingNetwork):
            progress = context.progress if model is network else None
            compile_neurons(context.recipe.compile, model, image, passes * len(shown), progress)


def _dead_layer(context: RunContext, network: nn.Module, shown: Split, batch_size: int) -> str | None:
    """Return the first layer without any spike on one batch: the logits then do not depend on the image."""
    if not isinstance(network, SpikingNetwork):
        return None
    images, _ = next(iter(Batches(shown, batch_size, device=context.device)))
    with torch.no_grad(), record(network.eval()) as spikes:
        network(images)
    return next((name for name, layer in spikes.items() if not layer.any()), None)


def _earlier(folder: RunFolder, name: str, images: int, content: str) -> dict[str, Any]:
    """Return the attacks on the same images in the result `name`; those on fewer images are dropped.

    Raises:
        UsageError: the result is of another data set, or of more images.
    """
    if not folder.has(name):
        return {}
    found = folder.read_json(name)
    if found["attacks"] and found.get("data", content) != content:  # results before version 0.2 do not say
        raise UsageError(
            f"{folder.path / name} has attacks on the images of another data set; write elsewhere with --out FILE, or "
            "move that file."
        )
    if found["attacks"] and images < found["images"]:
        count = found["images"]
        raise UsageError(
            f"{folder.path / name} has attacks on {count:,} images, which those on {images:,} would replace; give "
            f"--limit {count}, write elsewhere with --out FILE, or move that file."
        )
    return dict(found["attacks"]) if images == found["images"] else {}


def _merged(earlier: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the attacks of both; new figures replace old ones, and each black-box figure keeps its own seed."""
    merged = {**earlier, **new}
    for label in earlier.keys() & new.keys():
        old, entry = earlier[label], new[label]
        if "options" in old and _without_seed(old) != _without_seed(entry):
            continue  # the same label, but another version ran it with other options
        seeds = old.get("twin_seeds") or dict.fromkeys(old.get("twins", {}), old.get("attack_seed"))
        both = {
            **entry,
            "twins": {**old.get("twins", {}), **entry.get("twins", {})},
            "twin_seeds": {**seeds, **entry.get("twin_seeds", {})},
        }
        merged[label] = _black_box(both) if both["twins"] else entry
    return merged


def _without_seed(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry["options"].items() if key != "seed"}


def _black_box(entry: dict[str, Any]) -> dict[str, Any]:
    """Add the black-box figure: that of the stronger twin, from the same ANN, which the paper's figures resemble."""
    twins = entry.get("twins", {})
    return {**entry, "black_box": twins.get("same-ann", twins.get("independent"))} if twins else entry


def recipe_attacks(recipe: Recipe) -> list[AttackSpec]:
    """Return FGSM and PGD at the recipe's bound, and PGD at each extra bound."""
    extra = (f"pgd:eps={format_eps(eps)}" for eps in recipe.attack.extra_eps)
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
    share = {"relative_step": setting.step / setting.eps} if setting.eps else {}
    return AttackSpec.parse(
        text, eps=setting.eps, iterations=setting.iterations, random_start=setting.random_start, **share
    )


def label_of(recipe: Recipe, spec: AttackSpec) -> str:
    """Return the label of an attack on a run: it shows eps and iterations, but not a step that the recipe set."""
    setting = recipe.attack
    options = dict(spec.options)
    if setting.eps and options.get("relative_step") == setting.step / setting.eps:
        del options["relative_step"]
    return replace(spec, options=options).label


def _images(context: RunContext, split: str, limit: int | None) -> Split:
    chosen = context.dataset.test if split == "test" else context.splits()[1]
    if chosen is None:
        raise UsageError("the run held no images out (data.holdout_images = 0 in its recipe); use --split test.")
    return data.first(chosen, min(limit, len(chosen))) if limit else chosen


def _twins(folder: RunFolder, twins: list[Path]) -> list[tuple[RunFolder, str]]:
    """Return each twin with its kind: "same-ann" if it and the run started from the same ANN, else "independent"."""
    found: list[tuple[RunFolder, str]] = []
    for path in twins:
        twin = RunFolder.open(path)
        twin.require(MODEL)
        if path.resolve() == folder.path.resolve():
            raise UsageError(f"the twin {path} is the run itself, which would be a white-box attack; name another run.")
        same = folder.has(ANN) and twin.has(ANN)
        same = same and folder.read_json(ANN)["key"] == twin.read_json(ANN)["key"]
        kind = "same-ann" if same else "independent"
        if kind in (other for _, other in found):
            raise UsageError(f"two twins are of the kind {kind!r}; give at most one of each kind.")
        found.append((twin, kind))
    return found


def check_fits(model: nn.Module, dataset: DataSet, what: str) -> None:
    """Raise RunError if the network takes images of another shape than the data set has, or has other classes."""
    spec = spec_of(model) or {}
    hint = "name the images that it was trained for with --data"
    if spec.get("in_channels", dataset.in_channels) != dataset.in_channels:
        raise RunError(
            f"{what} has in_channels = {spec['in_channels']}, but the images of {dataset.name} have "
            f"{dataset.in_channels}; {hint}."
        )
    has = (dataset.height, dataset.width)
    sizes = (spec["height"], spec["width"]) if "height" in spec else (spec.get("image_size", has[0]),) * 2
    if spec and sizes != has:
        raise RunError(
            f"{what} has image_size = {_size(*sizes)}, but the images of {dataset.name} have {_size(*has)}; {hint}."
        )
    if spec.get("num_classes", dataset.num_classes) != dataset.num_classes:
        raise RunError(
            f"{what} has {spec['num_classes']} output classes, but {dataset.name} has {dataset.num_classes}; {hint}."
        )


def _size(height: int, width: int) -> str:
    return str(height) if height == width else f"{height} x {width}"
