"""Gradient rules: what replaces the derivative of a spike in the backward pass (Eq. 5), by class, name and text.

A spike is a step of z = u / v_t - 1, so its derivative is zero almost everywhere. Training and attacks replace it by a
rule; an attacker is free to use another one than the trainer, see `gradient_rule`. The forward pass stays as it is.

An elementwise rule is a function z -> d spike / d z. z has no unit: -1 is an empty membrane, 0 the threshold, 1 twice
the threshold. Widths are in units of z, sharpness and decay per unit of z; all are above 0. A constant factor does not
change the sign of an attack's gradient within one layer, but it weighs the paths of a residual network, and of time,
against each other. A layer rule gets all membranes of a layer over all timesteps and returns the gradient of the input
current, so it can average over time, cut the recurrence, use only rates, or take its width from the membranes.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from hiresnn.calls import Call, format_number, format_value, offered, plugin, read_call, typed
from hiresnn.errors import UsageError, closest, quoted
from hiresnn.neurons.lif import Condition, Reset, Scan, fires, lif_steps

Surrogate = Callable[[Tensor], Tensor]
"""A rule: normalised membrane z of any shape -> d spike / d z, same shape. Hashable, without state."""


def _require(rule: object, name: str, fulfilled: bool, condition: str) -> None:
    """Raise UsageError, which names the option of a rule, unless a condition is fulfilled."""
    if not fulfilled:
        raise UsageError(f"{type(rule).__name__} rule: {name} is {getattr(rule, name)}; it must {condition}.")


@dataclass(frozen=True)
class Positive:
    """A rule whose numbers must all be above 0, or UsageError is raised."""

    def __post_init__(self) -> None:
        for option in fields(self):
            _require(self, option.name, getattr(self, option.name) > 0, "be above 0")


@dataclass(frozen=True)
class Linear(Positive):
    """The paper's rule (Eq. 5, Bellec et al. 2018): gamma * max(0, 1 - abs(z) / width).

    Args:
        gamma: height at the threshold, the damping factor of Eq. 5.
        width: distance from the threshold, in units of it, at which the gradient vanishes.
    """

    gamma: float = 0.3
    width: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        return self.gamma * torch.clamp(1 - z.abs() / self.width, min=0)


def triangular(width: float = 1.0) -> Linear:
    """The linear rule of unit area, max(0, 1 - |z| / width) / width (Bellec et al. 2018); width above 0."""
    if not width > 0:
        raise UsageError(f"triangular rule: width is {width}; it must be above 0.")
    return Linear(gamma=1 / width, width=width)


@dataclass(frozen=True)
class Arctan(Positive):
    """(alpha / 2) / (1 + (pi alpha z / 2)^2), the derivative of an arctan of unit height; never zero."""

    alpha: float = 2.0

    def __call__(self, z: Tensor) -> Tensor:
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * z).square())


@dataclass(frozen=True)
class Sigmoid(Positive):
    """k s(kz) (1 - s(kz)), the derivative of the logistic function s, with sharpness k."""

    k: float = 4.0

    def __call__(self, z: Tensor) -> Tensor:
        height = torch.sigmoid(self.k * z)
        return self.k * height * (1 - height)


@dataclass(frozen=True)
class Exponential(Positive):
    """height * exp(-gamma |z|). STDB has height 0.3, Ozdenizci and Legenstein 2024 have height = gamma."""

    gamma: float = 2.0
    height: float = 0.3

    def __call__(self, z: Tensor) -> Tensor:
        return self.height * torch.exp(-self.gamma * z.abs())


@dataclass(frozen=True)
class Rectangular(Positive):
    """1 / width where |z| < width / 2, else 0 (Wu et al. 2018)."""

    width: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        return (z.abs() < self.width / 2).to(z.dtype) / self.width


@dataclass(frozen=True)
class Erfc(Positive):
    """exp(-z^2 / (2 sigma^2)) / (sqrt(2 pi) sigma), the derivative of a Gaussian error function (Fang et al. 2021)."""

    sigma: float = 0.5

    def __call__(self, z: Tensor) -> Tensor:
        return torch.exp(-z.square() / (2 * self.sigma**2)) / (math.sqrt(2 * math.pi) * self.sigma)


@dataclass(frozen=True)
class StraightThrough:
    """Identity gradient (straight-through estimator, Bengio et al. 2013)."""

    def __call__(self, z: Tensor) -> Tensor:
        return torch.ones_like(z)


HART_WIDTHS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5)
"""Widths to try for `HART`; the best one depends on the network."""


class LayerPass(NamedTuple):
    """The backward pass of one layer; tensors are float32 or wider.

    Attributes:
        current: what entered the layer, [T, B, ...], repeated where it is constant in time.
        threshold: v_t, a scalar.
        leak: a scalar.
        m: [B, ...] in the membrane before the first step, from an earlier window or the neuron's start; None for 0.
        grad: gradient of the spikes, [T, B, ...].
        reset, condition: of the neuron, see `lif_steps`.
        z: normalised membranes [T, B, ...] of neurons whose spikes are known, as in an adapter; None computes them.
    """

    current: Tensor
    threshold: Tensor
    leak: Tensor
    m: Tensor | None
    grad: Tensor
    reset: Reset
    condition: Condition = ">"
    z: Tensor | None = None


class LayerRule(ABC):
    """A rule that computes the gradient of a layer's input current.

    The forward pass is unchanged. Threshold and leak get no gradient, so a layer rule is for attacking a network, not
    for training it. Where the forward pass is compiled, the rule is compiled too.
    """

    @abstractmethod
    def backward(self, layer: LayerPass) -> Tensor:
        """Return the gradient of the current, [T, B, ...]."""

    def fresh(self) -> LayerRule:
        """Return the rule for one layer and one attack: itself, unless it collects statistics."""
        return self


Rule = Surrogate | LayerRule
"""A gradient rule, as `gradient_rule` takes it."""


def layer_backward(rule: LayerRule, *layer: Any) -> Tensor:
    """Return the gradient of the current by a rule; `layer` are the fields of `LayerPass`, so that it compiles."""
    return rule.backward(LayerPass(*layer))


def membranes(layer: LayerPass) -> Tensor:
    """Return the normalised membranes z = u / v_t - 1 at every step (Eq. 1, 2), [T, B, ...]."""
    if layer.z is not None:
        return layer.z
    scan = Scan(len(layer.current), True, layer.reset, condition=layer.condition)
    return torch.stack([z for _, z, _, _ in lif_steps(layer.current, layer.m, layer.threshold, layer.leak, scan)])


@dataclass(frozen=True, kw_only=True)
class ThroughTime(LayerRule):
    """Backpropagation through time with d spike / d z = `slope`.

    Args:
        through_reset: pass on the gradient of the spike inside the reset; Eq. 5 detaches it.
        cut_time: drop the gradient from one step to the one before.
    """

    through_reset: bool = False
    cut_time: bool = False

    @abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """Return d spike / d z for the membranes z [T, B, ...]."""

    def slope_at(self, z: Sequence[Tensor], t: int) -> Tensor:
        """Return d spike / d z at step t alone, [B, ...], from the membranes of the steps 0 to t at least."""
        return self.slope(torch.stack([*z[: t + 1]]))[t]

    def backward(self, layer: LayerPass) -> Tensor:
        z = membranes(layer)
        slope = self.slope(z)
        direct = layer.grad * slope / layer.threshold
        if self.cut_time:
            return direct
        kept = layer.leak.expand(slope.shape)
        if layer.reset == "zero":
            kept = kept * ~fires(z, layer.condition)
        if self.through_reset:  # d(threshold * spike) / du = slope, and d spike / du * u = slope * (z + 1)
            within = layer.leak * (z + 1) if layer.reset == "zero" else layer.leak
            kept = kept - slope * (1 if layer.reset == "subtract-unleaked" else within)
        steps = [direct[-1]]
        for t in reversed(range(len(slope) - 1)):
            steps.append(direct[t] + kept[t] * steps[-1])
        return torch.stack(steps[::-1])


@dataclass(frozen=True)
class Unrolled(ThroughTime):
    """An elementwise rule (default: linear) through time; without the flags reset and cut it equals that rule.

    Args:
        surrogate: z -> d spike / d z.
        through_reset, cut_time: see `ThroughTime`.
    """

    surrogate: Surrogate = Linear()

    def slope(self, z: Tensor) -> Tensor:
        return self.surrogate(z)


@dataclass(frozen=True)
class HART(Positive, LayerRule):
    """Rate and time (Hao et al., ICLR 2024): averages the layer's gradient over time; no gradient between timesteps.

    grad I[t] = mean over steps of grad s * max(0, 1 - |z| / width) / (width v_t), the same at every t.

    Args:
        width: of the triangular rule, in units of z; above 0 and finite. Choose it per model, see `HART_WIDTHS`.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()  # with an infinite width the slope is 0, and a failed attack would look like robustness
        _require(self, "width", not math.isinf(self.width), "be finite, or the gradient would be 0")

    def backward(self, layer: LayerPass) -> Tensor:
        slope = triangular(self.width)(membranes(layer))
        return (layer.grad * slope / layer.threshold).mean(0).expand(layer.current.shape)


