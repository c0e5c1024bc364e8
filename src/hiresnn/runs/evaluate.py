"""`hiresnn evaluate`: a run under attack, white box and black box, added to its result.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn import attacks as attacking
from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.attacks import AttackSpec, seeded, transfer
from hiresnn.data import DataSet, Split
from hiresnn.errors import RunError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.runs.checkpoint import load
from hiresnn.runs.compile_policy import COMPILING, is_fused, should_fuse
from hiresnn.runs.context import device_of, splits
from hiresnn.runs.folder import MODEL, RESULT, RunFolder
from hiresnn.runs.recipe import Recipe
from hiresnn.runs.schema import SEEDS

SPLITS = ("test", "holdout")


def evaluate(
    run: Path,
    *,
    attacks: list[str] | None = None,
    twins: list[Path] | None = None,
    limit: int | None = None,
    split: str = "test",
    batch_size: int = 200,
    seed: int | None = None,
    progress: Progress,
) -> dict[str, Any]:
    """Clean and attacked accuracy of a run, in percent, on its data set.

    Args:
        run: a run folder; its result.json (result-holdout.json for the held-out images) takes the new figures
            beside those that it has of as many images, and the place of those of fewer.
        attacks: such as "pgd:eps=2/255"; None takes the recipe's: FGSM, PGD, and PGD at its extra bounds.
        twins: run folders whose networks make the black-box images. Whether a twin comes from the same ANN
            is read from the runs.
        limit: the first so many images, class-balanced; None takes all.
        split: "test", or "holdout", the training images that the recipe kept out.
        seed: of what attacks, and networks that draw, take from torch's global generators; every figure starts from
            it, so none depends on what else was measured, and the caller's draws go on as if nothing had been drawn.
            None takes the recipe's.

    Raises:
        HiresnnError: a folder without a trained network, a twin for other images, an unknown attack, fewer images than
            the folder has attacks of.
    """
    if seed is not None and not 0 <= seed < SEEDS:
        raise UsageError(f"seed is {seed}; choose a whole number from 0 to {SEEDS - 1}.")
    with RunFolder.open(run, write=True) as folder, seeded(folder.recipe.seed):
        recipe = folder.recipe
        device = device_of(recipe)
        attack_seed = recipe.seed if seed is None else seed
        specs = [attack_of(recipe, text, attack_seed) for text in attacks] if attacks else recipe_attacks(recipe)
        network = load(folder.require(MODEL)).to(device)
        dataset = data.load(recipe.data.source)
        check_fits(network, dataset, f"{run}")
        shown = _images(recipe, dataset, split, limit)
        name = RESULT if split == "test" else f"result-{split}.json"
        earlier = _earlier(folder, name, len(shown))
        opponents = [(kind, load(path / MODEL).to(device)) for path, kind in _twins(folder, twins or [])]
        for model in (network, *(twin for _, twin in opponents)):
            check_fits(model, dataset, "a twin")
            if isinstance(model, SpikingNetwork):
                passes = sum(1 + 2 * spec.resolved().get("iterations", 1) for spec in specs)
                image = shown.images[:1].to(device) / 255
                model.fuse(should_fuse(recipe.compile, model, image, passes * len(shown)))
        if isinstance(network, SpikingNetwork) and is_fused(network):
            progress.line(COMPILING)

        def measured(title: str, attack: attacking.Attack | None = None, eps: float | None = None) -> float:
            torch.manual_seed(attack_seed)
            return round(
                accuracy(
                    network, shown, attack=attack, eps=eps, batch_size=batch_size, device=device, title=title,
                    progress=progress,
                ), 2,
            )  # fmt: skip

        result: dict[str, Any] = {
            "clean": measured("clean"),
            "attacks": {},
            "images": len(shown),
            "seed": recipe.seed,
        }
        for spec in specs:
            entry: dict[str, Any] = {
                "white_box": measured(f"{spec.label}, white box", spec, spec.eps),
                "attack_seed": attack_seed,
            }
            for kind, twin in opponents:
                title = f"{spec.label}, twin from {'the same' if kind == 'same-ann' else 'an independent'} ANN"
                entry.setdefault("twins", {})[kind] = measured(title, transfer(spec, twin), spec.eps)
            if opponents:
                # the stronger twin is the one that the paper's figures look like
                entry["black_box"] = entry["twins"].get("same-ann", entry["twins"].get("independent"))
            result["attacks"][spec.label] = entry
        result["attacks"] = _merged(earlier, result["attacks"])
        folder.write_json(name, result)
    return result


def _earlier(folder: RunFolder, name: str, images: int) -> dict[str, Any]:
    """The attacks on as many images that the result `name` holds; those on fewer give way.

    Raises:
        UsageError: it holds attacks on more images.
    """
    if not folder.has(name):
        return {}
    found = folder.read_json(name)
    try:
        attacks, count = dict(found["attacks"]), int(found["images"])
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{folder.path / name} is damaged; delete the file and evaluate again.") from None
    if attacks and images < count:
        raise UsageError(
            f"{folder.path / name} holds attacks on {count:,} images, which those on {images:,} would replace; give "
            f"--limit {count}, or move that file elsewhere."
        )
    return attacks if images == count else {}


def _merged(earlier: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Attacks of both, the newer figure where both have one: another attack or twin does not erase the first."""
    merged = {**earlier, **new}
    for label in earlier.keys() & new.keys():
        merged[label] = {**earlier[label], **new[label]}
        if twins := {**earlier[label].get("twins", {}), **new[label].get("twins", {})}:
            merged[label] |= {"twins": twins, "black_box": twins.get("same-ann", twins.get("independent"))}
    return merged


