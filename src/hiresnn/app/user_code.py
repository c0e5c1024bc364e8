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

from hiresnn.errors import UsageError, quoted, suggestion, user_code

PREFIX = "hiresnn_target_"
"""Prefix of the module names under which users' files are imported."""
_EXAMPLE = "name a Python file and its function, such as my_network.py:network"


@dataclass(frozen=True)
class UserCode:
    """A function of the user's code, not executed yet; `module` is the path of a file, or a module's dotted name."""

    module: str
    function: str

    @classmethod
    def parse(cls, text: str) -> UserCode:
        """Read FILE.py:FUNCTION or MODULE:FUNCTION. Raises UsageError for another form."""
        module, _, function = text.rpartition(":")
        if not module:
            raise UsageError(
                f"{quoted(text)} is no FILE.py:FUNCTION and no MODULE:FUNCTION; write for example mine.py:network or "
                "torchvision.models:resnet18."
            )
        return cls(module, function)

    @property
    def text(self) -> str:
        """The code as a user writes it."""
        return f"{self.module}:{self.function}"

    @property
    def is_file(self) -> bool:
        """Whether `module` is the path of a file."""
        return self.module.endswith(".py")

    def files(self) -> dict[str, str]:
        """Return the files that define the network, each with its SHA-256.

        For a file these are the file and what it imports from its own folder, by their paths relative to that folder;
        nothing is executed. For a module of the working directory they are found in the same way. For an installed
        module it is the file that defines the function.
        """
        if self.is_file:
            path = require_file(self.module, _EXAMPLE).resolve()
            return _imported_files(path, path.parent)
        definition = inspect.unwrap(self.callable("name one that it has"))
        try:
            path = Path(inspect.getsourcefile(definition) or "")
        except TypeError:  # an object, or a class written in C
            path = Path(getattr(sys.modules[self.module], "__file__", None) or "")
        path, here = path.resolve(), Path.cwd().resolve()
        if not path.is_file():
            return {}
        if path.is_relative_to(here) and "site-packages" not in path.parts:
            return _imported_files(path, here)
        return {getattr(definition, "__module__", self.module): _sha256(path)}

    def network(self, num_classes: int | None = None) -> Any:
        """Call the function and return its network; a module instead of a function is copied.

        `num_classes` is passed if the function has a parameter of this name, or any keyword; None passes nothing.
        """
        function = self.callable("add one that returns a network: images [B, C, H, W] -> logits")
        if isinstance(function, nn.Module):
            return copy.deepcopy(function)
        with _importable(self.module), user_code(self.text):
            parameters = inspect.signature(function).parameters.values() if num_classes is not None else ()
            takes = any(given.name == "num_classes" or given.kind is given.VAR_KEYWORD for given in parameters)
            return function(num_classes=num_classes) if takes else function()

    def callable(self, hint: str) -> Callable[..., Any]:
        """Import the file or module and return the function, which is not called.

        Raises UsageError if the import fails, or if there is no such function; then `hint` says what to add.
        """
        with _importable(self.module):
            module = _imported(self.module)
            function: Any = getattr(module, self.function, None)
        if not callable(function):
            similar = suggestion(self.function, [name for name, value in vars(module).items() if callable(value)])
            raise UsageError(f"{self.module} has no function {self.function!r}; {similar}{hint}.")
        return function  # type: ignore[no-any-return]


def require_file(path: str | Path, remedy: str) -> Path:
    """Return the path of a file that a user names. Raises UsageError, which ends with `remedy`, if there is none."""
    if not Path(path).is_file():
        raise UsageError(f"there is no file {path}; {remedy}.")
    return Path(path)


def _imported(module: str) -> ModuleType:
    if not module.endswith(".py"):
        with user_code(f"the import of module {module!r}", "; name an importable module or a FILE.py:FUNCTION."):
            return importlib.import_module(module)
    path = require_file(module, _EXAMPLE).resolve()
    _require_no_other_modules(path)
    # The name has a hash of the path, because two files in different folders may have the same name.
    mark = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"{PREFIX}{path.stem}_{mark}", path)
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code  # dataclasses and pickled classes look up their module by name
    with user_code(f"the import of {module}"):
        spec.loader.exec_module(code)
    return code


def _require_no_other_modules(path: Path) -> None:
    for name in _imported_files(path, path.parent):
        imported = sys.modules.get(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        source = getattr(imported, "__file__", None)
        if name != path.name and source is not None and Path(source).resolve() != path.parent / name:
            raise UsageError(
                f"{path} imports {name} beside it, but this process has already imported {source} under the same "
                "name; rename one of them, or use the two in separate commands."
            )


@contextmanager
def _importable(module: str) -> Iterator[None]:
    folder = str(Path(module).resolve().parent if module.endswith(".py") else Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _imported_files(start: Path, root: Path) -> dict[str, str]:
    """Return the SHA-256 of `start` and of the files below `root` that it imports, by path relative to `root`."""
    digests: dict[str, str] = {}
    paths = [start]
    while paths:
        path = paths.pop()
        name = path.relative_to(root).as_posix()
        if name not in digests:
            digests[name] = _sha256(path)
            paths += [file for file in _imports(path, root) if file.is_relative_to(root)]
    return dict(sorted(digests.items()))


def _imports(path: Path, root: Path) -> Iterator[Path]:
    """Yield the files below `root` that the import statements of `path` name."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # the import will fail with a message of its own
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


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
