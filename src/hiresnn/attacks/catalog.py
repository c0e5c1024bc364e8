"""The attacks by name, and an attack with its options as one value and one text: `pgd(eps=2/255, rule=arctan)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from hiresnn.attacks.adaptive import apgd, autoattack, momentum, sa_pgd
from hiresnn.attacks.discrete import guided, random_moves, search_moves, topk
from hiresnn.attacks.events import Found, Threat
from hiresnn.attacks.gate import (
    STEP_SHARE,
    Model,
    Value,
    canonical_names,
    options_of,
    read_option,
    relative_step,
    require_eps,
    text_options,
    verified,
)
from hiresnn.attacks.iterative import fgsm, greedy, pgd, pgd_restarts
from hiresnn.attacks.retiming import relaxed
from hiresnn.attacks.search import random_noise, square
from hiresnn.calls import Call, format_eps, format_number, format_value, offered, plugin, read_call
from hiresnn.errors import AttackError, UsageError, closest, quoted, user_code
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.rules import canonical_rule, rule_from_text

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class AttackInfo:
    """A named attack.

    Attributes:
        run: the function (model, images, labels, *, eps, ...) -> adversarial images, or an `EventAttack`; its signature
            says the options, the first line of its docstring the `summary`.
        rules: how many gradient rules the attack takes as its option `rule`.
        source: SHA-256 of the files that define a user's attack, else "".
    """

    run: Callable[..., Any]
    rules: Literal["none", "one", "several"] = "none"
    source: str = ""

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.run) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, Value | None]:
        """Option -> default, in the order of the function's signature; the default of a step, None, scales with eps."""
        return {name: option.default for name, option in options_of(self.run).items()}

    @property
    def usage(self) -> str:
        """The options with their defaults, as in a call: `eps=8/255, step=0.31875*eps, iterations=7, rule=NAME`."""
        rule = {"none": [], "one": ["rule=NAME"], "several": ["rule=[NAME, NAME]"]}[self.rules]
        step = f"{STEP_SHARE:g}*eps"
        options = [f"{name}={step if value is None else format_value(value)}" for name, value in self.options.items()]
        return ", ".join([*options, *rule])


ATTACKS: dict[str, AttackInfo] = {
    "fgsm": AttackInfo(fgsm, "one"),
    "pgd": AttackInfo(pgd, "one"),
    "pgd-restarts": AttackInfo(pgd_restarts, "one"),
    "apgd": AttackInfo(apgd, "one"),
    "sa-pgd": AttackInfo(sa_pgd, "one"),
    "momentum": AttackInfo(momentum, "one"),
    "greedy": AttackInfo(greedy, "several"),
    "square": AttackInfo(square),
    "noise": AttackInfo(random_noise),
    "autoattack": AttackInfo(autoattack, "one"),
}
"""Attack name -> its description."""
BUILT_IN = frozenset(ATTACKS)
EVENT_ATTACKS: dict[str, AttackInfo] = {
    "topk": AttackInfo(topk, "one"),
    "guided": AttackInfo(guided, "one"),
    "relaxed": AttackInfo(relaxed, "one"),
    "search": AttackInfo(search_moves),
    "random": AttackInfo(random_moves),
}
"""Name of an attack on event grids -> its description; such an attack looks for the smallest budget."""


