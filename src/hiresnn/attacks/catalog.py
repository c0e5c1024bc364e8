"""The attacks by name with their options and defaults: the table behind `hiresnn attacks`.

An attack with its options as one value, and as one text: `pgd:eps=2/255,iterations=20,rule=arctan`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from typing import Any, Literal

from torch import Tensor, nn

from hiresnn.attacks.adaptive import apgd, sa_pgd
from hiresnn.attacks.autoattack import VERSIONS, autoattack
from hiresnn.attacks.gate import (
    NUMBERS,
    STEP_SHARE,
    SWITCHES,
    Model,
    Value,
    format_option,
    read_option,
    relative_step,
    verified,
)
from hiresnn.attacks.iterative import fgsm, greedy, pgd, pgd_restarts
from hiresnn.attacks.losses import LOSSES, TARGETED
from hiresnn.attacks.search import KINDS, random_noise, square
from hiresnn.eps import parse_eps
from hiresnn.errors import AttackError, HiresnnError, UsageError, closest, in_a_line, quoted
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.rules import canonical_rule, rule_from_text
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


__all__ = ["AttackSpec", "parse", "parse_eps"]

SHOWN = ("eps", "iterations", "queries")
"""Options that a label shows even at their defaults."""


@dataclass(frozen=True)
class AttackSpec:
    """An attack with its options; callable as (model, images, labels) -> adversarial images.

    Attributes:
        name: key of `ATTACKS`.
        options: option -> value, for options that were named; all others have the attack's own defaults. Do not
            write into it.
        rules: texts of the gradient rules that the model's neurons use during the attack; empty for the neurons' own
            rule. Only greedy takes several.

    Raises:
        UsageError: an unknown attack, option or rule, or a value outside its limits.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        info, where = attack_info(self.name), f"attack {self.name!r}"
        known = _known(info)
        for key in self.options:
            if key not in known:
                listed = ", ".join((*known, *(() if info.rules == "none" else ("rule",))))
                raise UsageError(f"{where}: {self.name} has no option {quoted(key)}; it has {listed}.")
        if "step" in self.options and "relative_step" in self.options:
            raise UsageError(f"{where}: step and relative_step are both given; give one of them.")
        options = {
            key: read_option(where, key, self.options[key], info.choices.get(key), known[key])
            for key in known
            if key in self.options
        }
        try:
            rules = tuple(canonical_rule(rule) for rule in self.rules)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
        if len(rules) > {"none": 0, "one": 1, "several": len(rules)}[info.rules]:
            hint = "use greedy for several" if info.rules == "one" else "leave rule out"
            raise UsageError(f"{where}: it takes {info.rules} of the {len(rules)} rules {'+'.join(rules)!r}; {hint}.")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "rules", rules)

    @classmethod
    def parse(cls, text: str, **defaults: Any) -> AttackSpec:
        """Read `name` or `name:option=value,...`.

        Args:
            text: `rule=` takes a rule as `hiresnn.neurons.rules.rule_from_text` reads it; for greedy several, joined
                by +.
            defaults: options for what the text leaves out; those that the attack does not have are ignored.

        Raises:
            UsageError: an unknown attack, option or rule, or a value that does not parse or is outside its limits.

        >>> AttackSpec.parse("pgd:eps=2/255,iterations=20").options == {"eps": 2 / 255, "iterations": 20}
        True
        """
        name, rest = _split(text)
        info, where = attack_info(name), f"attack {quoted(text)}"
        known = _known(info)
        named: dict[str, Any] = {}
        for pair in filter(None, rest.split(",")):
            key, _, value = pair.partition("=")
            if key in named:
                raise UsageError(f"{where}: {quoted(key)} is given twice; give it once.")
            named[key] = value
        rules = named.pop("rule", None) if info.rules != "none" else None
        options = {key: value for key, value in defaults.items() if key in known and key not in named}
        if "step" in named or ("step" in options and "relative_step" not in named):
            options.pop("relative_step", None)  # an absolute step replaces a default share of eps
        elif "relative_step" in named:
            options.pop("step", None)
        try:  # + separates rules, but not inside a number such as 1e+3
            return cls(name, {**options, **named}, () if rules is None else tuple(re.split(r"\+(?!\d)", rules)))
        except UsageError as error:
            raise UsageError(f"{where}: {str(error).removeprefix(f'attack {name!r}: ')}") from None

    def __str__(self) -> str:
        """The canonical text of the named options; `parse` reads it back as an equal spec."""
        parts = [f"{key}={format_option(key, value)}" for key, value in self.options.items()]
        if self.rules:
            parts.append(f"rule={'+'.join(self.rules)}")
        return f"{self.name}:{','.join(parts)}" if parts else self.name

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def eps(self) -> float:
        """The bound in pixel units, the attack's default unless it was named."""
        return float(self.resolved()["eps"])

    def at(self, eps: float) -> AttackSpec:
        """Return the same attack at another bound. The step scales with eps unless an absolute step was named."""
        return replace(self, options={**self.options, "eps": eps})

    def resolved(self) -> dict[str, Any]:
        """Return every option with the value that the attack will run with.

        The step is absolute, in pixel units. `rule` is the text of the gradient rules, None for the neurons' own (for
        greedy: its own choice); attacks without rules have no such key.
        """
        info = ATTACKS[self.name]
        values: dict[str, Any] = {**info.options, **self.options}
        share = float(values.pop("relative_step", STEP_SHARE))
        if "step" in info.options and "step" not in self.options:
            values["step"] = relative_step(values["eps"], share)
        if info.rules != "none":
            values["rule"] = "+".join(self.rules) or None
        return values

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments with which the attack's function is called, `rules` of greedy excepted."""
        return {key: value for key, value in self.resolved().items() if key != "rule"}

    @property
    def label(self) -> str:
        """A short text that shows eps, iterations and whatever differs from the attack's defaults.

        `parse` reads it back as an attack with the same resolved options.

        >>> AttackSpec.parse("pgd").label
        'pgd:eps=8/255,iterations=7'
        """
        defaults = _known(ATTACKS[self.name])
        values = {**defaults, **self.options}
        shown = {
            key: value
            for key, value in values.items()
            if key in SHOWN or (key in self.options and value != defaults[key])
        }  # fmt: skip
        return str(replace(self, options=shown))

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Run the attack.

        Raises:
            UsageError: a gradient rule was named, but the model has no spiking neuron.
        """
        run, options = ATTACKS[self.name].run, self.arguments()
        if not self.rules:
            return run(model, images, labels, **options)
        if not isinstance(model, nn.Module):
            raise UsageError(f"attack {str(self)!r}: its gradient rule needs a network with LIF neurons.")
        rules = [rule_from_text(rule) for rule in self.rules]
        if ATTACKS[self.name].rules == "several":
            return run(model, images, labels, rules=rules, **options)
        with gradient_rule(model, rules[0]):
            return run(model, images, labels, **options)


parse = AttackSpec.parse


def _split(text: str) -> tuple[str, str]:
    """Split a text into the attack's name, which may contain a colon if a user's file defines it, and its options."""
    user = next((name for name in ATTACKS if ":" in name and f"{text}:".startswith(f"{name}:")), "")
    if user:
        return user, text[len(user) + 1 :]
    name, _, rest = text.partition(":")
    return name, rest


def _known(info: AttackInfo) -> dict[str, Any]:
    """Option -> default, with the share of eps that stands for a step."""
    known: dict[str, Any] = {}
    for key, value in info.options.items():
        known |= {key: value, "relative_step": STEP_SHARE} if key == "step" else {key: value}
    return known
