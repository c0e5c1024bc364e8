"""A run folder: one recipe, its environment, metrics, weights and results; one writer at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hiresnn.atomic import TEMPORARY_SUFFIX, json_text, utf8, write_atomically
from hiresnn.errors import RecipeError, RunError, command_line
from hiresnn.runs.environment import environment
from hiresnn.runs.lock import LOCK, locked
from hiresnn.runs.recipe import Recipe, dump, flatten, parse
from hiresnn.runs.records import read_record

RECIPE = "recipe.toml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
RESULT = "result.json"
RESUME = "resume.pt"
ANN = "ann.json"
SOURCE = "source.json"
CONVERSION = "conversion.txt"
SHELF = Path(__file__).parents[1] / "hub/networks"
"""The networks of the package."""


class RunFolder:
    """The folder of one run, from `create` or `shared` (to train in it) or `open` (to read it or to add results).

    As a context manager it releases its lock at the end.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path, lock: ExitStack | None, *, follows: bool = False) -> None:
        self.path, self._lock, self._follows = path, lock, follows

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe, *, resume: bool = False) -> RunFolder:
        """Take `path` for a run of `recipe`, locked until closed.

        A new folder, an empty one, or one in which no training has begun becomes the folder of this run. A folder
        that holds the same run is continued if `resume` is set.

        Raises:
            RunError: the folder holds another run or other files, is a file, or is in use. Nothing has changed then.
        """
        path = Path(path)
        with _usable(path):
            if path.exists() and not path.is_dir():
                raise RunError(f"--out {path} is a file; choose another --out.")
            _check(path, recipe, resume)  # before the lock as well: a folder of other files gets no lock file
            with locked(path, "run folder") as lock:
                return cls._taken(path, lock, recipe, resume=resume)

    @classmethod
    def shared(cls, path: str | Path, recipe: Recipe, *, wait: Callable[[], None]) -> RunFolder:
        """Take `path`, whose name decides its content, for the first of several runs.

        A later one calls `wait` once and waits for the first. A recipe in the folder stays: it can differ from
        `recipe` only in what does not matter.
        """
        path = Path(path)
        with _usable(path), locked(path, "run folder", wait=wait) as lock:
            stored = _recipe(path) if (path / RECIPE).is_file() else recipe
            return cls._taken(path, lock, stored, resume=True)

    @classmethod
    def _taken(cls, path: Path, lock: ExitStack, recipe: Recipe, *, resume: bool) -> RunFolder:
        resumed = _check(path, recipe, resume)
        for left in path.glob(f".*{TEMPORARY_SUFFIX}"):
            left.unlink()
        folder = cls(path, lock)
        if not resumed:
            # The recipe is written last: a folder without one holds nothing of value.
            folder.write_json(ENVIRONMENT, environment())
            folder.write_text(RECIPE, dump(recipe))
        folder._lock = lock.pop_all()  # kept when the caller's block ends, now that nothing can fail
        return folder

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False) -> RunFolder:
        """Open an existing run, with the lock if `write`. Raises RunError if it is not a run folder."""
        path = Path(path)
        with _usable(path):
            if not path.is_dir():
                what = "is a file" if path.exists() else "does not exist"
                if (SHELF / path / RECIPE).is_file():  # as the cards of these networks call them
                    raise RunError(
                        f"run folder {path} {what}; {path} is a network of the package: make a run folder of it with "
                        f"{command_line('zoo', 'copy', path, path)}."
                    )
                raise RunError(f"run folder {path} {what}; name a folder that hiresnn train or hiresnn zoo copy wrote.")
            if not (path / RECIPE).is_file():
                raise RunError(f"{path} is not a run folder: it has no {RECIPE}; name one that hiresnn train wrote.")
            return cls(path, locked(path, "run folder") if write else None)

    @classmethod
    def follow(cls, path: str | Path) -> RunFolder:
        """Return the folder for the ranks that do not write: they read it, and every write is dropped."""
        return cls(Path(path), None, follows=True)

    def close(self) -> None:
        """Release the lock. Calling it twice is harmless."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe of this run. Raises RunError if the file is damaged."""
        return _recipe(self.path)

    def has(self, name: str) -> bool:
        """Return whether the folder has the file `name`."""
        return (self.path / name).is_file()

    def require(self, name: str) -> Path:
        """Return the path of the file `name`. Raises RunError if it is missing."""
        if not self.has(name):
            raise RunError(
                f"run folder {self.path} has no {name}; finish it with hiresnn train and --resume, or name another run."
            )
        return self.path / name

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all. Raises RunError, for example on a full disk."""
        if self._follows:
            return
        if self._lock is None:
            raise RunError(f"run folder {self.path} was opened for reading; open it with write=True.")
        write_atomically(self.path / name, content)

    def write_text(self, name: str, text: str) -> None:
        """Write UTF-8 text whole or not at all."""
        self.write_bytes(name, utf8(text, self.path / name))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON value, indented, whole or not at all."""
        self.write_text(name, json_text(value))

    def write_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write all `rows` so far, one JSON object per line, in place of the earlier ones."""
        self.write_text(METRICS, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def read_json(self, name: str) -> Any:
        """Return the value in the JSON file `name`. Raises RunError if it is missing or damaged."""
        return read_record(_text(self.require(name)), name, str(self.path / name))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows that `write_metrics` wrote; none before the first epoch has ended."""
        if not self.has(METRICS):
            return []
        lines = _text(self.path / METRICS).splitlines()
        return [read_record(line, METRICS, f"{self.path / METRICS}, line {n}") for n, line in enumerate(lines, start=1)]


def default_folder(recipe: Recipe) -> Path:
    """Return the folder of a run for which none is named: runs/NAME-METHOD-seedN, with the label of an own network."""
    own = f"-{recipe.model.label}" if recipe.model.source else ""
    return Path("runs") / f"{recipe.name}{own}-{recipe.method}-seed{recipe.seed}"


def _check(path: Path, recipe: Recipe, resume: bool) -> bool:
    """Return whether the folder holds this very run; raise RunError if it holds anything else."""
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    names = {name for name in names if name != LOCK and not name.endswith(TEMPORARY_SUFFIX)}
    if RECIPE not in names:
        if names - {ENVIRONMENT}:
            raise RunError(
                f"--out {path} is no run folder but holds files, such as {min(names)}; choose another --out."
            )
        return False
    begun = bool(names - {RECIPE, ENVIRONMENT, ANN, SOURCE, CONVERSION}) or ENVIRONMENT not in names
    ours, asked = flatten(_recipe(path)), flatten(recipe)
    if differing := [key for key in ours if ours[key] != asked[key]]:
        if not begun:  # an earlier command failed before it trained anything
            return False
        raise RunError(
            f"--out {path} already holds another run, which differs in {', '.join(differing)}; choose another --out."
        )
    if begun and not resume:
        raise RunError(f"--out {path} already holds this run; continue it with --resume or choose another --out.")
    return True


def _recipe(path: Path) -> Recipe:
    try:
        return parse(_text(path / RECIPE), str(path / RECIPE))
    except RecipeError as error:
        raise RunError(f"run folder {path} cannot be read: {error}") from None


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Turn what the system refuses in the run folder `path` into a RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"run folder {path} cannot be used ({error}); check its permissions or choose another."
        ) from error


def _text(path: Path) -> str:
    with _usable(path.parent):
        return path.read_text(encoding="utf-8", errors="replace")
