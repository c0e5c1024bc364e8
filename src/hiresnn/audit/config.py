"""The settings of an audit, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.audit.bounds import CURVE, Bound, curve, parse_bound
from hiresnn.audit.card import Check
from hiresnn.audit.instrumented import InstrumentedModel
from hiresnn.audit.planned_attack import PlannedAttack, plan_attack
from hiresnn.audit.presets import Preset, preset_named
from hiresnn.audit.screening import RuleScreening
from hiresnn.audit.worst_case import Cost, WorstCase


@dataclass(frozen=True)
class AuditConfig:
    """The settings of an audit.

    Attributes:
        preset: a name from `presets.PRESETS`, or a preset of your own.
        eps: the bound of the headline, as a number or as text like "8/255".
        bounds: further bounds of the curve.
        attacks: attacks in addition to the preset's, as text without eps; they run last, at every bound.
        seed: seed of everything random.
        batch_size: images per batch; divided by the draws of a random network.
        paper: options of the paper's PGD at the headline bound; its step scales with the bound.

    Raises:
        UsageError: a value that cannot be used.
    """

    preset: Preset | str = "quick"
    eps: float | str = "8/255"
    bounds: tuple[str, ...] = CURVE
    attacks: tuple[str, ...] = ()
    seed: int = 0
    batch_size: int = 200
    paper: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Whatever cannot be used is refused now, not after hours of work.
        _ = self.curve, self.plan, self.added

    @property
    def headline(self) -> Bound:
        """The bound of the headline."""
        return parse_bound(self.eps)

    @property
    def curve(self) -> tuple[Bound, ...]:
        """All bounds in increasing order, 0 first."""
        return curve(self.bounds, self.headline)

    @property
    def plan(self) -> Preset:
        """The preset."""
        return preset_named(self.preset) if isinstance(self.preset, str) else self.preset

    @property
    def added(self) -> list[PlannedAttack]:
        """The user's attacks; a step is that at the headline bound."""
        return [plan_attack(text, self.headline, label=f"{text} (added)") for text in dict.fromkeys(self.attacks)]


@dataclass(frozen=True, eq=False)
class AuditResult:
    """The result of an audit, from which `build_card` makes the card.

    Attributes:
        config, model, images, labels: what was audited, and how.
        worst: the worst case per image, with the adversarial images.
        attacks: label -> every attack that ran on all images, in order.
        alone: for each attack of `presets.PROTOCOL`, bound -> the images that it breaks alone, including those that
            are misclassified anyway.
        screened: the last stage's screening of each rule.
        screened_at: the bound of the screening.
        without_gradient: what each attack without a gradient broke of the screened images.
        selected, dropped: rules, the most successful first.
        checks: checks of the network's behaviour.
        cost: the cost of the whole audit.
    """

    config: AuditConfig
    model: InstrumentedModel
    images: Tensor
    labels: Tensor
    worst: WorstCase
    attacks: dict[str, PlannedAttack]
    alone: dict[str, dict[str, Tensor]]
    screened: list[RuleScreening]
    screened_at: Bound
    without_gradient: dict[str, NDArray[np.bool_]]
    selected: list[str]
    dropped: list[str]
    checks: list[Check]
    cost: Cost
