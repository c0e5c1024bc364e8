"""The attacks by name, with a summary, their options and defaults: the table behind `hiresnn attacks`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from hiresnn.attacks.adaptive import apgd, sa_pgd
from hiresnn.attacks.autoattack import VERSIONS, autoattack
from hiresnn.attacks.greedy import greedy
from hiresnn.attacks.iterative import fgsm, pgd, pgd_restarts
from hiresnn.attacks.losses import LOSSES, TARGETED
from hiresnn.attacks.options import NUMBERS, Value
from hiresnn.attacks.search import KINDS, random_noise, square


@dataclass(frozen=True)
class AttackInfo:
    """What is known about an attack before it runs.

    Attributes:
        run: the function (model, images, labels, *, eps, ...) -> adversarial images.
        summary: one line for a table.
        rules: how many gradient rules the attack takes as its option `rule`.
        choices: option that takes a text -> the texts allowed.
    """

    run: Callable[..., Tensor]
    summary: str
    rules: Literal["none", "one", "several"] = "none"
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, Value | None]:
        """Option -> default, in the order of the function's signature; a step of None scales with eps."""
        parameters = inspect.signature(self.run).parameters
        known = (*NUMBERS, *self.choices)
        return {
            name: each.default for name, each in parameters.items() if name in known or isinstance(each.default, bool)
        }


_UNTARGETED = {"loss": tuple(LOSSES)}

ATTACKS: dict[str, AttackInfo] = {
    "fgsm": AttackInfo(fgsm, "One step of size eps along the sign of the gradient (Eq. 3).", "one"),
    "pgd": AttackInfo(pgd, "K projected gradient steps; the last iterate counts (Eq. 4).", "one"),
    "pgd-restarts": AttackInfo(
        pgd_restarts, "PGD from several starts; any misclassified iterate counts.", "one", _UNTARGETED
    ),
    "apgd": AttackInfo(apgd, "Auto-PGD: PGD with momentum and an adaptive step.", "one", {"loss": (*LOSSES, TARGETED)}),
    "sa-pgd": AttackInfo(
        sa_pgd,
        "PGD with a normalised adaptive step, made for spiking networks; use it with rule=assg.",
        "one",
        _UNTARGETED,
    ),
    "greedy": AttackInfo(
        greedy, "PGD that tries several gradient rules at each step and keeps the best.", "several", _UNTARGETED
    ),
    "square": AttackInfo(square, "Random search with squares; uses only logits, never a gradient."),
    "noise": AttackInfo(random_noise, "The worst of many random perturbations.", choices={"kind": tuple(KINDS)}),
    "autoattack": AttackInfo(
        autoattack, "AutoAttack from the optional package pyautoattack.", "one", {"version": tuple(VERSIONS)}
    ),
}
"""Attack name -> its description."""
