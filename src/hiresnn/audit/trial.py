"""One attack of an audit, aimed at any bound: a step goes with the bound, gradients go through what rounds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from hiresnn.attacks import ATTACKS, Attack, AttackSpec, Model, parse
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
        spec: what is run; its step, where it has one, is that at a bound of 1.
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
        options = {**self.spec.options, "eps": bound.radius}
        if "step" in _parameters(self.spec):
            options["step"] = bound.radius * self.spec.options["step"]
        aimed = replace(self.spec, options=options)

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
        return self.spec.rule or OWN

    @property
    def loss(self) -> str | None:
        """The loss climbed."""
        default = _parameters(self.spec).get("loss")
        if "loss" in self.spec.options:
            return str(self.spec.options["loss"])
        if default is not None:
            return str(default.default)
        return "cross-entropy" if self.spec.name in ("fgsm", "pgd") else None

    @property
    def passes(self) -> int:
        """Forward and backward passes on an image that it does not break, roughly."""
        defaults = {key: each.default for key, each in _parameters(self.spec).items()}
        options = {**defaults, **self.spec.options}
        if "queries" in options:
            return int(options["queries"])
        if self.spec.name == "autoattack":
            return AUTOATTACK
        if "iterations" not in options:
            return int(options.get("draws", 1)) + 1
        targets = options["targets"] if options.get("loss") == "dlr-targeted" else 1
        rules = 1
        if self.spec.name == "greedy":
            rules = 2 * len(self.spec.rule.split("+") if self.spec.rule else CHOICE)
        return 2 * int(options["iterations"]) * int(options.get("restarts", 1)) * targets * rules


def trial(text: str, *, first: int | None = None, twin: tuple[str, Audited] | None = None) -> Trial:
    """An attack of the audit's own, from its text.

    Raises:
        UsageError: what `parse` refuses, or a bound in the text: an audit attacks at every bound.
    """
    spec = _boundless(text)
    if "step" in _parameters(spec):
        spec = replace(spec, options={"step": STEP, **spec.options})
    label = text if twin is None else f"transfer from {twin[0]}"
    return Trial(label, spec, twin=None if twin is None else twin[1], first=first)


def stepped(text: str, headline: Bound, **defaults: object) -> Trial:
    """An attack whose step, in the text or in `defaults`, is that at the headline's bound.

    Raises:
        UsageError: as `trial`.
    """
    spec = _boundless(text, **defaults)
    if "step" in _parameters(spec):
        given = spec.options.get("step")
        spec = replace(spec, options={**spec.options, "step": STEP if given is None else given / headline.radius})
    return Trial(text, spec)


def _boundless(text: str, **defaults: object) -> AttackSpec:
    spec = parse(text, **defaults)
    if "eps" in spec.options:
        raise UsageError(f"attack {text!r}: an audit runs it at every bound; leave eps out and name --bounds.")
    return spec


def _parameters(spec: AttackSpec) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(ATTACKS[spec.name]).parameters
