"""A user's function that returns a network: FILE.py:FUNCTION or MODULE:FUNCTION, which is executed to get it."""

from __future__ import annotations

import ast
import copy
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from hiresnn.errors import HiresnnError, UsageError, in_a_line, quoted, suggestion

PREFIX = "hiresnn_target_"
"""Prefix of the module names under which users' files are imported."""
NUM_CLASSES = "num_classes"


@dataclass(frozen=True)
class UserCode:
    """A function of the user's code, not executed yet; `where` is the path of a file, or a module's dotted name."""

    where: str
    function: str

    @classmethod
    def parse(cls, text: str) -> UserCode:
        """Read FILE.py:FUNCTION or MODULE:FUNCTION. Raises UsageError for another form."""
        where, _, function = text.rpartition(":")
        if not where:
            raise UsageError(
                f"{quoted(text)} is no FILE.py:FUNCTION and no MODULE:FUNCTION; write for example mine.py:network or "
                "torchvision.models:resnet18."
            )
        return cls(where, function)

    @property
    def text(self) -> str:
        """The code as a user writes it."""
        return f"{self.where}:{self.function}"

    @property
    def is_file(self) -> bool:
        """Whether `where` is the path of a file."""
        return self.where.endswith(".py")

    def files(self) -> dict[str, str]:
        """Return the files that define the network, each with its SHA-256.

        For a file these are the file and what it imports from its own folder, by their paths relative to that folder;
        nothing is executed. For a module of the working directory they are found in the same way. For an installed
        module it is the file that defines the function.
        """
        if self.is_file:
            start = _existing(self.where).resolve()
            return _imported_files(start, start.parent)
        function = self.callable("name one that it has")
        home = inspect.unwrap(function) if callable(function) else function
        try:
            source = inspect.getsourcefile(home)
        except TypeError:  # an object, or a class written in C
            source = None
        start = Path(source or getattr(importlib.import_module(self.where), "__file__", None) or "").resolve()
        if not start.is_file():
            return {}
        here = Path.cwd().resolve()
        if start.is_relative_to(here) and "site-packages" not in start.parts:
            return _imported_files(start, here)
        return {getattr(home, "__module__", self.where): _digest(start)}

    def network(self, num_classes: int | None = None) -> Any:
        """Call the function and return what it returns, a network anew at each call.

        `num_classes` is passed if the function has a parameter of this name, or any keyword; None passes nothing.
        """
        found = self.callable("add one that returns a network: images [B, C, H, W] -> logits")
        with _importable(self.where):
            if isinstance(found, nn.Module):
                return copy.deepcopy(found)
            options = {} if num_classes is None or not _takes_classes(found) else {NUM_CLASSES: num_classes}
            return _called(found, self.text, options)

    def callable(self, hint: str) -> Callable[..., Any]:
        """Import the file or module and return the function, which is not called; `hint` says what to add without it.

        Raises UsageError if there is none, or the import fails.
        """
        with _importable(self.where):
            module = _module(self.where)
            found: Any = getattr(module, self.function, None)
        if not callable(found):
            near = suggestion(self.function, [name for name, value in vars(module).items() if callable(value)])
            raise UsageError(f"{self.where} has no function {self.function!r}; {near}{hint}.")
        return found  # type: ignore[no-any-return]


def _takes_classes(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(each.name == NUM_CLASSES or each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters)


def _called(found: Callable[..., Any], text: str, options: dict[str, Any]) -> Any:
    try:
        return found(**options)
    except HiresnnError:
        raise
    except (Exception, SystemExit) as error:  # the function is the user's
        bare = isinstance(error, TypeError) and "required positional argument" in str(error) and not options
        fix = "; here it is called without arguments, so give each a default" if bare else " (--debug shows where)"
        raise UsageError(f"{text} failed: {in_a_line(error)}{fix}") from error


def file_exists(text: str) -> bool:
    """Return whether a user's text is the path of a file."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a name too long, or with a null byte
        return False


def _existing(where: str) -> Path:
    if not file_exists(where):
        raise UsageError(
            f"there is no file {quoted(where, 400)[1:-1]}; name a Python file and its function, such as "
            "my_network.py:network."
        )
    return Path(where)


def _module(where: str) -> ModuleType:
    """Import the module or file `where`."""
    if not where.endswith(".py"):
        try:
            return importlib.import_module(where)
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"module {where!r} cannot be imported: {in_a_line(error)}; name an importable module or a "
                "FILE.py:FUNCTION."
            ) from error
    path = _existing(where)
    # Two files of the same name become two modules.
    mark = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"{PREFIX}{path.stem}_{mark}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickled classes look up their module by name
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} cannot be imported: {in_a_line(error)} (--debug shows where)") from error
    return module


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


def _imported_files(start: Path, root: Path) -> dict[str, str]:
    """Return `start` and the files below `root` that it imports, at any depth, by their paths relative to `root`."""
    found: dict[str, str] = {}
    todo = [start]
    while todo:
        path = todo.pop()
        name = path.relative_to(root).as_posix()
        if name not in found:
            found[name] = _digest(path)
            todo += [file for file in _imports(path, root) if file.is_relative_to(root)]
    return dict(sorted(found.items()))


def _imports(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files below `root` that the import statements of `path` name."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):  # the import will fail with a message of its own
        return
    for node in ast.walk(tree):
        names: list[str] = []
        folder = root
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                folder = path.parents[min(node.level, len(path.parents)) - 1]
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                module = folder.joinpath(*parts[:end])
                yield from (file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
