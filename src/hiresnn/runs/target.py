"""What `hiresnn audit` is pointed at: a run folder, a weights file, or a user's function that returns a network."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from torch import nn

from hiresnn.attacks import Model
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.runs.checkpoint import load
from hiresnn.runs.folder import MODEL, RECIPE, RunFolder
from hiresnn.runs.recipe import Recipe

PREFIX = "hiresnn_target_"
"""Of the module that a user's file becomes."""


@dataclass(frozen=True)
class Target:
    """A network with where it came from.

    Attributes:
        name: for titles. kind: "run", "file" or "function".
        recipe, folder: of a run, else None. source: SHA-256 of the file that defines a function, else "".
    """

    model: Model
    name: str
    kind: Literal["run", "file", "function"]
    recipe: Recipe | None = None
    folder: Path | None = None
    source: str = ""

    @property
    def library(self) -> str:
        """hiresnn, what an adapter calls its library, the package of the network's class, or "own code"."""
        if isinstance(self.model, SpikingNetwork) or self.kind != "function":
            return "hiresnn"
        home = type(self.model).__module__.partition(".")[0]
        own = home in ("builtins", "__main__") or home.startswith(PREFIX)
        return str(getattr(self.model, "library", "") or ("own code" if own else home))

    @property
    def architecture(self) -> str:
        """What the network is called: its builder's name, or its class."""
        spec: dict[str, Any] = getattr(self.model, "spec", None) or {}
        return str(spec.get("name") or type(self.model).__name__)


def target(text: str) -> Target:
    """Read `RUN`, `FILE.safetensors`, `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    Raises:
        RunError: a folder or file without a network of hiresnn's.
        UsageError: a function that is not there, fails, or returns nothing that can be called.
    """
    where, _, function = text.rpartition(":")
    path = Path(text)
    if path.is_dir() or not (where or path.suffix):
        with RunFolder.open(path) as folder:
            return Target(load(folder.require(MODEL)), path.resolve().name, "run", folder.recipe, path)
    if path.suffix == ".safetensors":
        if path.name == MODEL and (path.parent / RECIPE).is_file():
            return target(str(path.parent))
        return Target(load(path), path.stem, "file")
    if not where:
        raise UsageError(
            f"{text!r} is no run folder, no .safetensors file and no FILE.py:FUNCTION; name one of them, such as "
            "runs/mine or my_network.py:network."
        )
    with _beside(where):
        module, source = _module(where)
        made = getattr(module, function, None)
        if not callable(made):
            raise UsageError(
                f"{where} has no function {function!r}; it must return a network: images [B, C, H, W] -> logits."
            )
        model = _called(made, text)
    return Target(model, f"{Path(where).stem}-{function}", "function", source=source)


def _called(made: Callable[[], Any], text: str) -> Model:
    try:
        model = made if isinstance(made, nn.Module) else made()
    except HiresnnError:
        raise
    except Exception as error:  # the function is the user's
        raise UsageError(f"{text} failed: {in_a_line(error)} (--debug shows where)") from error
    if not callable(model):
        raise UsageError(f"{text} returned {type(model).__name__}; it must return a network: images -> logits.")
    called: Model = model
    return called


def _module(where: str) -> tuple[ModuleType, str]:
    if not where.endswith(".py"):
        try:
            module = importlib.import_module(where)
        except Exception as error:
            mend = "name an importable module or a FILE.py:FUNCTION"
            raise UsageError(f"module {where!r} cannot be imported: {in_a_line(error)}; {mend}.") from error
        file = getattr(module, "__file__", None)
        return module, _digest(Path(file)) if file else ""
    path = Path(where)
    if not path.is_file():
        raise UsageError(
            f"there is no file {path}; name a Python file and its function, such as my_network.py:network."
        )
    spec = importlib.util.spec_from_file_location(f"{PREFIX}{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickled classes and dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be imported: {in_a_line(error)} (--debug shows where)") from error
    return module, _digest(path)


@contextmanager
def _beside(where: str) -> Iterator[None]:
    """Files beside `where` can be imported, as for `python FILE.py`."""
    folder = str(Path(where).resolve().parent) if where.endswith(".py") else str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def in_a_line(error: Exception) -> str:
    """An exception of a user's code as one line."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
