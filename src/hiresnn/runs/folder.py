"""A run folder: one recipe, its environment, metrics, weights and results; one writer at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from hiresnn.errors import BusyError, RecipeError, RunError
from hiresnn.runs.atomic import TEMPORARY_SUFFIX, utf8, write_atomically
from hiresnn.runs.environment import environment
from hiresnn.runs.recipe import Recipe, dump, parse

RECIPE = "recipe.toml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
MODEL = "model.safetensors"
RESULT = "result.json"
RESUME = "resume.pt"
LOCK = ".lock"


class RunFolder:
    """The folder of one run. Made by `create` or `shared` (to train in it) or `open` (to read, or to add results).

    A context manager: leaving it gives up the lock. `resumed` says that the folder already held this run.
    """

    def __init__(self, path: Path, lock: FileLock | None, *, resumed: bool) -> None:
        self.path, self.resumed = path, resumed
        self._lock = lock
        self._follows = False

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe, *, resume: bool = False) -> RunFolder:
        """Take `path` for a run of `recipe`, locked until closed.

        A new or empty folder becomes a run folder; one that holds the same recipe continues where
        `resume`. Anything else (another run, foreign files, a file, a second writer) raises RunError and
        changes nothing.
        """
        path = Path(path)
        with _usable(path):
            if path.exists() and not path.is_dir():
                raise RunError(f"--out {path} is a file; choose another --out.")
            # Looked at before the lock as well, so that a foreign folder does not even get a lock file.
            _check(path, recipe, resume)
            return cls._taken(path, _made_and_locked(path), recipe, resume=resume)

    @classmethod
    def shared(cls, path: str | Path, recipe: Recipe, *, waiting: Callable[[], None]) -> RunFolder:
        """Take `path`, whose name decides its content, for whichever of several runs comes first.

        A second writer calls `waiting` once and waits for the first. A recipe that is already there stays, as
        it can differ only where that does not matter.
        """
        path = Path(path)
        with _usable(path):
            lock = _made_and_locked(path, waiting)
            try:
                kept = _recipe(path) if (path / RECIPE).is_file() else recipe
            except BaseException:
                lock.release()
                raise
            return cls._taken(path, lock, kept, resume=True)

    @classmethod
    def _taken(cls, path: Path, lock: FileLock, recipe: Recipe, *, resume: bool) -> RunFolder:
        try:
            resumed = _check(path, recipe, resume)
            for left in path.glob(f".*{TEMPORARY_SUFFIX}"):
                left.unlink()
            folder = cls(path, lock, resumed=resumed)
            if not resumed:
                # The recipe comes last: a folder without one holds nothing worth keeping.
                folder.write_json(ENVIRONMENT, environment())
                folder.write_text(RECIPE, dump(recipe))
        except BaseException:
            lock.release()
            raise
        return folder

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False) -> RunFolder:
        """Open an existing run, with the lock where `write`. Raises RunError if it is not a run folder."""
        path = Path(path)
        with _usable(path):
            if not path.is_dir():
                what = "is a file" if path.exists() else "does not exist"
                raise RunError(f"run folder {path} {what}; name the folder that hiresnn train wrote.")
            if not (path / RECIPE).is_file():
                raise RunError(f"{path} is not a run folder: it has no {RECIPE}; name one that hiresnn train wrote.")
            return cls(path, _locked(path) if write else None, resumed=True)

    @classmethod
    def follow(cls, path: str | Path) -> RunFolder:
        """The run folder of several processes, for those that do not write: it reads, and every write is dropped."""
        folder = cls(Path(path), None, resumed=True)
        folder._follows = True
        return folder

    def close(self) -> None:
        """Give up the lock. Harmless when called twice."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe of this run. Raises RunError if the file is damaged."""
        return _recipe(self.path)

    def has(self, name: str) -> bool:
        """Whether the file `name` is there."""
        return (self.path / name).is_file()

    def require(self, name: str) -> Path:
        """The path of the file `name`. Raises RunError where it is missing."""
        if not self.has(name):
            mend = "finish it with hiresnn train and --resume, or name another run"
            raise RunError(f"run folder {self.path} has no {name}; {mend}.")
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
        self.write_text(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def write_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write all `rows` so far, one JSON object a line, in place of the earlier ones."""
        self.write_text(METRICS, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def read_json(self, name: str) -> Any:
        """The value in the JSON file `name`. Raises RunError where it is missing or damaged."""
        return _json(_text(self.require(name)), str(self.path / name))

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows that `write_metrics` wrote; none before the first epoch has ended."""
        if not self.has(METRICS):
            return []
        lines = _text(self.path / METRICS).splitlines()
        return [_json(line, f"{self.path / METRICS}, line {n}") for n, line in enumerate(lines, start=1)]


def _check(path: Path, recipe: Recipe, resume: bool) -> bool:
    """Whether the folder holds this very run; RunError where it holds something else."""
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    names = {name for name in names if name != LOCK and not name.endswith(TEMPORARY_SUFFIX)}
    if RECIPE not in names:
        if names - {ENVIRONMENT}:
            raise RunError(f"--out {path} holds files that are no run, such as {min(names)}; choose another --out.")
        return False
    differing = _differing(_recipe(path), recipe)
    if differing:
        raise RunError(
            f"--out {path} already holds another run, which differs in {', '.join(differing)}; choose another --out."
        )
    if not resume:
        raise RunError(f"--out {path} already holds this run; continue it with --resume or choose another --out.")
    return True


def _differing(ours: Recipe, asked: Recipe) -> list[str]:
    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        for key, value in values.items():
            inner = isinstance(value, dict)
            pairs |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
        return pairs

    here, there = flat(ours.model_dump()), flat(asked.model_dump())
    return [key for key in here if here[key] != there[key]]


def _recipe(path: Path) -> Recipe:
    try:
        return parse(_text(path / RECIPE), str(path / RECIPE))
    except RecipeError as error:
        raise RunError(f"run folder {path} is damaged: {error}") from None


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """What the system refuses in the run folder `path`, as a RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"run folder {path} cannot be used ({error}); check its permissions or choose another."
        ) from error


def _text(path: Path) -> str:
    with _usable(path.parent):
        return path.read_text(encoding="utf-8", errors="replace")


def _made_and_locked(path: Path, waiting: Callable[[], None] | None = None) -> FileLock:
    path.mkdir(parents=True, exist_ok=True)
    return _locked(path, waiting)


def _locked(path: Path, waiting: Callable[[], None] | None = None) -> FileLock:
    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if waiting is None:
            raise BusyError(
                f"run folder {path} is being written by another process, which holds {path / LOCK}; "
                "wait for it or choose another --out."
            ) from None
        waiting()
        lock.acquire()
    return lock


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RunError(f"{where} is damaged ({error.msg}); delete the file or take another run.") from None
