"""The equation of a neuron layer of another library, measured: currents in, spikes out.

A library has its own names, units and order of leak, input, spike and reset, and versions differ. So nothing is read
from attributes. Currents are searched at which the neuron just spikes, which gives threshold and leaks to ten digits,
and the equation that follows must then give every spike that the neuron emits on random currents.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.neurons.lif import Reset
from hiresnn.neurons.rules import LayerRule, ThroughTime, layer_backward

Run = Callable[[nn.Module, Tensor], Tensor]
"""(a neuron layer at rest, currents [T, N, 1]) -> its output [T, N, 1]."""
LARGEST, ROUNDS, GRID = 1e4, 6, 2048  # currents are searched up to LARGEST, to a step of LARGEST / GRID^ROUNDS
TRIALS, TIE = 512, 1e-5  # random neurons; a membrane so close to the threshold may spike or not, by rounding
LOOSE = 1e-3  # the same in a network in float32, and the share of spikes that may be contradicted there
SMALL = 16  # elements up to which a tensor of a neuron counts as one of its settings, and not as its state


class UnmeasuredError(Exception):
    """A neuron does not follow an `Equation`; the text says why."""


@dataclass(frozen=True)
class Equation:
    """A leaky integrate-and-fire neuron, in units of its input I, at rest before the first step.

        J = I + synapse * J of the step before,   u = m + J,   spike = 1 if u > threshold else 0,
        next m = leak * (u - threshold * spike) for reset "subtract"; see `lif_steps` for the others, "none": leak * u

    A library that multiplies its input by a constant has another threshold here.
    """

    threshold: float
    leak: float = 1.0
    synapse: float = 0.0
    reset: Reset | Literal["none"] = "subtract"

    def arriving(self, current: Tensor) -> Tensor:
        """Return J [T, ...], what the membranes get, of the input I."""
        if not self.synapse:
            return current
        steps = [current[0]]
        for now in current[1:]:
            steps.append(now + self.synapse * steps[-1])
        return torch.stack(steps)

    def membranes(self, arriving: Tensor, spikes: Tensor) -> Tensor:
        """Return z = u / threshold - 1, [T, ...], with the resets that `spikes` [T, ...] made."""
        m, z = torch.zeros_like(arriving[0]), []
        for now, spike in zip(arriving, spikes, strict=True):
            u = m + now
            z.append(u / self.threshold - 1)
            if self.reset == "subtract":
                m = self.leak * (u - self.threshold * spike)
            elif self.reset == "subtract-unleaked":
                m = self.leak * u - self.threshold * spike
            else:
                m = self.leak * u * (1 - spike if self.reset == "zero" else 1)
        return torch.stack(z)

    def contradicted(self, z: Tensor, spikes: Tensor, tie: float = TIE) -> Tensor:
        """Return where the membranes, farther than `tie` from the threshold, say another spike than the neuron's."""
        return ((z > 0) != (spikes > 0)) & (z.abs() > tie)

    def backward(self, rule: LayerRule, current: Tensor, spikes: Tensor, grad: Tensor) -> Tensor:
        """Return the gradient of the input by a rule, [T, B, ...], from that of the spikes."""
        wide = torch.promote_types(current.dtype, torch.float32)
        arriving, grad = self.arriving(current.to(wide)), grad.to(wide)
        z = self.membranes(arriving, spikes.to(wide))
        if bool(self.contradicted(z, spikes, LOOSE).float().mean() > LOOSE):
            raise UsageError(f"a neuron's spikes do not follow its measured equation, {self}; use an elementwise rule.")
        tie = torch.finfo(z.dtype).tiny
        z = torch.where(spikes > 0, z.clamp(min=tie), z.clamp(max=0))
        threshold, leak = (torch.as_tensor(value).to(z) for value in (self.threshold, self.leak))
        reset = "subtract" if self.reset == "none" else self.reset  # the same where the reset passes no gradient
        steps = layer_backward(rule, arriving, threshold, leak, None, grad, reset, ">", z)
        if self.synapse:
            rows = [steps[-1]]
            for step in reversed(steps[:-1]):
                rows.append(step + self.synapse * rows[-1])
            steps = torch.stack(rows[::-1])
        return steps

    def takes(self, rule: LayerRule) -> bool:
        """Tell whether `backward` is exact for this rule."""
        return self.reset != "none" or not (isinstance(rule, ThroughTime) and rule.through_reset)