@dataclass(frozen=True)
class BPTR(LayerRule):
    """Backward pass through rate (Ding et al., SNN-RAT, 2022): grad / v_t where a neuron ever spiked, else 0."""

    def backward(self, layer: LayerPass) -> Tensor:
        return layer.grad * fires(membranes(layer), layer.condition).any(0) / layer.threshold


@dataclass(frozen=True)
class RGA(LayerRule):
    """Rate gradient approximation (Bu et al., CVPR 2023): the slope of a LIF's rate over its mean current.

    With x = mean over steps of I / v_t and the leak tau, the slope is g where 0 <= x <= 1 - tau, an input for which a
    leaky neuron never spikes, and (1 - g + g tau) / (tau + 1) where 1 - tau <= x <= 2.

    Args:
        g: slope below the rheobase, in (0, 1].
    """

    g: float = 0.2

    def __post_init__(self) -> None:
        _require(self, "g", 0 < self.g <= 1, "lie in (0, 1]")

    def backward(self, layer: LayerPass) -> Tensor:
        x, leak = _mean_current(layer), layer.leak
        above = ((x >= 1 - leak) & (x <= 2)) * ((1 - self.g + self.g * leak) / (leak + 1))
        below = ((x >= 0) & (x < 1 - leak)) * self.g
        return layer.grad * (above + below) / layer.threshold


