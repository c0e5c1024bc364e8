"""What an audit is asked to do, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.audit.bounds import Bound
from hiresnn.audit.ledger import Ledger
from hiresnn.audit.presets import Wave
from hiresnn.audit.scouting import Scouted
from hiresnn.audit.subject import Audited, Spent
from hiresnn.audit.trial import Trial


@dataclass(frozen=True)
class Plan:
    """What to audit with.

    Attributes:
        bounds: in order, the clean image first; headline is one of them.
        waves: of the preset, one at least.
        extra: attacks of the user's, run last at every bound.
        twins: name -> a network that makes images for this one.
        seed: of everything random. batch_size: images shown at once, divided by the draws of a random network.
        paper: options of the paper's attacks at the headline, such as `step` and `iterations`; steps go with the bound.
    """

    bounds: tuple[Bound, ...]
    headline: Bound
    waves: tuple[Wave, ...]
    extra: tuple[str, ...] = ()
    twins: Mapping[str, Audited] = field(default_factory=dict)
    seed: int = 0
    batch_size: int = 200
    paper: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Findings:
    """What an audit found.

    Attributes:
        trials: every attack run on all images, by label, in order.
        alone: for the attacks of `PROTOCOL`, bound -> which images each breaks by itself, the misclassified included.
        scouted, blind: of the last wave: by rule, and by attack without a gradient what it broke of the sample.
        adversarial: image -> what broke it at its smallest bound.
    """

    ledger: Ledger
    trials: dict[str, Trial]
    alone: dict[str, dict[str, Tensor]]
    scouted: list[Scouted]
    blind: dict[str, NDArray[np.bool_]]
    scouted_at: Bound
    kept: list[str]
    dropped: list[str]
    adversarial: dict[int, Tensor]
    spent: Spent
