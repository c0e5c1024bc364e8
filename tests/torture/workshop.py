"""The tiny runs that campaigns work on, and how the states of two folders are compared."""

import functools
import hashlib
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from tests.torture.harness import command

TINY = {
    "data.train_images": "120",
    "model.width": "0.05",
    "model.hidden": "8",
    "ann.epochs": "6",
    "ann.batch_size": "40",
    "ann.lr": "0.05",
    "snn.epochs": "3",
    "snn.batch_size": "40",
    "snn.lr": "0.005",
    "snn.timesteps": "4",
    "conversion.images": "40",
    "compile": '"never"',
}
"""Changes to the recipe `digits` of the package: a training of about a second."""
VOLATILE = {"seconds", "date", "where", "environment", "command", "created", "forward_seconds", "digest_of_run"}
"""Keys whose values differ between two runs of the same work."""
IGNORED = ("resume.pt", "environment.json", ".lock", "report.html", "verification.json")
"""Files that are not part of the result."""


def tiny_recipe(path: Path, **changes: str) -> Path:
    """Write the tiny recipe with `changes` ("__" stands for the dot of a key) to `path`."""
    from hiresnn.app.recipe import dump, override, read

    recipe = override(read("digits"), {**TINY, **{key.replace("__", "."): text for key, text in changes.items()}})
    path.write_text(dump(recipe))
    return path


@functools.cache
def trained() -> Path:
    """A folder with a finished tiny run in runs/run, and its ANN; read only: take a `copy`."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    tiny_recipe(folder / "tiny.toml")
    ended = command("train", "tiny.toml", "--out", "runs/run", "--quiet", folder=folder)
    assert ended.code == 0, ended.output
    return folder


def copy(folder: Path) -> Path:
    """A copy of `trained` at `folder`."""
    shutil.copytree(trained(), folder, dirs_exist_ok=True)
    return folder


def state(folder: Path) -> dict[str, str]:
    """File -> digest of its content, without what differs between two runs of the same work."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.name not in IGNORED and not re.search(r"pieces|cache|\.lock$", name):
            found[name] = hashlib.sha256(_content(path)).hexdigest()[:16]
    return found


def difference(first: dict[str, str], second: dict[str, str]) -> str | None:
    """One sentence on what differs between two states, or None."""
    names = sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
    return f"the end state differs from the uninterrupted one in {', '.join(names[:5])}" if names else None


def _content(path: Path) -> bytes:
    if path.suffix in (".json", ".jsonl"):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        return json.dumps([_stable(json.loads(line)) for line in lines], sort_keys=True).encode()
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return b"".join(name.encode() + arrays[name].tobytes() for name in sorted(arrays.files))
    return path.read_bytes()


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(inner) for key, inner in value.items() if key not in VOLATILE}
    return [_stable(inner) for inner in value] if isinstance(value, list) else value