@dataclass(frozen=True)
class Conversion(Positive, LayerRule):
    """The backward pass of the ANN that the SNN was converted from (Sharmin et al. 2020; CBA in SNN-RAT).

    The layer counts as a clipped ReLU of its mean input: grad / v_t where 0 < mean I / v_t < ceiling, else 0.

    Args:
        ceiling: spikes per step at which the ReLU is clipped; above 0. A neuron emits at most 1; inf never clips.
    """

    ceiling: float = 1.0

    def backward(self, layer: LayerPass) -> Tensor:
        x = _mean_current(layer)
        return layer.grad * ((x > 0) & (x < self.ceiling)) / layer.threshold


def _mean_current(layer: LayerPass) -> Tensor:
    """Mean current per step in units of the threshold, including what an earlier window left: [B, ...]."""
    charge = layer.current.sum(0)
    return (charge if layer.m is None else charge + layer.m) / len(layer.current) / layer.threshold


@dataclass(frozen=True, eq=False)
class ASSG(ThroughTime):
    """Adaptive sharpness (Wang et al., CVPR 2026): an arctan whose sharpness adapts to each membrane.

    For each neuron, sample and step, with every backward pass of an attack:
    M = decay M + (1 - decay) |z|; D = decay D + (1 - decay) ||z| - M|, from 0;
    alpha = a / (M + relax D + 1e-4), a = 2 tan(pi vanishing / 2) / pi;
    d spike / d z = (alpha / 2) / (1 + (pi alpha z / 2)^2).

    The published M starts at 1, of which decay^k is left after k backward passes. By default M starts from |z| of the
    first pass. Neither start is clearly stronger (docs/attacks.md).

    The statistics belong to one layer and one attack. `gradient_rule` gives every layer a fresh rule each time it is
    entered, and they restart when the shape of the batch changes. So enter it once per attack, with an attack that
    keeps its batch together (SA-PGD, APGD).

    Args:
        vanishing: expected share of the gradient that vanishes, in (0, 1).
        relax: weight of the deviation D, at least 0.
        decay: memory of both averages, in [0, 1).
        start: what M starts from, at least 0: 1 as published, 0 for |z| of the first pass.
        through_reset, cut_time: see `ThroughTime`.
    """

    vanishing: float = 0.85
    relax: float = 1.5
    decay: float = 0.9
    start: float = 0.0
    statistics: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        _require(self, "vanishing", 0 < self.vanishing < 1, "lie in (0, 1)")
        _require(self, "decay", 0 <= self.decay < 1, "lie in [0, 1)")
        _require(self, "relax", self.relax >= 0, "not be negative")
        _require(self, "start", self.start >= 0, "not be negative")

    def fresh(self) -> ASSG:
        return replace(self)

    def sharpness(self, z: Tensor, step: str = "") -> Tensor:
        """Add the membranes of one more backward pass to the statistics; return alpha, of the shape of z.

        z is [T, B, ...], or [B, ...] of one `step`, which has statistics of its own.
        """
        size, averages, level, spread = z.abs(), self.statistics, f"level{step}", f"spread{step}"
        if level not in averages or averages[level].shape != z.shape:
            averages[level] = torch.full_like(z, self.start) if self.start else size
            averages[spread] = torch.zeros_like(z)
        averages[level] = torch.lerp(size, averages[level], self.decay)
        averages[spread] = torch.lerp((size - averages[level]).abs(), averages[spread], self.decay)
        width = averages[level] + self.relax * averages[spread] + 1e-4
        return 2 * math.tan(math.pi / 2 * self.vanishing) / math.pi / width

    def slope(self, z: Tensor) -> Tensor:
        return self._arctan(z, self.sharpness(z))

    def slope_at(self, z: Sequence[Tensor], t: int) -> Tensor:
        return self._arctan(z[t], self.sharpness(z[t], f" {t}"))

    @staticmethod
    def _arctan(z: Tensor, alpha: Tensor) -> Tensor:
        return (alpha / 2) / (1 + (math.pi / 2 * alpha * z).square())


