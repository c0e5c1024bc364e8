"""What decides a run: its digest, in which everything that does not matter to it is left out."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path

from hiresnn import data
from hiresnn.data.sources import DOWNLOADED
from hiresnn.errors import UsageError
from hiresnn.paper.scales import Setting
from hiresnn.runs.quickstart import TWIN_SEED
from hiresnn.runs.recipe import Recipe, digest
from hiresnn.runs.schema import PERIODIC_METHODS

TWINS = ("same-ann", "independent")
_EMBEDDED = ("digits", *DOWNLOADED)


def deciding(recipe: Recipe, plain: Recipe) -> Recipe:
    """`recipe` with the sections that do not matter to its method taken from `plain`, the unchanged recipe.

    So two recipes that lead to the same weights are equal, and a folder that was left half trained is continued.
    """
    without = ["attack"]
    if recipe.method not in PERIODIC_METHODS:
        without.append("noise")
    if recipe.method == "ann":
        without += ["snn", "conversion"]
    return recipe.model_copy(update={name: getattr(plain, name) for name in without})


def run_key(recipe: Recipe, content: str) -> str:
    """Digest of a recipe and of the content of its data; where the data lie does not matter."""
    part = recipe.model_dump(mode="json", exclude={"device", "attack"})
    part["data"].pop("source")
    part["snn"].pop("recompute")  # less memory, the same weights
    return digest({**part, "content": content})


def changed(setting: Setting, method: str, seed: int, twin: str | None, changes: Mapping[str, str]) -> dict[str, str]:
    """What a run differs in from the shipped recipe, dotted key -> TOML text, but for name, data and method.

    Raises:
        UsageError: an unknown twin, or the twin from the same ANN of an ANN.
    """
    values = {**setting.changes, "seed": str(seed)}
    if method == "rate":
        values |= {"snn.timesteps": str(setting.rate_timesteps), **setting.rate_changes}
    if twin == "same-ann":
        if method == "ann":
            raise UsageError("an ANN has no twin from the same ANN; ask for the independent one.")
        values |= {"seed": str(seed + TWIN_SEED), "ann.seed": str(seed)}
    elif twin == "independent":
        values["seed"] = str(seed + 1)
    elif twin is not None:
        raise UsageError(f"twin is {twin!r}; choose one of {', '.join(TWINS)}.")
    return values | {key.replace("__", "."): text for key, text in changes.items()}


def command(recipe: str, method: str, source: str, values: Mapping[str, str]) -> str:
    """The command line that trains a run: a shipped recipe, the name of its data, and what is set otherwise."""
    words = ["hiresnn", "train", recipe, "--method", method, "--seed", values["seed"], "--data", Path(source).name]
    for key, text in sorted(values.items()):
        if key != "seed":
            words += ["--set", f"{key}={text}"]
    return shlex.join(words)


def content_of(source: str) -> str:
    """What stands for the content of a data source without loading it where that can be avoided.

    The name of a public data set; SHA-256 of an .npz file's bytes; the digest of the images in a folder.
    Raises HiresnnError where there is no such source.
    """
    path = Path(source).expanduser()
    if source in _EMBEDDED:
        return source
    if path.is_file():
        summed = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                summed.update(block)
        return summed.hexdigest()
    return data.load(source).digest
