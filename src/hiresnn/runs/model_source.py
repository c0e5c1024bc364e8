"""Where a network to audit comes from: a run folder, a weights file, or a function of the user's that returns it."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from torch import nn

from hiresnn.attacks import Model, register
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.runs.checkpoint import load
from hiresnn.runs.folder import MODEL, RECIPE, RunFolder
from hiresnn.runs.recipe import Recipe

PREFIX = "hiresnn_target_"
"""Prefix of the module names under which users' files are imported."""


@dataclass(frozen=True)
class ModelSource:
    """A network and where it comes from.

    Attributes:
        name: for titles.
        kind: "run", "file" or "function".
        recipe, folder: of a run, else None.
        source: SHA-256 of the file that defines a function, else "".
    """

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
        """The name under which `hiresnn.models.build` made the network, or its class."""
        spec: dict[str, Any] = getattr(self.model, "spec", None) or {}
        return str(spec.get("name") or type(self.model).__name__)


def resolve_model(text: str, *, may_run_code: bool = True) -> ModelSource:
    """Return the network that `text` names: `RUN`, `FILE.safetensors`, `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    A Python file or module is executed, unless `may_run_code` is False: then it is refused.

    Raises:
        RunError: the folder or file has no network that hiresnn wrote.
        UsageError: the function does not exist, fails, or returns something that cannot be called.
    """
    where, _, function = text.rpartition(":")
    path = Path(text)
    if path.is_dir() or not (where or path.suffix):
        with RunFolder.open(path) as folder:
            return ModelSource(load(folder.require(MODEL)), path.resolve().name, "run", folder.recipe, path)
    if path.suffix == ".safetensors":
        if path.name == MODEL and (path.parent / RECIPE).is_file():
            return resolve_model(str(path.parent))
        return ModelSource(load(path), path.stem, "file")
    if not where:
        raise UsageError(
            f"{text!r} is no run folder, no .safetensors file and no FILE.py:FUNCTION; name one of them, such as "
            "runs/mine or my_network.py:network."
        )
    if not may_run_code:
        raise UsageError(f"{text!r} names Python code, which a file may not choose; name the network yourself.")
    with _importable(where):
        found, source = _function(where, function, "add one that returns a network: images [B, C, H, W] -> logits")
        model = _called(found, text)
    stem = Path(where).stem if where.endswith(".py") else where
    return ModelSource(model, f"{stem}-{function}", "function", source=source)


USER_ATTACK = re.compile(r"(?P<where>[^:]+):(?P<function>[A-Za-z_]\w*)(:.*)?")


def load_attack(text: str) -> None:
    """Register the attack that `text` names as FILE.py:FUNCTION or MODULE:FUNCTION, with or without options.

    The file is executed, so only a text that the user wrote may come here, never one from a stored file. Any other
    text, such as pgd:eps=2/255, is left alone.

    Raises:
        UsageError: the function does not exist or is no attack.
    """
    matched = USER_ATTACK.fullmatch(text)
    if matched is None:
        return
    where, function = matched["where"], matched["function"]
    with _importable(where):
        found, source = _function(where, function, "add one: (model, images, labels, *, eps=8/255) -> images")
    register(f"{where}:{function}", found, source=source)


def _function(where: str, name: str, hint: str) -> tuple[Callable[..., Any], str]:
    """Return a function of a file or module, with the SHA-256 of its source."""
    module, source = _module(where)
    found = getattr(module, name, None)
    if not callable(found):
        raise UsageError(f"{where} has no function {name!r}; {hint}.")
    return found, source


def audit_folder(text: str, source: ModelSource) -> Path:
    """Return RUN/audit for a run, else audits/PATH/NAME with the path of the file, so that equal names do not clash."""
    if source.folder:
        return source.folder / "audit"
    parent = Path(text if source.kind == "file" else text.rpartition(":")[0]).resolve().parent
    here = Path.cwd()
    path = parent.relative_to(here) if parent.is_relative_to(here) else Path(*parent.parts[1:])
    return Path("audits") / path / source.name


def _called(found: Callable[[], Any], text: str) -> Model:
    try:
        model = found if isinstance(found, nn.Module) else found()
    except HiresnnError:
        raise
    except (Exception, SystemExit) as error:  # the function is the user's
        raise UsageError(f"{text} failed: {in_a_line(error)} (--debug shows where)") from error
    if not callable(model):
        raise UsageError(f"{text} returned {type(model).__name__}; it must return a network: images -> logits.")
    network: Model = model
    return network


def _module(where: str) -> tuple[ModuleType, str]:
    """Import the module or file `where`; returns it with the SHA-256 of its source."""
    if not where.endswith(".py"):
        try:
            module = importlib.import_module(where)
        except Exception as error:
            raise UsageError(
                f"module {where!r} cannot be imported: {in_a_line(error)}; name an importable module or a "
                "FILE.py:FUNCTION."
            ) from error
        file = getattr(module, "__file__", None)
        return module, _digest(Path(file)) if file else ""
    path = Path(where)
    if not path.is_file():
        raise UsageError(
            f"there is no file {path}; name a Python file and its function, such as my_network.py:network."
        )
    # Two files of the same name become two modules.
    mark = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"{PREFIX}{path.stem}_{mark}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickled classes look up their module by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be imported: {in_a_line(error)} (--debug shows where)") from error
    return module, _digest(path)


@contextmanager
def _importable(where: str) -> Iterator[None]:
    """Make the files in the folder of `where` importable, as `python FILE.py` does."""
    folder = Path(where).resolve().parent if where.endswith(".py") else Path.cwd()
    _forget_modules_of_same_name(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _forget_modules_of_same_name(folder: Path) -> None:
    """Forget what an earlier file imported from its own folder if `folder` has a module of that name too."""
    earlier = {_home(module) for name, module in sys.modules.items() if name.startswith(PREFIX)} - {folder}
    for name in [name for name in sys.modules if earlier and "." not in name]:
        has = (folder / f"{name}.py").is_file() or (folder / name).is_dir()
        if has and _home(sys.modules[name]) in earlier:
            for part in [part for part in sys.modules if f"{part}.".startswith(f"{name}.")]:
                del sys.modules[part]


def _home(module: ModuleType) -> Path | None:
    """Return the folder that a top-level module was imported from."""
    inside = next(iter(getattr(module, "__path__", ())), None) or getattr(module, "__file__", None)
    return Path(inside).resolve().parent if inside else None


def in_a_line(error: BaseException) -> str:
    """Return an exception of a user's code as one line: its type and the first line of its text."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