@dataclass(frozen=True)
class PDSG(ThroughTime):
    """Potential-dependent (Lun et al., CVPR 2025): a Gaussian whose width is the channel's standard deviation of z.

    d spike / d z = exp(-(z - shift sigma)^2 / (2 sigma^2)) / (sqrt(2 pi) sigma), with sigma the standard deviation of z
    over the batch, the places and the steps so far: per channel of a feature map, per neuron of a linear layer, and 1
    where nothing varies. So the gradient of a sample depends slightly on the batch that it is in.

    Args:
        shift: centre of the Gaussian in units of sigma.
        through_reset, cut_time: see `ThroughTime`.
    """

    shift: float = 0.5

    def slope(self, z: Tensor) -> Tensor:
        return self._gaussian(z, torch.stack([_spread(z[: t + 1]) for t in range(len(z))]))

    def slope_at(self, z: Sequence[Tensor], t: int) -> Tensor:
        return self._gaussian(z[t], _spread(torch.stack([*z[: t + 1]])))

    def _gaussian(self, z: Tensor, sigma: Tensor) -> Tensor:
        return torch.exp(-(z / sigma - self.shift).square() / 2) / (math.sqrt(2 * math.pi) * sigma)


def _spread(z: Tensor) -> Tensor:
    """Return the standard deviation of z [time, batch, channel, ...] per channel, to broadcast over [batch, ...]."""
    averaged = [d for d in range(z.dim()) if d != 2]
    sigma = z.std(averaged, correction=min(1, math.prod(z.shape[d] for d in averaged) - 1), keepdim=True)[0]
    rounding = 8 * torch.finfo(z.dtype).eps * (1 + z.abs().amax(averaged, keepdim=True)[0])  # z is a potential less 1
    return torch.where(sigma > rounding, sigma, 1.0)  # equal values may deviate by rounding


FLAGS = {"reset": "through_reset", "cut": "cut_time"}
"""Option in a rule's text -> the parameter of `Unrolled`, ASSG and PDSG that it sets."""


