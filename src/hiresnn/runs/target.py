"""What `hiresnn audit` is pointed at: a run folder, a weights file, or a user's function that returns a network."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
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
    stem = Path(where).stem if where.endswith(".py") else where
    return Target(model, f"{stem}-{function}", "function", source=source)


def audit_folder(text: str, subject: Target) -> Path:
    """RUN/audit; else audits/ and the way to the target, so that those of one name do not write over each other."""
    if subject.folder:
        return subject.folder / "audit"
    lies = Path(text if subject.kind == "file" else text.rpartition(":")[0]).resolve().parent
    here = Path.cwd()
    way = lies.relative_to(here) if lies.is_relative_to(here) else Path(*lies.parts[1:])
    return Path("audits") / way / subject.name


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
    # Two files of one name are two modules.
    mark = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"{PREFIX}{path.stem}_{mark}", path)
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
    folder = Path(where).resolve().parent if where.endswith(".py") else Path.cwd()
    _forget_namesakes(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _forget_namesakes(folder: Path) -> None:
    """What an earlier target imported from beside its file, where `folder` has a module of that name too."""
    earlier = {_home(module) for name, module in sys.modules.items() if name.startswith(PREFIX)} - {folder}
    for name in [name for name in sys.modules if earlier and "." not in name]:
        has = (folder / f"{name}.py").is_file() or (folder / name).is_dir()
        if has and _home(sys.modules[name]) in earlier:
            for part in [part for part in sys.modules if f"{part}.".startswith(f"{name}.")]:
                del sys.modules[part]


def _home(module: ModuleType) -> Path | None:
    """The folder that a top-level module lies in."""
    inside = next(iter(getattr(module, "__path__", ())), None) or getattr(module, "__file__", None)
    return Path(inside).resolve().parent if inside else None


def in_a_line(error: Exception) -> str:
    """An exception of a user's code as one line."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
