"""The header of a weights file: the network's architecture as JSON, checked before anything is built from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hiresnn.errors import RunError
from hiresnn.neurons import Condition, Reset
from hiresnn.runs.faults import brief

FORMAT = 1


class _Part(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False, frozen=True, extra="forbid")


class Spec(_Part):
    """Arguments of `hiresnn.models.build`. The limits keep the sizes of layers within 64-bit integers."""

    name: str
    num_classes: Annotated[int, Field(ge=1, le=10**6)]
    in_channels: Annotated[int, Field(ge=1, le=10**4)] = 3
    image_size: Annotated[int, Field(ge=1, le=10**4)] = 32
    width: Annotated[float, Field(gt=0, le=1000)] = 1.0
    hidden: Annotated[int, Field(ge=1, le=10**6)] = 4096
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    batch_norm: bool = False
    activation: Literal["relu", "qcfs"] = "relu"
    levels: Annotated[int, Field(ge=1, le=10**6)] = 8
    mean: list[float] | None = None
    std: list[float] | None = None


class OwnSpec(_Part):
    """A user's own network: its code is `source`, which a file of weights never runs by itself."""

    name: str
    source: str
    num_classes: Annotated[int, Field(ge=1, le=10**6)]
    in_channels: Annotated[int, Field(ge=1, le=10**4)]
    height: Annotated[int, Field(ge=1, le=10**4)]
    width: Annotated[int, Field(ge=1, le=10**4)]
    normalise: bool


class Spiking(_Part):
    """What makes the ANN a spiking network, apart from thresholds and leaks, which are tensors of the file."""

    timesteps: Annotated[int, Field(ge=1, le=10**6)]
    encoding: Literal["direct", "poisson"]
    reset: Reset
    gamma: Annotated[float, Field(gt=0, le=1e6)]
    width: Annotated[float, Field(gt=0, le=1e6)]
    trainable: bool
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    condition: Condition = ">"
    wait: bool = False
    max_pool: Literal["spikes", "currents"] = "spikes"


class Header(_Part):
    """The JSON in the metadata of a weights file. `checksum` is absent in files of version one."""

    format: int
    spec: Spec | OwnSpec | None
    spiking: Spiking | None = None
    checksum: str | None = None


def read_header(text: str, path: Path) -> Header:
    """Return what the metadata of the file at `path` describe. Raises RunError where that is no network."""
    where = f"{path} was not written by hiresnn.save: its header does not describe a network"
    try:
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(found := values.get("format"), int) and found > FORMAT:
            raise RunError(f"{path} has format {found}, but this hiresnn reads up to {FORMAT}; update hiresnn.")
        return Header.model_validate(values)
    except ValidationError as error:
        raise RunError(f"{where} ({brief(error)}); name a file that it wrote.") from None
    except (ValueError, RecursionError):
        raise RunError(f"{where}; name a file that it wrote.") from None