def register(
    name: str, function: Callable[..., Tensor], *, rules: Literal["none", "one"] = "one", source: str = ""
) -> None:
    """Add an attack under a name, for `--attack`, `AttackSpec.parse` and the audit.

    Args:
        name: a name that no attack of the package has; an earlier attack of that name is replaced.
        function: `(model, images, labels, *, eps=..., ...)`, returns adversarial images, which are checked. Its keyword
            arguments with a number or a switch as their default are the options of the attack. One that also works
            in L2 says so by `norm: Literal["linf", "l2"] = "linf"`.
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
    parameters = inspect.signature(function).parameters
    eps, norm = parameters.get("eps"), parameters.get("norm")
    if eps is None or eps.default is inspect.Parameter.empty:
        raise UsageError(f"attack {quoted(name)} takes no eps; write it as (model, images, labels, *, eps=8/255).")

    @wraps(function)
    def run(model: Model, images: Tensor, labels: Tensor, **options: Any) -> Tensor:
        try:
            with user_code("the attack", error=AttackError):
                bound = {"eps": eps.default, "norm": norm.default if norm else "linf"}
                bound |= {name: options[name] for name in bound if name in options}
                return verified(partial(function, **options), model, images, labels, **bound)
        except AttackError as error:
            raise AttackError(f"attack {quoted(name)}: {error}") from error

    ATTACKS[name] = AttackInfo(run, rules, source)


def attack_info(name: str) -> AttackInfo:
    """Return the description of an attack of the package, a registered one or a plug-in."""
    if name not in ATTACKS:
        function = plugin("attacks", name)
        if function is None:
            hint = "write options in parentheses, as in pgd(eps=8/255)" if set(name) & set(",=") else ""
            hint = hint or f"{closest(name, (*ATTACKS, *offered('attacks')))}, or FILE.py:FUNCTION of your own"
            raise UsageError(f"attack {quoted(name)} is not known; {hint}.")
        register(name, function)
    return ATTACKS[name]


@dataclass(frozen=True)
class AttackSpec:
    """An attack with its options; callable as (model, images, labels) -> adversarial images.

    Attributes:
        name: key of `ATTACKS`.
        options: option -> value, for options that were named. Do not write into it.
        rules: texts of the gradient rules that the model's neurons use during the attack; empty for the neurons' own
            rule. Only greedy takes several.

    Raises:
        UsageError: an unknown attack, option or rule, or a value outside its limits.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()

    @staticmethod
    def described(name: str) -> AttackInfo:
        """Return the description of the attack of that name; UsageError if there is none."""
        return attack_info(name)

    def __post_init__(self) -> None:
        info, attack = self.described(self.name), f"attack {self.name!r}"
        known = text_options(info.run)
        given = canonical_names(attack, self.options, known)
        Call(self.name, given).require((*known, *(["rule"] if info.rules != "none" else [])), attack)
        if "step" in given and "relative_step" in given:
            raise UsageError(f"{attack}: step and relative_step are both given; give one of them.")
        require_eps(attack, given)
        norm = given.get("norm", "linf")
        options = {name: read_option(attack, name, given[name], known[name], norm) for name in known if name in given}
        rules = tuple(map(canonical_rule, self.rules))
        if len(rules) > {"none": 0, "one": 1, "several": len(rules)}[info.rules]:
            hint = "use greedy for several" if info.rules == "one" else "leave rule out"
            raise UsageError(f"{attack}: it takes {info.rules} of the {len(rules)} rules {', '.join(rules)}; {hint}.")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "rules", rules)

    @classmethod
    def parse(cls, text: str, **defaults: Any) -> Self:
        """Read an attack from its text, a name with options in parentheses.

        The option `rule` is a rule as `hiresnn.neurons.rules.rule_from_text` reads it, or a list of rules for greedy.
        Texts of version 0.2, such as "pgd:eps=2/255,rule=arctan", are read, too.

        Args:
            defaults: options for what the text leaves out; those that the attack does not have are ignored.

        Raises:
            UsageError: as for `AttackSpec`, or a text that is no call.

        >>> AttackSpec.parse("pgd(eps=2/255, iterations=20)").options == {"eps": 2 / 255, "iterations": 20}
        True
        """
        call = read_call(text, "attack")
        info = cls.described(call.name)
        known = text_options(info.run)
        named = canonical_names(f"attack {quoted(text)}", call.options, known)
        rules = named.pop("rule", []) if info.rules != "none" else []
        if named.get("norm") == "l2":  # defaults in pixel units are those of L-infinity
            defaults = {key: value for key, value in defaults.items() if key not in ("eps", "step")}
        options = {key: value for key, value in defaults.items() if key in known and key not in named}
        if "step" in named or ("step" in options and "relative_step" not in named):
            options.pop("relative_step", None)  # an absolute step replaces a default share of eps
        elif "relative_step" in named:
            options.pop("step", None)
        return cls(call.name, {**options, **named}, tuple(map(str, rules if isinstance(rules, list) else [rules])))

    def __str__(self) -> str:
        """The text of the named options that results store, in the syntax of version 0.2; `parse` reads it back."""
        parts = [f"{key}={_stored(key, value)}" for key, value in self.options.items()]
        if self.rules:
            parts.append(f"rule={'+'.join(self.rules)}")
        return f"{self.name}:{','.join(parts)}" if parts else self.name

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def eps(self) -> float:
        """The bound in pixel units, the attack's default unless it was named."""
        return float(self.resolved()["eps"])

    def at(self, eps: float, norm: str | None = None) -> AttackSpec:
        """Return the same attack at another bound. The step scales with eps unless an absolute step was named."""
        return replace(self, options={**self.options, "eps": eps, **({"norm": norm} if norm else {})})

    def resolved(self) -> dict[str, Any]:
        """Return every option with the value that the attack will run with; the step is absolute, in pixel units.

        The norm is among them if it is not L-infinity, which results of version 0.2 do not say.
        `rule` is the text of the gradient rules, None for the neurons' own (for greedy: its own choice).
        """
        info = self.described(self.name)
        values: dict[str, Any] = {**info.options, **self.options}
        share = float(values.pop("relative_step", STEP_SHARE))
        if "step" in info.options and "step" not in self.options:
            values["step"] = relative_step(values["eps"], share)
        if values.get("norm") == "linf":
            del values["norm"]
        if info.rules != "none":
            values["rule"] = "+".join(self.rules) or None
        return values

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments with which the attack's function is called, `rules` of greedy excepted."""
        return {key: value for key, value in self.resolved().items() if key != "rule"}

    @property
    def label(self) -> str:
        """A text with eps, iterations and whatever differs from the defaults; `parse` reads it back.

        >>> AttackSpec.parse("pgd").label
        'pgd:eps=8/255,iterations=7'
        """
        defaults: dict[str, Any] = {
            key: option.default for key, option in text_options(self.described(self.name).run).items()
        }
        shown: dict[str, Any] = {key: defaults[key] for key in ("eps", "iterations", "queries") if key in defaults}
        changed = {key: value for key, value in self.options.items() if value != defaults[key]}
        return str(replace(self, options={**shown, **changed}))

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Run the attack; UsageError if a gradient rule was named, but the model has no spiking neuron."""
        adversarial: Tensor = self._run(model, images, labels, self.arguments())
        return adversarial

    def _run(self, model: Model, images: Tensor, labels: Tensor, options: dict[str, Any]) -> Any:
        info = self.described(self.name)
        if not self.rules:
            return info.run(model, images, labels, **options)
        if not isinstance(model, nn.Module):
            raise UsageError(f"attack {str(self)!r}: its gradient rule needs a network with LIF neurons.")
        rules = [rule_from_text(rule) for rule in self.rules]
        if info.rules == "several":
            return info.run(model, images, labels, rules=rules, **options)
        with gradient_rule(model, rules[0]):
            return info.run(model, images, labels, **options)


parse = AttackSpec.parse


class EventAttackSpec(AttackSpec):
    """An attack on event grids with its options, callable as `(model, grids, labels, *, threat, budget)`."""

    @staticmethod
    def described(name: str) -> AttackInfo:
        if name not in EVENT_ATTACKS:
            raise UsageError(f"attack on events {quoted(name)} is not known; {closest(name, EVENT_ATTACKS)}.")
        return EVENT_ATTACKS[name]

    def __call__(  # type: ignore[override]
        self, model: Model, images: Tensor, labels: Tensor, *, threat: Threat, **given: Any
    ) -> Found:
        """Run the attack; options that the text names come before those that are `given`, such as budget."""
        found: Found = self._run(model, images, labels, {**given, **self.options, "threat": threat})
        return found


def _stored(name: str, value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format_eps(value) if name == "eps" else format_number(value)
    return str(value)
