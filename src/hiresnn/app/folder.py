"""A run folder: one recipe, its environment, metrics, weights and results; one writer at a time."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from filelock import AcquireReturnProxy, FileLock, Timeout
from pydantic import BaseModel, Field

from hiresnn.app import zoo
from hiresnn.app.recipe import STORED, Recipe, dump, flatten, read
from hiresnn.app.zoo import MODEL as MODEL
from hiresnn.errors import RecipeError, RunError, command_line, suggestion
from hiresnn.files import TEMPORARY_SUFFIX, json_text, parse_json, remove_leftovers, write_atomically

LOCK = ".lock"
RECIPE = "recipe.toml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
RESULT = "result.json"
RESUME = "resume.pt"
ANN = "ann.json"
SOURCE = "source.json"
CONVERSION = "conversion.txt"


def locked(folder: Path, what: str, *, wait: Callable[[], None] | None = None) -> AcquireReturnProxy[FileLock]:
    """Create `folder` if it does not exist and lock it until the end of a block `with` the result, or of the process.

    If another process holds the lock, `wait` is called once before waiting; without `wait` that is a RunError.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = lock.acquire(timeout=0)
    except Timeout:
        if wait is None:
            holder = f"another process holds {folder / LOCK}"
            raise RunError(f"{what} {folder} is in use: {holder}; wait or choose another folder.") from None
        wait()
        held = lock.acquire()
    except OSError as error:
        raise RunError(f"{what} {folder} cannot be written ({error.strerror}); choose another folder.") from error
    for leftovers in (folder, *folder.glob("cache-*")):  # of a process that was killed
        remove_leftovers(leftovers)
    return held


Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
LARGEST = 1e15  # no count and no number of seconds is larger


class Record(BaseModel):
    """A JSON file of a run folder; later versions may write more keys."""

    model_config = {"extra": "allow", "frozen": True, "allow_inf_nan": False}


class AnnRecord(Record):
    """ann.json: the ANN that a run started from."""

    key: str
    seed: int
    folder: str


class AttackRecord(Record):
    """One attack of result.json: accuracies in percent, and the options that the attack ran with."""

    white_box: Percent | None = None
    black_box: Percent | None = None
    twins: dict[str, Percent] = {}


class ResultRecord(Record):
    """result.json: accuracies in percent on `images` images of the data set with the digest `data`."""

    clean: Percent
    attacks: dict[str, AttackRecord]
    images: Annotated[int, Field(ge=0, le=LARGEST)]
    seed: int
    data: str | None = None


class CorruptionRecord(Record):
    """corruptions.json: accuracies in percent at the five severities; `seed` is that of the corruptions."""

    clean: Percent
    corruptions: dict[str, list[Percent]]
    mean: Percent
    images: Annotated[int, Field(ge=0, le=LARGEST)]
    seed: int
    data: str


class EpochRecord(Record):
    """A line of metrics.jsonl."""

    stage: Literal["ann", "snn"]
    epoch: Annotated[int, Field(ge=1, le=LARGEST)]
    loss: float
    train_accuracy: Percent
    seconds: Annotated[float, Field(ge=0, le=LARGEST)]
    thresholds: dict[str, float] = {}
    leaks: dict[str, float] = {}


class SourceRecord(Record):
    """source.json: code and weights of a user's own network with their SHA-256; `path` is None for a module."""

    model: str
    path: str | None = None
    files: dict[str, str] = {}
    weights: str | None = None


RECORDS: dict[str, type[Record]] = {ANN: AnnRecord, METRICS: EpochRecord, RESULT: ResultRecord, SOURCE: SourceRecord}
RECORDS["result-holdout.json"] = ResultRecord
RECORDS["corruptions.json"] = RECORDS["corruptions-holdout.json"] = CorruptionRecord
"""File name -> the model of its content, or of each of its lines. Any other file is a table."""


def read_record(text: str | bytes, name: str, source: str) -> dict[str, Any]:
    """Return the JSON value in `text`, the file `name` of a run folder or a line of it; `source` names it in errors."""
    parse_json(text, RECORDS.get(name, Record), source, remedy="delete the file or use another run")
    values: dict[str, Any] = json.loads(text)  # in its own order, with numbers as they are written
    return values