def recipe_attacks(recipe: Recipe) -> list[AttackSpec]:
    """FGSM and PGD at the recipe's bound, and PGD at each extra bound."""
    levels = [round(255 * eps, 6) for eps in recipe.attack.extra_eps]
    extra = [
        f"{int(level)}/255" if level == int(level) else f"{eps:.6g}"
        for level, eps in zip(levels, recipe.attack.extra_eps, strict=True)
    ]
    return [attack_of(recipe, text) for text in ("fgsm", "pgd", *(f"pgd:eps={eps}" for eps in extra))]


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


def _images(recipe: Recipe, dataset: DataSet, split: str, limit: int | None) -> Split:
    if split not in SPLITS:
        raise UsageError(f"split is {split!r}; choose one of {', '.join(SPLITS)}.")
    chosen: Split | None = dataset.test
    if split == "holdout":
        chosen = splits(recipe, dataset)[1]
        if chosen is None:
            raise UsageError("the run held no images out: its recipe has data.holdout_images = 0; use --split test.")
    assert chosen is not None
    return data.first(chosen, min(limit, len(chosen))) if limit else chosen


def _twins(folder: RunFolder, twins: list[Path]) -> list[tuple[Path, str]]:
    """Each twin with its kind, from the ANN that it and the run started from."""
    found: list[tuple[Path, str]] = []
    for path in twins:
        twin = RunFolder.open(path)
        twin.require(MODEL)
        if path.resolve() == folder.path.resolve():
            raise UsageError(
                f"the twin {path} is the run itself; that would be a white-box attack. Train another seed."
            )
        same = folder.has("ann.json") and twin.has("ann.json")
        same = same and folder.read_json("ann.json")["key"] == twin.read_json("ann.json")["key"]
        kind = "same-ann" if same else "independent"
        if kind in (other for _, other in found):
            raise UsageError(f"two twins are of the kind {kind!r}; give one of each at most.")
        found.append((path, kind))
    return found


def check_fits(model: nn.Module, dataset: DataSet, what: str) -> None:
    """Raise RunError unless the network takes the images of the data set and knows its classes."""
    spec = getattr(model, "spec", None) or {}
    for field, has in (("in_channels", dataset.in_channels), ("image_size", dataset.image_size)):
        if spec.get(field, has) != has:
            raise RunError(f"{what} has {field} = {spec[field]}, the images of {dataset.name} have {has}.")
    if spec.get("num_classes", dataset.num_classes) != dataset.num_classes:
        raise RunError(f"{what} tells {spec['num_classes']} classes apart, {dataset.name} has {dataset.num_classes}.")