def measure(run: Callable[[Tensor], Tensor], timesteps: int) -> Equation:
    """Return the equation that `run`, currents [T, N, 1] in float64 -> spikes [T, N, 1], follows for T steps.

    With a current a at the first step, no spike yet, and nothing else, the membrane is a, then (leak + synapse) a, then
    (leak^2 + leak synapse + synapse^2) a. What is missing to a spike is searched, and only the reset tells leak and
    synapse apart.

    Raises:
        UnmeasuredError: it follows none.
    """
    threshold = _just_spikes(run, timesteps, 0, 0.0, LARGEST)
    first = threshold / 4
    second = third = 0.0
    if timesteps > 1:
        second = (threshold - _just_spikes(run, timesteps, 1, first, 2 * threshold)) / first
    if timesteps > 2:
        third = (threshold - _just_spikes(run, timesteps, 2, first, 2 * threshold)) / first
    product = second**2 - third if timesteps > 2 else 0.0
    root = max(second**2 - 4 * product, 0.0) ** 0.5
    larger = (second + root) / 2
    smaller = product / larger if abs(larger) > TIE else 0.0
    if abs(smaller) < TIE / 10:  # rounding
        larger, smaller = second, 0.0
    leaks = {(larger, smaller): None, (smaller, larger): None}
    drawn = torch.rand(timesteps, TRIALS, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    currents = threshold * (3 * drawn - 1)
    spikes = run(currents)
    if not bool(((spikes == 0) | (spikes == 1)).all()):
        raise UnmeasuredError("it emits other values than 0 and 1")
    resets: tuple[Reset | Literal["none"], ...] = ("subtract", "zero", "subtract-unleaked", "none")
    for leak, synapse in leaks:
        for reset in resets:
            equation = Equation(threshold, leak, synapse, reset)
            z = equation.membranes(equation.arriving(currents), spikes)
            if not bool(equation.contradicted(z, spikes).any()):
                return equation
    raise UnmeasuredError("its spikes are not those of a leaky integrate-and-fire neuron at rest")


def _just_spikes(run: Callable[[Tensor], Tensor], timesteps: int, at: int, first: float, high: float) -> float:
    """Return the smallest current at step `at` for which a neuron spikes there, after the current `first` at step 0."""
    low = 0.0
    for _ in range(ROUNDS):
        grid = torch.linspace(low, high, GRID + 1, dtype=torch.float64)
        currents = torch.zeros(timesteps, GRID + 1, 1, dtype=torch.float64)
        currents[0] = first
        currents[at, :, 0] = grid
        spikes = run(currents)[: at + 1, :, 0]
        fired = spikes[at] > 0
        if bool(fired[0]) or not bool(fired[-1]) or bool((spikes[:at] != 0).any()):
            raise UnmeasuredError("no current is the smallest at which it spikes")
        place = int(fired.int().argmax())
        low, high = float(grid[place - 1]), float(grid[place])
        if high - low <= 1e-15 * high:
            break
    return high


_MEASURED: WeakKeyDictionary[nn.Module, tuple[str, Equation | str]] = WeakKeyDictionary()


def equation_of(
    neuron: nn.Module, runs: Sequence[Run], reset: Callable[[nn.Module], Any], timesteps: int
) -> Equation | str:
    """Return the equation of a neuron layer, or why it has none. A copy in float64 on the CPU is measured.

    Of several ways to run it, the first counts that gives an equation. It is measured again once an attribute,
    parameter or buffer of the neuron has another value.
    """
    settings = f"{timesteps} {_settings(neuron)}"
    stored = _MEASURED.get(neuron)
    if stored is None or stored[0] != settings:
        first = _measured(neuron, runs[0], reset, timesteps) if runs else "it cannot be run alone"
        results: list[Equation | str] = [first]
        for run in runs[1:]:
            if isinstance(results[-1], str):
                results.append(_measured(neuron, run, reset, timesteps))
        reasons = [result for result in results if isinstance(result, str)]
        # A layer that cannot be run in one way says nothing about the neuron, unlike one that can.
        reasons.sort(key=lambda reason: reason.startswith("it cannot"))
        _MEASURED[neuron] = stored = (settings, reasons[0] if len(reasons) == len(results) else results[-1])
    return stored[1]


def _measured(neuron: nn.Module, run: Run, reset: Callable[[nn.Module], Any], timesteps: int) -> Equation | str:
    def outputs(currents: Tensor) -> Tensor:
        reset(twin)
        spikes = run(twin, currents.clone())
        if spikes.shape != currents.shape:
            raise UnmeasuredError(f"for inputs [steps, neurons] it returns the shape {list(spikes.shape)}")
        return spikes.double()

    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            twin = copy.deepcopy(neuron).cpu().double().eval()
            return measure(outputs, timesteps)
    except UnmeasuredError as reason:
        return str(reason)
    except Exception as error:  # whatever the code of a library raises for inputs that it does not expect
        return f"it cannot be run alone: {type(error).__name__}"


def _settings(module: nn.Module) -> str:
    """Everything that decides what a neuron computes, as text; its state is left out, as it changes at every call."""
    parts = []
    for name, child in module.named_modules():
        values = {**vars(child), **child._parameters, **child._buffers}
        for key, value in values.items():
            if key.startswith("_") or key == "training":
                continue
            if isinstance(value, Tensor):
                value = value.tolist() if 0 < value.numel() <= SMALL and not value.grad_fn else list(value.shape[1:])
            parts.append(f"{name}.{key}={value!r}")
    return " ".join(parts)
