"""Run folders, read before a page is made of them; a damaged file becomes a note that does not hide other runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from hiresnn.app.folder import ENVIRONMENT, METRICS, RESULT, EpochRecord, ResultRecord, RunFolder
from hiresnn.app.recipe import Recipe
from hiresnn.audit.card import Card, read_card
from hiresnn.errors import RunError

CARD = "audit/card.json"

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run folder; a file that is missing, or cannot be read (see `notes`), leaves its field empty or None."""

    name: str
    path: Path
    recipe: Recipe
    environment: dict[str, Any]
    epochs: tuple[EpochRecord, ...]
    outcome: ResultRecord | None
    card: Card | None
    notes: tuple[str, ...] = ()

    def stage(self, name: Literal["ann", "snn"]) -> tuple[EpochRecord, ...]:
        """The epochs of one stage of the training, in order."""
        return tuple(epoch for epoch in self.epochs if epoch.stage == name)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read run folders; raises RunError if a path is none, or its recipe is damaged."""
    names = unique_ends([path.resolve() for path in paths])
    return [_read_run(path, name) for path, name in zip(paths, names, strict=True)]


def unique_ends(paths: Sequence[Path]) -> list[str]:
    """The shortest unique suffix of each path; the whole path if it is there twice."""
    suffixes = [[path.parts[-count:] for count in range(1, len(path.parts) + 1)] for path in paths]
    uses = Counter(suffix for of_path in suffixes for suffix in of_path)
    return [str(PurePosixPath(*next((end for end in ends if uses[end] == 1), ends[-1]))) for ends in suffixes]


def _read_run(path: Path, name: str) -> Run:
    folder = RunFolder.open(path)
    notes = []

    def part(name: str, read: Callable[[], T], missing: T) -> T:
        try:
            return read() if folder.has(name) else missing
        except RunError as error:
            notes.append(str(error))
            return missing

    return Run(
        name,
        path,
        folder.recipe,
        part(ENVIRONMENT, lambda: folder.read_json(ENVIRONMENT), {}),
        part(METRICS, lambda: tuple(map(EpochRecord.model_validate, folder.read_metrics())), ()),
        part(RESULT, lambda: ResultRecord.model_validate(folder.read_json(RESULT)), None),
        part(CARD, lambda: read_card(path / CARD), None),
        tuple(notes),
    )
