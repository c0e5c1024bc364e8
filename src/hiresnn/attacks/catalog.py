"""The attacks by name with their options and defaults: the table behind `hiresnn attacks`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Literal

from torch import Tensor

from hiresnn.attacks.adaptive import apgd, sa_pgd
from hiresnn.attacks.autoattack import VERSIONS, autoattack
from hiresnn.attacks.gate import Model, verified
from hiresnn.attacks.greedy import greedy
from hiresnn.attacks.iterative import fgsm, pgd, pgd_restarts
from hiresnn.attacks.losses import LOSSES, TARGETED
from hiresnn.attacks.options import NUMBERS, SWITCHES, Value
from hiresnn.attacks.search import KINDS, random_noise, square
from hiresnn.errors import AttackError, HiresnnError, UsageError, closest, in_a_line, quoted
from hiresnn.plugins import find, offered


@dataclass(frozen=True)
class AttackInfo:
    """A named attack.

    Attributes:
        run: the function (model, images, labels, *, eps, ...) -> adversarial images.
        rules: how many gradient rules the attack takes as its option `rule`.
        choices: option that takes a text -> the texts allowed.
        source: SHA-256 of the files that define a user's attack, else "".
    """

    run: Callable[..., Tensor]
    rules: Literal["none", "one", "several"] = "none"
    choices: Mapping[str, Collection[str]] = field(default_factory=dict)
    source: str = ""

    @property
    def summary(self) -> str:
        """One line for a table: the first of the function's docstring."""
        return (inspect.getdoc(self.run) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, Value | None]:
        """Option -> default, in the order of the function's signature; the default of a step, None, scales with eps."""
        known, parameters = {*NUMBERS, *SWITCHES, *self.choices}, inspect.signature(self.run).parameters
        found = {
            name: each.default  # of what a text can set: known options, numbers and switches
            for name, each in parameters.items()
            if name in known or type(each.default) in (bool, int, float)
        }
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


def register(
    name: str, function: Callable[..., Tensor], *, rules: Literal["none", "one"] = "one", source: str = ""
) -> None:
    """Add an attack under a name, for `--attack`, `AttackSpec.parse` and the audit.

    Args:
        name: a name that no attack of the package has; an earlier attack of that name is replaced.
        function: `(model, images, labels, *, eps=..., ...)`, returns adversarial images; its keyword arguments with a
            number or a switch as their default are the options of the attack. Its result is checked like that of every
            attack.
        rules: "one" gives it the option `rule`, the gradient rule that the model's neurons use meanwhile. "none" is for
            an attack that follows no gradient of the model; an audit counts it among these.
        source: SHA-256 of the files that define it; stored with results.

    Raises:
        UsageError: the package has an attack of that name, or the function has no keyword argument eps with a default.

    Example:
        >>> register("invert", lambda model, images, labels, eps=0.1: images - eps * images)
        >>> del ATTACKS["invert"]
    """
    if name in BUILT_IN:
        raise UsageError(f"attack {quoted(name)} is one of the package; choose another name.")
    eps = inspect.signature(function).parameters.get("eps")
    if eps is None or eps.default is inspect.Parameter.empty:
        raise UsageError(
            f"attack {quoted(name)} takes no eps; write it as (model, images, labels, *, eps=8/255) -> adversarial "
            "images."
        )

    @wraps(function)
    def run(model: Model, images: Tensor, labels: Tensor, **options: Any) -> Tensor:
        try:
            return verified(partial(function, **options), model, images, labels, eps=options.get("eps", eps.default))
        except AttackError as error:
            raise AttackError(f"attack {quoted(name)}: {error}") from error
        except HiresnnError:
            raise
        except (Exception, SystemExit) as error:  # code of the user's
            raise AttackError(f"attack {quoted(name)} failed: {in_a_line(error)} (--debug shows where)") from error

    ATTACKS[name] = AttackInfo(run, rules, source=source)


def attack_info(name: str) -> AttackInfo:
    """Return the description of an attack of the package, of one that was registered, or of a plug-in.

    Raises:
        UsageError: there is no such attack.
    """
    if name not in ATTACKS:
        found = find("attacks", name)
        if found is None:
            if "," in name or "=" in name:
                raise UsageError(f"attack {quoted(name)} is not known; put a colon behind the name: pgd:eps=8/255.")
            known = closest(name, (*ATTACKS, *offered("attacks")))
            raise UsageError(f"attack {quoted(name)} is not known; {known}, or FILE.py:FUNCTION of your own.")
        register(name, found)
    return ATTACKS[name]


BUILT_IN = frozenset(ATTACKS)
