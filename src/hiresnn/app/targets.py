"""Where a network to audit comes from: a run folder, a weights file, or a function of the user's that returns it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hiresnn import data
from hiresnn.app.folder import MODEL, RECIPE, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.own import PREFIX, UserCode, load_run
from hiresnn.app.recipe import Recipe
from hiresnn.attacks import Model, register
from hiresnn.calls import read_call
from hiresnn.data import DataSet
from hiresnn.errors import UsageError
from hiresnn.models import spec_of
from hiresnn.network import SpikingNetwork


@dataclass(frozen=True)
class ModelSource:
    """A network and where it comes from: the recipe and folder of a run, or the SHA-256 of a function's file."""

    model: Model
    name: str
    kind: Literal["run", "file", "function"]
    recipe: Recipe | None = None
    folder: Path | None = None
    source: str = ""

    @property
    def library(self) -> str:
        """The library of the network: "hiresnn", the one an adapter names, the package of its class, or "own code"."""
        if isinstance(self.model, SpikingNetwork) or self.kind != "function":
            return "hiresnn"
        home = type(self.model).__module__.partition(".")[0]
        own = home in ("builtins", "__main__") or home.startswith(PREFIX)
        return str(getattr(self.model, "library", "") or ("own code" if own else home))

    @property
    def architecture(self) -> str:
        """The name under which `hiresnn.models.build` made the network, that of a user's function, or its class."""
        spec = spec_of(self.model) or {}
        return str(spec.get("name") or type(self.model).__name__)


def resolve_model(text: str, *, may_run_code: bool = True) -> ModelSource:
    """Return the network that `text` names: `RUN`, `FILE.safetensors`, `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    A Python file or module is executed, also that of a run whose network is the user's own, unless `may_run_code` is
    False: then it is refused.
    """
    if (run := run_named(text)) is not None:
        folder = RunFolder.open(run)
        network = load_run(folder, may_run_code=may_run_code)
        return ModelSource(network, run.resolve().name, "run", folder.recipe, run)
    path = Path(text)
    if path.suffix == ".safetensors":
        return ModelSource(load(path), path.stem, "file")
    if ":" not in text:
        raise UsageError(f"{text!r} is no run folder, no .safetensors file and no FILE.py:FUNCTION; name one of them.")
    if not may_run_code:
        raise UsageError(f"{text!r} names Python code, which a file may not choose; name it before --verify.")
    code = UserCode.parse(text)
    model: Model = code.network()
    if not callable(model):
        raise UsageError(f"{text} returned {type(model).__name__}; it must return a network: images -> logits.")
    name = f"{Path(code.module).stem if code.is_file else code.module}-{code.function}"
    files = code.files()
    source = files[Path(code.module).name] if code.is_file else next(iter(files.values()), "")
    return ModelSource(model, name, "function", source=source)


def run_named(text: str) -> Path | None:
    """Return the run folder that `text` names, itself or by the weights in it; None for another target."""
    path = Path(text)
    if path.is_dir() or not (":" in text or path.suffix):
        return path
    return path.parent if path.name == MODEL and (path.parent / RECIPE).is_file() else None


def data_of(target: str, subject: ModelSource, source: str | None) -> DataSet:
    """Load the images for the network that `target` names: those of `source`, or else those of its recipe."""
    recipe = subject.recipe
    source = source or (recipe.data.source if recipe else None)
    if source is None:
        raise UsageError(f"{target} has no data set of its own; name one with --data, for example digits.")
    return data.load(source, size=recipe.data.size if recipe else None)


def load_attack(text: str) -> None:
    """Register the attack that `text` names as FILE.py:FUNCTION or MODULE:FUNCTION, with or without options.

    The file is executed, so only a text that the user wrote may come here, never one from a stored file. Any other
    text, such as pgd(eps=2/255), is left alone.
    """
    name = read_call(text, "attack").name
    if ":" not in name:
        return
    code = UserCode.parse(name)
    attack = code.callable("add one: (model, images, labels, *, eps=8/255) -> images")
    # The digest covers what the file imports from its own folder: results must not outlive a change there either.
    files = json.dumps(code.files(), sort_keys=True)
    register(code.text, attack, source=hashlib.sha256(files.encode()).hexdigest())


def audit_folder(text: str, source: ModelSource) -> Path:
    """Return RUN/audit for a run, else audits/PATH/NAME with the path of the file, so that equal names do not clash."""
    if source.folder:
        return source.folder / "audit"
    parent = Path(text if source.kind == "file" else text.rpartition(":")[0]).resolve().parent
    here = Path.cwd()
    path = parent.relative_to(here) if parent.is_relative_to(here) else Path(*parent.parts[1:])
    return Path("audits") / path / source.name
