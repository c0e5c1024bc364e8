"""What a page is made from: audit cards and run folders, read and checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hiresnn.audit.card import Card
from hiresnn.errors import RunError
from hiresnn.runs.folder import ENVIRONMENT, METRICS, RESULT, RunFolder
from hiresnn.runs.recipe import Recipe

CARD = "audit/card.json"

T = TypeVar("T")


class _Part(BaseModel):
    # Later versions may write more than is shown here.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Epoch(_Part):
    """A line of metrics.jsonl; accuracy in percent, `thresholds` and `leaks` by layer where there are spikes."""

    stage: Literal["ann", "snn"]
    epoch: int = Field(ge=1)
    loss: float
    train_accuracy: float
    seconds: float
    thresholds: dict[str, float] = {}
    leaks: dict[str, float] = {}


class Boxes(_Part):
    """Accuracy in percent that one attack leaves; None where it was not measured."""

    white_box: float | None = None
    black_box: float | None = None
    twins: dict[str, float] = {}


class Outcome(_Part):
    """result.json; accuracies in percent."""

    clean: float
    attacks: dict[str, Boxes]
    images: int
    seed: int


@dataclass(frozen=True)
class Run:
    """One run folder; `epochs` is empty before the first ended, the rest None where the folder has no such file."""

    name: str
    path: Path
    recipe: Recipe
    environment: dict[str, Any]
    epochs: tuple[Epoch, ...]
    outcome: Outcome | None
    card: Card | None

    def stage(self, name: Literal["ann", "snn"]) -> tuple[Epoch, ...]:
        """The epochs of one stage of the training, in order."""
        return tuple(epoch for epoch in self.epochs if epoch.stage == name)


def read_card(path: Path) -> Card:
    """The card in a JSON file.

    Raises:
        RunError: there is no such file, or it holds no card of this version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RunError(f"audit card {path} cannot be read: {reason}; name a file that hiresnn audit wrote.") from None
    mend = "name a file that hiresnn audit wrote, or audit again"
    card = _checked(lambda: Card.model_validate_json(text), f"{path} is not an audit card", mend)
    known = [point.bound for point in card.curve]
    if card.setting.headline not in known:
        raise RunError(f"audit card {path} has no curve at its headline bound {card.setting.headline!r}; audit again.")
    return card


def read_run(path: Path) -> Run:
    """A run folder, with its card where it was audited.

    Raises:
        RunError: not a run folder, or one of its files is damaged.
    """
    folder = RunFolder.open(path)
    where, mend = f"{path / METRICS} is damaged", "delete the file or take another run"
    rows = folder.read_metrics()
    epochs = _checked(lambda: tuple(Epoch.model_validate(row) for row in rows), where, mend)
    outcome = None
    if folder.has(RESULT):
        found = folder.read_json(RESULT)
        outcome = _checked(lambda: Outcome.model_validate(found), f"{path / RESULT} is damaged", mend)
    environment = folder.read_json(ENVIRONMENT) if folder.has(ENVIRONMENT) else {}
    if not isinstance(environment, dict):
        raise RunError(f"{path / ENVIRONMENT} is damaged: it is no table of names and values; {mend}.")
    card = read_card(path / CARD) if folder.has(CARD) else None
    return Run(path.resolve().name, path, folder.recipe, environment, epochs, outcome, card)


def told_apart(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its folder's, with as many parents as tell it from the others of that name."""
    names = []
    for number, run in enumerate(runs):
        mine = run.path.resolve().parts
        others = [other.path.resolve().parts for place, other in enumerate(runs) if place != number]
        count = 1
        while count < len(mine) and any(theirs[-count:] == mine[-count:] for theirs in others):
            count += 1
        names.append("/".join(mine[-count:]))
    return names


def _checked(read: Callable[[], T], what: str, mend: str) -> T:
    try:
        return read()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{what} ({place + ': ' if place else ''}{first['msg']}); {mend}.") from None