@dataclass(frozen=True)
class RuleInfo:
    """A named rule; `make` is the class or function that builds it, and its signature says the options."""

    make: Callable[..., Rule]

    @property
    def summary(self) -> str:
        """One line for a table: the first of the rule's docstring."""
        return (inspect.getdoc(self.make) or "").partition("\n")[0]

    @property
    def has_flags(self) -> bool:
        """Whether the rule itself takes the flags of `FLAGS`."""
        return set(FLAGS.values()) <= set(inspect.signature(self.make).parameters)

    @property
    def options(self) -> dict[str, float]:
        """Option -> published default; only a layer rule without a temporal chain has no flags."""
        parameters = inspect.signature(self.make).parameters.items()
        numbers = {name: float(one.default) for name, one in parameters if type(one.default) in (int, float)}
        is_layer_rule = isinstance(self.make, type) and issubclass(self.make, LayerRule)
        return numbers if is_layer_rule and not self.has_flags else numbers | dict.fromkeys(FLAGS, False)

    @property
    def usage(self) -> str:
        """The options with their defaults, as in a call: `alpha=2, reset=False, cut=False`."""
        return ", ".join(f"{option}={format_value(default)}" for option, default in self.options.items())


RULES: dict[str, RuleInfo] = {
    "linear": RuleInfo(Linear),
    "triangular": RuleInfo(triangular),
    "arctan": RuleInfo(Arctan),
    "sigmoid": RuleInfo(Sigmoid),
    "exponential": RuleInfo(Exponential),
    "rectangular": RuleInfo(Rectangular),
    "erfc": RuleInfo(Erfc),
    "straight-through": RuleInfo(StraightThrough),
    "unrolled": RuleInfo(Unrolled),
    "bptr": RuleInfo(BPTR),
    "rga": RuleInfo(RGA),
    "conversion": RuleInfo(Conversion),
    "hart": RuleInfo(HART),
    "assg": RuleInfo(ASSG),
    "pdsg": RuleInfo(PDSG),
}
"""Rule name -> its description."""


def rule_from_text(text: str) -> Rule:
    """Build the rule that a text describes.

    Args:
        text: a name of `RULES`, with options in parentheses. `reset=True` lets the gradient of the spike pass through
            the reset; `cut=True` drops the gradient from one timestep to the one before. An elementwise rule with one
            of them becomes `Unrolled`. A number is a decimal, a fraction or inf.

    Raises:
        UsageError: an unknown rule or option, or a value that does not parse or that the rule refuses.

    >>> rule_from_text("linear(width=1/2)")
    Linear(gamma=0.3, width=0.5)
    >>> rule_from_text("arctan(alpha=4, reset=True)")
    Unrolled(through_reset=True, cut_time=False, surrogate=Arctan(alpha=4.0))
    """
    return _build(_read(text))


def canonical_rule(text: str) -> str:
    """Return the one text of a rule that results store, in the syntax of version 0.2.

    Raises:
        UsageError: as `rule_from_text`.

    >>> canonical_rule("linear(cut=True, width=1/2, gamma=3e-1)")
    'linear/gamma=0.3/width=0.5/cut'
    """
    call = _read(text)
    _build(call)  # refuses values that the rule does not take
    given = {key: call.options[key] for key in RULES[call.name].options if key in call.options}
    numbers = [f"{key}={format_number(value)}" for key, value in given.items() if key not in FLAGS]
    return "/".join([call.name, *numbers, *(flag for flag in FLAGS if given.get(flag))])


def _read(text: str) -> Call:
    """Read a rule's text, with its options as the types of their defaults."""
    call = read_call(text, "rule")
    if call.name not in RULES:
        make = plugin("rules", call.name)
        if make is None:
            raise UsageError(
                f"rule {quoted(call.name)} is not known; {closest(call.name, (*RULES, *offered('rules')))}."
            )
        RULES[call.name] = RuleInfo(make)
    defaults, where = RULES[call.name].options, f"rule {quoted(text)}"
    call.require(defaults, where)
    return Call(call.name, {key: typed(value, defaults[key], f"{where}: {key}") for key, value in call.options.items()})


def _build(call: Call) -> Rule:
    info = RULES[call.name]
    flags = {FLAGS[key]: value for key, value in call.options.items() if key in FLAGS}
    options: dict[str, Any] = {key: value for key, value in call.options.items() if key not in FLAGS}
    try:
        rule = info.make(**options, **flags) if info.has_flags else info.make(**options)
    except UsageError as error:
        raise UsageError(f"rule {quoted(str(call))}: {error}") from None
    if isinstance(rule, LayerRule):
        return rule
    if not torch.isfinite(rule(torch.tensor([-1.0, 0.0, 1.0]))).all():  # it would fill an attack with NaN
        raise UsageError(f"rule {quoted(str(call))}: its values are not finite; choose smaller options.")
    return Unrolled(rule, **flags) if any(flags.values()) else rule