class RunFolder:
    """The folder of one run, from `create` or `shared` (to train in it) or `open` (to read it or to add results)."""

    def __init__(self, path: Path, lock: AcquireReturnProxy[FileLock] | None, *, follows: bool = False) -> None:
        self.path, self._lock = path, lock
        self.drops_writes = follows  # nothing is written: a network of the zoo, or another rank writes

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe, *, resume: bool = False) -> RunFolder:
        """Take `path` for a run of `recipe`, locked until closed.

        Raises RunError, and changes nothing, unless it is new, empty, a folder in which no training has begun, or with
        `resume` one of the same run.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise RunError(f"--out {path} is a file; choose another --out.")
        _continues(path, recipe, resume)  # before the lock as well: a folder of other files gets no lock file
        return cls(path, locked(path, "run folder"))._prepared(recipe, resume)

    @classmethod
    def shared(cls, path: Path, recipe: Recipe, *, wait: Callable[[], None]) -> RunFolder:
        """Take `path`, whose name decides its content, for the first of several runs; later ones call `wait`.

        A recipe in the folder stays: it can differ from `recipe` only in what does not matter.
        """
        return cls(path, locked(path, "run folder", wait=wait))._prepared(recipe, resume=True, shared=True)

    def _prepared(self, recipe: Recipe, resume: bool, shared: bool = False) -> RunFolder:
        try:
            recipe = self.recipe if shared and self.has(RECIPE) else recipe
            if not _continues(self.path, recipe, resume):
                # The recipe is written last: a folder without one holds nothing of value.
                self.write_json(ENVIRONMENT, environment())
                self.write_text(RECIPE, dump(recipe))
        except BaseException:
            self.close()
            raise
        return self

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False) -> RunFolder:
        """Open an existing run, with the lock if `write`."""
        path = Path(path)
        if not (path / RECIPE).is_file():
            problem = f"has no {RECIPE}" if path.is_dir() else "is a file" if path.exists() else "does not exist"
            remedy = suggestion(path, zoo.names()) if not path.exists() else ""
            remedy += "name a folder that hiresnn train wrote, or for evaluate, audit, analyze and export a network of "
            remedy += "hiresnn zoo"
            if not path.exists() and str(path) in zoo.names():
                remedy = f"{path} is a network of the zoo, copied by {command_line('zoo', 'copy', path, path)}"
            raise RunError(f"run folder {path} {problem}; {remedy}.")
        return cls(path, locked(path, "run folder") if write else None)

    @classmethod
    def open_or_zoo(cls, path: str | Path, *, write: bool = False) -> RunFolder:
        """Open an existing run, or else the network of the zoo that `path` names, to which nothing is written."""
        if not Path(path).exists() and str(path) in zoo.names():
            return cls.follow(zoo.folder_of(str(path)))
        return cls.open(path, write=write)

    @classmethod
    def follow(cls, path: str | Path) -> RunFolder:
        """Return the folder for the ranks that do not write: they read it, and every write is dropped."""
        return cls(Path(path), None, follows=True)

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            self._lock.lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe of this run."""
        try:
            return read(self.path / RECIPE, STORED)
        except RecipeError as error:
            raise RunError(f"run folder {self.path} cannot be read: {error}") from None

    def has(self, name: str) -> bool:
        """Return whether the folder has the file `name`."""
        return (self.path / name).is_file()

    def require(self, name: str) -> Path:
        """Return the path of the file `name`, which must be there."""
        if not self.has(name):
            raise RunError(f"run folder {self.path} has no {name}; finish it with {command_line('resume', self.path)}.")
        return self.path / name

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        if self.drops_writes:
            return
        if self._lock is None:
            raise RunError(f"run folder {self.path} was opened for reading; open it with write=True.")
        write_atomically(self.path / name, content)

    def write_text(self, name: str, text: str) -> None:
        """Write UTF-8 text whole or not at all."""
        self.write_bytes(name, text.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON value, indented, whole or not at all."""
        self.write_text(name, json_text(value))

    def write_metrics(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write all `rows` so far, one JSON object per line, in place of the earlier ones."""
        self.write_text(METRICS, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the values in the JSON file `name`."""
        return read_record(self.require(name).read_bytes(), name, str(self.path / name))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows that `write_metrics` wrote; none before the first epoch has ended."""
        lines = (self.path / METRICS).read_bytes().splitlines() if self.has(METRICS) else []
        return [read_record(line, METRICS, f"{self.path / METRICS}, line {n}") for n, line in enumerate(lines, start=1)]


def default_folder(recipe: Recipe) -> Path:
    """Return the folder of a run for which none is named: runs/NAME-METHOD-seedN, with the label of an own network."""
    own = f"-{recipe.model.label}" if recipe.model.source else ""
    return Path("runs") / f"{recipe.name}{own}-{recipe.method}-seed{recipe.seed}"


def _continues(path: Path, recipe: Recipe, resume: bool) -> bool:
    """Return whether the folder holds this very run; raise RunError if it holds anything else."""
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    names = {name for name in names if name != LOCK and not name.endswith(TEMPORARY_SUFFIX)}
    if RECIPE not in names:
        if names - {ENVIRONMENT}:
            raise RunError(f"--out {path} is no run folder but holds files, such as {min(names)}; choose another.")
        return False
    begun = bool(names - {RECIPE, ENVIRONMENT, ANN, SOURCE, CONVERSION}) or ENVIRONMENT not in names
    resuming = command_line("resume", path)
    stored, requested = flatten(RunFolder.follow(path).recipe), flatten(recipe)
    if differing := [key for key in stored if stored[key] != requested[key]]:
        if not begun:  # an earlier command failed before it trained anything
            return False
        keys = ", ".join(differing)
        remedy = f"continue that one with {resuming}, or choose another --out"
        raise RunError(f"--out {path} already holds another run, which differs in {keys}; {remedy}.")
    if begun and not resume:
        raise RunError(f"--out {path} already holds this run; continue it with {resuming}, or choose another --out.")
    return True


def environment() -> dict[str, Any]:
    """Versions of Python and the packages, platform, processor, threads, git commit and date; None for unknown."""
    commit, changed = _code_version()
    packages = ("hiresnn", "torch", "torchvision", "numpy")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **{name: next((found.version for found in distributions(name=name)), None) for name in packages},
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "threads": threads(),
        "git_commit": commit,
        "git_changed": changed,
    }


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """The processor's instruction sets by Linux's names (`avx512_bf16`, `amx_bf16`); empty elsewhere."""
    return frozenset(_cpuinfo().get("flags", "").split())


def threads() -> int:
    """Threads that torch computes with, or would by default; torch is not imported for it."""
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    setting = os.environ.get("OMP_NUM_THREADS", "")
    return int(setting) if setting.isdigit() and int(setting) else os.cpu_count() or 1


def _code_version() -> tuple[str | None, bool | None]:
    """The git commit of this package's code, and whether tracked files differ from it; None outside a checkout."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # the checkout may be that of another project
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _cpuinfo() -> dict[str, str]:
    """Return Linux's description of the first processor; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
