"""What decides a run: its digest, in which everything that does not matter to it is left out."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hiresnn import data
from hiresnn.data.sources import DOWNLOADED
from hiresnn.runs.recipe import Recipe, digest
from hiresnn.runs.schema import PERIODIC_METHODS

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