class Ruled(nn.Module):
    """A layer of neurons whose backward pass follows a rule, its own or that of `gradient_rule`."""

    @property
    def surrogate(self) -> Rule:
        """The rule of the backward pass: that of `gradient_rule` inside its context, else the layer's own."""
        rule = _SWAPPED.get().get(self) or self.__dict__.get("surrogate")
        return cast("Rule", self._modules["surrogate"] if rule is None else rule)  # it may be a module

    @surrogate.setter
    def surrogate(self, rule: Rule) -> None:
        swapped = _SWAPPED.get()
        if self in swapped:  # until the context ends
            swapped[self] = rule
        else:
            self.__dict__["surrogate"] = rule


_SWAPPED: ContextVar[dict[nn.Module, Rule]] = ContextVar("swapped rules", default={})  # noqa: B039
"""Layer -> the rule that `gradient_rule` gives it in this context, so that other threads keep theirs."""


@contextmanager
def gradient_rule(model: nn.Module, rule: Rule | str) -> Iterator[None]:
    """Use `rule` in every neuron of `model` inside the context; afterwards each neuron has its own rule again.

    Only the backward pass changes: logits stay the same, and so do other networks, and other threads, which need a
    context of their own. A rule that collects statistics (ASSG) starts afresh, in every layer, each time the context is
    entered. A module with a method `gradient_rule(rule)`, which may be `model` itself, swaps the rule of everything
    inside it; the adapters of other libraries do so for all threads.

    Args:
        model: a network with spiking neurons.
        rule: a rule, a function z -> d spike / d z, or the text of a rule such as "arctan(alpha=4)" (see
            `hiresnn.neurons.RULES`).

    Raises:
        UsageError: `rule` is unknown or no rule, or `model` has no spiking neuron, so that nothing would change.

    Example:
        >>> with gradient_rule(network, "arctan"):  # doctest: +SKIP
        ...     adversarial = pgd(network, images, labels)
    """
    rule = rule_from_text(rule) if isinstance(rule, str) else rule
    if isinstance(rule, type) or not (isinstance(rule, LayerRule) or callable(rule)):
        raise UsageError(
            f'gradient_rule: {rule!r} is no rule; give a name such as "arctan", a rule such as Arctan(), or a '
            "function z -> d spike / d z."
        )
    neurons = [module for module in model.modules() if isinstance(module, Ruled)]
    takers = list(dict.fromkeys(_rule_takers(model)))
    if not neurons and not takers:
        raise UsageError(f"{type(model).__name__} has no LIF neuron: a gradient rule would change nothing.")
    swapped = {neuron: rule.fresh() if isinstance(rule, LayerRule) else rule for neuron in neurons}
    with ExitStack() as stack:
        for taker in takers:
            stack.enter_context(taker.gradient_rule(rule))
        token = _SWAPPED.set(_SWAPPED.get() | swapped)
        try:
            yield
        finally:
            _SWAPPED.reset(token)


def keep_rows(model: object, kept: Tensor) -> bool:
    """Continue with some rows of a batch, a mask [B], under rules that keep statistics for each row (ASSG).

    Returns:
        False if the batch must stay together, because the statistics cannot follow: an adapter holds them, or they are
        of other rows than those of the batch, such as several draws of one image.
    """
    if not isinstance(model, nn.Module):
        return True
    rules = [module.surrogate for module in model.modules() if isinstance(module, Ruled)]
    statistics = [rule.statistics for rule in rules if isinstance(rule, ASSG)]
    together = next(_rule_takers(model), None) is not None
    if together or any(values.shape[1] != len(kept) for averages in statistics for values in averages.values()):
        return False
    for averages in statistics:
        averages.update({name: values[:, kept] for name, values in averages.items()})
    return True


def takes_rule(model: nn.Module, rule: Rule) -> bool:
    """Tell whether `gradient_rule` could use `rule` in `model`."""
    try:
        with gradient_rule(model, rule):
            return True
    except UsageError:
        return False


def _rule_takers(model: nn.Module) -> Iterator[Any]:
    """Yield every outermost module that swaps rules itself, as the adapters of other libraries do."""
    if hasattr(model, "gradient_rule"):
        yield model
        return
    for child in model.children():
        yield from _rule_takers(child)
