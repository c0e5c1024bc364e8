"""The backward pass of a network layer by layer, where a rule gets a whole layer of neurons over all timesteps.

In a network that takes a step per call, no point of the forward pass has a layer's input for all steps. So the spikes
of every layer are cut off from its input while the network runs, and the backward pass goes from the logits to the
spikes of the last layers, by the rule to their currents, from there to the spikes of earlier layers, and so on.
Weights get no gradient, and neither does what feeds spikes back to the same layer or an earlier one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError
from hiresnn.foreign.equation import Equation
from hiresnn.foreign.steps import Layout, in_steps, picked, require_steps
from hiresnn.neurons.rules import LayerRule


@dataclass(eq=False)
class LayerRules:
    """A rule for every layer of neurons, with the statistics that it collects there.

    Attributes:
        rule: of which every layer gets a fresh one.
        equations: name of a layer -> its equation.
        timesteps: of the network.
        layout_of: name of a layer -> how it gets its timesteps.
    """

    rule: LayerRule
    equations: Mapping[str, Equation]
    timesteps: int
    layout_of: Callable[[str], Layout]
    fresh: dict[tuple[str, int], LayerRule] = field(default_factory=dict)

    def of(self, name: str, use: int) -> LayerRule:
        """Return the rule of a layer; `use` counts how often a layer is used for all its timesteps."""
        return self.fresh.setdefault((name, use), self.rule.fresh())


@dataclass(eq=False)
class LayerUse:
    """What went into a layer of neurons and came out, for all timesteps: one item per call, with its steps first."""

    name: str
    use: int
    currents: list[Tensor] = field(default_factory=list)  # [steps of the call, B, ...], with their graph
    spikes: list[Tensor] = field(default_factory=list)  # the layer's outputs, each a leaf of the graph
    to_steps: Callable[[Tensor], Tensor] = lambda rows: rows

    @property
    def steps(self) -> int:
        return sum(len(rows) for rows in self.currents)


@contextmanager
def cut(spiking: Mapping[str, nn.Module], rules: LayerRules, batch: int) -> Iterator[list[LayerUse]]:
    """Cut the spikes of every layer off from its currents; collect both in the order in which the layers are used."""
    uses: list[LayerUse] = []
    unfinished: dict[str, LayerUse] = {}
    arrived: dict[str, Tensor] = {}

    def before(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not inputs or not isinstance(inputs[0], Tensor):
            raise UsageError(f"layer {name!r} does not get its current as the first argument; use an elementwise rule.")
        arrived[name] = inputs[0]
        return inputs[0].clone(), *inputs[1:]  # the neuron may write into its input

    def after(name: str, _: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        to_steps = partial(in_steps, name, timesteps=rules.timesteps, batch=batch, layout=rules.layout_of(name))
        use = unfinished.get(name)
        if use is None:
            use = LayerUse(name, sum(other.name == name for other in uses), to_steps=to_steps)
            unfinished[name] = use
            uses.append(use)
        spikes = picked(output, 0).detach().requires_grad_()
        use.currents.append(to_steps(arrived.pop(name)))
        use.spikes.append(spikes)
        if use.steps >= rules.timesteps:
            require_steps(name, use.steps, rules.timesteps)
            del unfinished[name]
        passed_on = spikes.clone()  # the next layer may write into them
        if not isinstance(output, (tuple, list)):
            return passed_on
        rest = [passed_on, *output[1:]]
        return type(output)(*rest) if hasattr(output, "_fields") else type(output)(rest)

    with ExitStack() as stack:
        for name, layer in spiking.items():
            stack.enter_context(layer.register_forward_pre_hook(partial(before, name)))
            stack.enter_context(layer.register_forward_hook(partial(after, name)))
        yield uses
    for name, use in unfinished.items():
        require_steps(name, use.steps, rules.timesteps)


class _ThroughLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        logits_of: Callable[[Tensor], Tensor],
        spiking: Mapping[str, nn.Module],
        rules: LayerRules,
    ) -> Tensor:
        with torch.enable_grad(), cut(spiking, rules, len(images)) as uses:
            pixels = images.detach().requires_grad_()
            logits = logits_of(pixels)
        ctx.pixels, ctx.logits, ctx.uses, ctx.rules = pixels, logits, uses, rules
        return logits.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        leaves = [ctx.pixels, *(spikes for use in ctx.uses for spikes in use.spikes)]
        for leaf in leaves:
            leaf.grad = None
        _send([ctx.logits], [grad], leaves)
        for use in reversed(ctx.uses):
            if all(spikes.grad is None for spikes in use.spikes):
                continue
            grads = [torch.zeros_like(spikes) if spikes.grad is None else spikes.grad for spikes in use.spikes]
            spikes, grad = (torch.cat([use.to_steps(rows.detach()) for rows in part]) for part in (use.spikes, grads))
            current, rule = torch.cat(use.currents).detach(), ctx.rules.of(use.name, use.use)
            to_current = ctx.rules.equations[use.name].backward(rule, current, spikes, grad).to(current.dtype)
            _send(use.currents, to_current.split([len(rows) for rows in use.currents]), leaves)
        pixels = ctx.pixels
        gradient = torch.zeros_like(pixels) if pixels.grad is None else pixels.grad
        for leaf in leaves:
            leaf.grad = None
        return gradient, None, None, None


def _send(outputs: Any, grads: Any, leaves: list[Tensor]) -> None:
    """Add the gradients of `outputs` to those of the leaves; the graph stays, as layers may share a part of it."""
    pairs = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if output.requires_grad]
    if pairs:
        reached, arriving = zip(*pairs, strict=True)
        torch.autograd.backward(reached, arriving, retain_graph=True, inputs=leaves)


def through_layers(
    logits_of: Callable[[Tensor], Tensor], spiking: Mapping[str, nn.Module], rules: LayerRules, images: Tensor
) -> Tensor:
    """Return the logits of images, whose gradient follows the rules of the layers of neurons, by name in `spiking`."""
    return cast("Tensor", _ThroughLayers.apply(images, logits_of, spiking, rules))  # type: ignore[no-untyped-call]
