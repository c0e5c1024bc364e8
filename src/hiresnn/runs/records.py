"""The JSON files of a run folder, checked when they are read: a file that a run could not have written is refused."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hiresnn.errors import RunError
from hiresnn.runs.faults import brief

Percent: TypeAlias = Annotated[float, Field(ge=0, le=100)]
LARGEST = 1e15
"""No count and no number of seconds in a run folder is larger."""


class Record(BaseModel):
    """Keys that are not listed are allowed: later versions may write more."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


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


class EpochRecord(Record):
    """A line of metrics.jsonl."""

    stage: Literal["ann", "snn"]
    epoch: Annotated[int, Field(ge=1, le=10**9)]
    loss: float
    train_accuracy: Percent
    seconds: Annotated[float, Field(ge=0, le=LARGEST)]
    thresholds: dict[str, float] = {}
    leaks: dict[str, float] = {}


class SourceRecord(Record):
    """source.json: the code of a user's own network, and the weights that it started from, each with its SHA-256.

    `path` is absolute; None for an installed module. `files` are those that `UserCode.files` finds.
    """

    model: str
    path: str | None = None
    files: dict[str, str] = {}
    weights: str | None = None


RECORDS: dict[str, type[Record]] = {
    "ann.json": AnnRecord,
    "environment.json": Record,
    "metrics.jsonl": EpochRecord,
    "result.json": ResultRecord,
    "result-holdout.json": ResultRecord,
    "source.json": SourceRecord,
}
"""File name -> the model of its content, or of each of its lines."""


def read_record(text: str, name: str, where: str) -> Any:
    """Return the JSON value in `text`, checked if `name` is a file of RECORDS.

    Args:
        where: names the file, and its line, in errors.

    Raises:
        RunError: the text is not JSON, is nested too deeply, holds NaN, infinity or a number of thousands of digits,
            or lacks what the file must have.
    """
    hint = "delete the file or use another run"
    try:
        value = json.loads(text, parse_constant=_refuse)
        if name in RECORDS:
            RECORDS[name].model_validate(value)
    except json.JSONDecodeError as error:
        raise RunError(f"{where} is damaged ({error.msg}); {hint}.") from None
    except ValidationError as error:
        raise RunError(f"{where} is damaged ({brief(error)}); {hint}.") from None
    except RecursionError:
        raise RunError(f"{where} is damaged (values are nested too deeply); {hint}.") from None
    except ValueError as error:
        raise RunError(f"{where} is damaged ({str(error).partition(';')[0]}); {hint}.") from None
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number that JSON can hold")
