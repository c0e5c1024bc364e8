"""One attack of an audit, aimed at any bound: a step goes with the bound, gradients go through what rounds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from hiresnn.attacks import Attack, AttackSpec, Model
from hiresnn.attacks.greedy import CHOICE
from hiresnn.audit.bounds import Bound
from hiresnn.audit.subject import OWN, ROUNDING, Audited
from hiresnn.errors import UsageError

AUTOATTACK = 7000
"""Passes that AutoAttack takes on an image that stands."""
STEP = 0.25
"""Share of the bound that a step takes where nobody names one."""


@dataclass(frozen=True)
class Trial:
    """An attack without a bound yet.

    Attributes:
        label: under which its findings are filed.
        spec: what is run, without a bound; its step scales with the bound.
        twin: the network that the images are made on; None makes them on the audited one.
        plain: the network's own gradient as it is, roundings and all.
        first: only the first so many images.
    """

    label: str
    spec: AttackSpec
    twin: Audited | None = None
    plain: bool = False
    first: int | None = None

    def at(self, bound: Bound) -> Attack:
        """The attack at that bound."""
        aimed = self.spec.at(bound.radius)

        def attack(model: Model, images: Tensor, labels: Tensor) -> Tensor:
            assert isinstance(model, Audited)
            attacked = model
            if self.twin is not None:
                attacked = self.twin
                attacked.spent = model.spent  # the passes over the twin are part of the price
            with attacked.under(OWN if self.plain else ROUNDING):
                return aimed(attacked, images, labels)

        return attack

    @property
    def rule(self) -> str | None:
        """The gradient rule followed; None where the attack sees no gradient of the audited network."""
        if self.spec.name in ("square", "noise") or self.twin is not None:
            return None
        return "+".join(self.spec.rules) or OWN

    @property
    def loss(self) -> str | None:
        """The loss climbed."""
        if self.spec.name in ("fgsm", "pgd"):
            return "cross-entropy"
        return self.spec.resolved().get("loss")

    @property
    def passes(self) -> int:
        """Forward and backward passes on an image that it does not break, roughly."""
        options = self.spec.resolved()
        if "queries" in options:
            return int(options["queries"])
        if self.spec.name == "autoattack":
            return AUTOATTACK
        if "iterations" not in options:
            return int(options["draws"]) + 1
        targets = options["targets"] if options.get("loss") == "dlr-targeted" else 1
        rules = 2 * len(self.spec.rules or CHOICE) if self.spec.name == "greedy" else 1
        return 2 * int(options["iterations"]) * int(options.get("restarts", 1)) * int(targets) * rules


def trial(text: str, *, first: int | None = None, twin: tuple[str, Audited] | None = None) -> Trial:
    """An attack of the audit's own, from its text.

    Raises:
        UsageError: what `parse` refuses, or a bound in the text: an audit attacks at every bound.
    """
    spec = _boundless(text, at=1.0)
    label = text if twin is None else f"transfer from {twin[0]}"
    return Trial(label, spec, twin=None if twin is None else twin[1], first=first)


def stepped(text: str, headline: Bound, **defaults: object) -> Trial:
    """An attack whose step, in the text or in `defaults`, is that at the headline's bound.

    Raises:
        UsageError: as `trial`.
    """
    return Trial(text, _boundless(text, at=headline.radius, **defaults))


def _boundless(text: str, at: float, **defaults: object) -> AttackSpec:
    """The attack without a bound; a step named in the text or in `defaults` is that at the bound `at`."""
    spec = AttackSpec.parse(text, **{"relative_step": STEP, **defaults})
    if "eps" in spec.options:
        raise UsageError(f"attack {text!r}: an audit runs it at every bound; leave eps out and name --bounds.")
    step = spec.options.get("step")
    if step is None:
        return spec
    options = {key: value for key, value in spec.options.items() if key != "step"}
    return replace(spec, options={**options, "relative_step": float(step) / at})
