"""The attacks by name with their options and defaults: the table behind `hiresnn attacks`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from hiresnn.attacks.adaptive import apgd, sa_pgd
from hiresnn.attacks.autoattack import VERSIONS, autoattack
from hiresnn.attacks.greedy import greedy
from hiresnn.attacks.iterative import fgsm, pgd, pgd_restarts
from hiresnn.attacks.losses import LOSSES, TARGETED
from hiresnn.attacks.options import NUMBERS, SWITCHES, Value
from hiresnn.attacks.search import KINDS, random_noise, square


@dataclass(frozen=True)
class AttackInfo:
    """A named attack.

    Attributes:
        run: the function (model, images, labels, *, eps, ...) -> adversarial images.
        rules: how many gradient rules the attack takes as its option `rule`.
        choices: option that takes a text -> the texts allowed.
    """

    run: Callable[..., Tensor]
    rules: Literal["none", "one", "several"] = "none"
    choices: Mapping[str, Collection[str]] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """One line for a table: the first of the function's docstring."""
        return (inspect.getdoc(self.run) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, Value | None]:
        """Option -> default, in the order of the function's signature; the default of a step, None, scales with eps."""
        known = {*NUMBERS, *SWITCHES, *self.choices}
        parameters = inspect.signature(self.run).parameters
        found = {name: each.default for name, each in parameters.items() if name in known}
        return {**found, "step": None} if "step" in found else found


ATTACKS: dict[str, AttackInfo] = {
    "fgsm": AttackInfo(fgsm, "one"),
    "pgd": AttackInfo(pgd, "one"),
    "pgd-restarts": AttackInfo(pgd_restarts, "one", {"loss": LOSSES}),
    "apgd": AttackInfo(apgd, "one", {"loss": (*LOSSES, TARGETED)}),
    "sa-pgd": AttackInfo(sa_pgd, "one", {"loss": LOSSES}),
    "greedy": AttackInfo(greedy, "several", {"loss": LOSSES}),
    "square": AttackInfo(square),
    "noise": AttackInfo(random_noise, choices={"kind": KINDS}),
    "autoattack": AttackInfo(autoattack, "one", {"version": VERSIONS}),
}
"""Attack name -> its description."""
