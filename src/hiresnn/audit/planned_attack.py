"""An attack of the audit that can run at any bound: its step scales with the bound, gradients pass through rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from hiresnn.attacks import Attack, AttackSpec, Model, WorstCandidates
from hiresnn.attacks.catalog import BUILT_IN, attack_info
from hiresnn.attacks.search import finish_by_square
from hiresnn.audit.bounds import Bound
from hiresnn.audit.instrumented import OWN, ROUNDING, InstrumentedModel
from hiresnn.errors import UsageError


@dataclass(frozen=True)
class PlannedAttack:
    """An attack without a bound."""

    label: str
    spec: AttackSpec  # a step is a share of the bound
    twin: InstrumentedModel | None = None  # the network on which the images are made, if not the audited one
    plain: bool = False  # whether the network's own gradient is used exactly as it is, with its roundings
    first: int | None = None  # only the first so many images; None means all

    def at(self, bound: Bound) -> Attack:
        """The attack at that bound, without the search that finishes it."""
        options = {name: value for name, value in self.spec.options.items() if name != "finish" or not self.queries}
        return self._under_its_rule(replace(self.spec, options=options).at(bound.radius))

    def finishing(self, bound: Bound, start: Tensor) -> Attack:
        """The Square search that finishes the attack, from what the attack returned; it follows no gradient."""

        def search(model: Model, images: Tensor, labels: Tensor) -> Tensor:
            worst = WorstCandidates(model, images, labels)
            worst.query(worst.standing, start[worst.standing])
            return finish_by_square(worst, bound.radius, self.queries, None)

        return self._under_its_rule(search)

    def _under_its_rule(self, attack: Attack) -> Attack:
        def attacked(model: Model, images: Tensor, labels: Tensor) -> Tensor:
            assert isinstance(model, InstrumentedModel)
            subject = model if self.twin is None else self.twin
            subject.cost = model.cost  # the passes over a twin are part of the cost
            with subject.under(OWN if self.plain else ROUNDING):
                return attack(subject, images, labels)

        return attacked

    @property
    def queries(self) -> int:
        """Queries of the Square search that finishes an attack of the package; 0 for none."""
        return int(str(self.spec.options.get("finish", 0))) if self.spec.name in BUILT_IN else 0

    @property
    def rule(self) -> str | None:
        """The gradient rule; None for an attack without a gradient of the audited network."""
        if attack_info(self.spec.name).rules == "none" or self.twin is not None:
            return None
        return "+".join(self.spec.rules) or OWN

    @property
    def follows_gradient(self) -> bool:
        """Whether the attack follows a gradient of the audited network."""
        return self.rule is not None

    @property
    def loss(self) -> str | None:
        """The loss that the attack increases."""
        default = "cross-entropy" if self.spec.name in ("fgsm", "pgd") else None
        loss: str | None = self.spec.resolved().get("loss", default)
        return loss


def plan_attack(
    text: str, headline: Bound, defaults: Mapping[str, object] | None = None, *, label: str = "", plain: bool = False
) -> PlannedAttack:
    """An attack from its text, with `defaults` for what it leaves out; a step is that at the headline and scales.

    Raises:
        UsageError: see `AttackSpec.parse`; or the text names eps.
    """
    spec = AttackSpec.parse(text, **(defaults or {}))
    if "eps" in spec.options:
        raise UsageError(f"attack {text!r} names eps, but an audit runs it at every bound; name --bounds instead.")
    options = dict(spec.options)
    if "step" in options:
        options["relative_step"] = options.pop("step") / headline.radius
    return PlannedAttack(label or text, AttackSpec(spec.name, options, spec.rules), plain=plain)
