"""Check that a converted network computes every timestep by itself.

Stateless layers get all timesteps of a batch as one larger batch. That is right only if they compute each row of it by
itself; a layer that moves the batch out of the first dimension, or averages over it, would mix timesteps.

Thresholds of a converted network from its activations, layer by layer (as DIET-SNN does).
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError, in_a_line
from hiresnn.network.batch_norm import ChannelAffine
from hiresnn.network.layers import Encoder, SharedDropout, evaluating
from hiresnn.network.report import WEIGHTED, name_of
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, MIN_THRESHOLD, Window

_TIMESTEPS, _IMAGES = 3, 2


@torch.no_grad()
def check_steps(network: SpikingNetwork, images: Tensor) -> None:
    """Compare all timesteps in one batch with one timestep after another, on random values.

    Args:
        network: in eval mode.
        images: [B, C, H, W], for their shape and type.

    Raises:
        UsageError: the two differ; names the layer that gets mixed rows, and the node that mixes them.
    """
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(0)  # torch.manual_seed would seed every GPU, too
        rows = torch.rand(_IMAGES, *images.shape[1:], dtype=images.dtype).to(images.device)
        _StepCheck(network.layers).run(rows, Window(_TIMESTEPS, _IMAGES))


class _StepCheck(fx.Interpreter):
    """Computes every node twice: for all timesteps at once, as the network does, and for each timestep by itself.

    Attributes:
        steps: node whose value has time -> its value at each timestep.
        mixing: node whose two values differ -> the node at which they began to.
    """

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__(layers, garbage_collect_values=False)
        self.extra_traceback = False  # it would be appended to the sentence of a UsageError
        self.steps: dict[fx.Node, list[Any]] = {}
        self.mixing: dict[fx.Node, fx.Node] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node in both ways, and compare."""
        layer = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        spikes = isinstance(layer, LIF)
        if spikes or n.op == "output" or isinstance(layer, SharedDropout):
            self._refuse_mixing(n)
        try:
            drawn = torch.get_rng_state()
            poisson = isinstance(layer, Encoder) and layer.encoding == "poisson"
            if poisson:  # without a draw from the encoder's generator
                rows, window = self.fetch_args_kwargs_from_env(n)[0]
                value = window.with_time(rows)
            else:
                value = super().run_node(n)
            if spikes or poisson or n.target == "with_time":
                value = torch.rand_like(value) if spikes or poisson else value  # differs from step to step
                self.steps[n] = [step.clone() for step in value.chunk(_TIMESTEPS)]
            elif isinstance(layer, SharedDropout):  # the identity here
                if n.all_input_nodes[0] in self.steps:
                    self.steps[n] = self.steps[n.all_input_nodes[0]]
            elif n.op != "output" and not self.steps.keys().isdisjoint(n.all_input_nodes):
                self._compare(n, value, random=not torch.equal(drawn, torch.get_rng_state()))
        except (IndexError, RuntimeError, ValueError) as error:
            reason = in_a_line(error)
            raise UsageError(
                f"{name_of(n)!r} fails on {_IMAGES} images over {_TIMESTEPS} timesteps ({reason}); a network must "
                "accept batches of any size."
            ) from error
        return value

    def _compare(self, node: fx.Node, value: Any, *, random: bool) -> None:
        def at(t: int) -> Any:
            arguments, options = fx.node.map_arg(
                (node.args, node.kwargs),
                lambda source: self.steps[source][t] if source in self.steps else self.env[source],
            )
            return getattr(self, node.op)(node.target, arguments, options)

        if random and isinstance(value, Tensor):  # a dropout that drops in eval mode too
            self.steps[node] = [step.clone() for step in value.chunk(_TIMESTEPS)]
            return
        self.steps[node] = steps = [at(t) for t in range(_TIMESTEPS)]
        if not isinstance(value, Tensor):
            return
        expected = torch.cat(steps) if steps[0].dim() else value
        scale = float(expected.abs().max()) if expected.numel() and expected.is_floating_point() else 0.0
        if value.shape != expected.shape or not torch.allclose(value, expected, rtol=1e-3, atol=1e-4 * scale):
            self.mixing[node] = next((self.mixing[i] for i in node.all_input_nodes if i in self.mixing), node)

    def _refuse_mixing(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            if source in self.mixing:
                raise UsageError(
                    f"{name_of(self.mixing[source])!r} mixes the rows of a batch, so {name_of(node)!r} would mix "
                    "timesteps; keep the batch in the first dimension from one neuron to the next."
                )


_WEIGHTED = (
    *WEIGHTED,
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    ChannelAffine,
)
_JOINS = (operator.add, operator.iadd, torch.add, "add", "add_", torch.cat, torch.concat, torch.concatenate)
THRESHOLD_SCALE = 0.4
"""Default of `threshold_scale`: DIET-SNN uses 0.2 to 0.4; docs/decisions.md has the measurements."""


class SilentLayerError(UsageError):
    """A layer of neurons gets so little input that it would never spike."""


class NotRescalableError(UsageError):
    """The structure of a network does not allow `rescale`."""


@torch.no_grad()
def calibrate(
    network: SpikingNetwork,
    images: Float[Tensor, "batch channel height width"],
    *,
    percentile: float = 99.7,
    threshold_scale: float = THRESHOLD_SCALE,
    rescale: bool = False,
) -> None:
    """Set every threshold from one batch, first layer to last, the earlier layers already spiking.

    Args:
        network: changed in place; its mode stays as it is.
        images: in [0, 1], such as 512 training images.
        percentile: of the input of a layer of neurons at a timestep, over batch and neurons, in (0, 100]; the largest
            over the timesteps, times `threshold_scale`, becomes the threshold.
        threshold_scale: above 0. A threshold that the ANN has learned (`QCFS`) is multiplied by it alone.
        rescale: multiply the weights behind each layer of neurons by its threshold. A spike then stands for as much
            activation as the threshold, so biases (of folded batch norms, too) and sums keep their proportion and the
            logits are T times those of the ANN. Without it spikes count 1, as in the paper, whose ANN has no biases.

    Raises:
        UsageError: an option or a pixel is out of range, there are no images, a layer would never spike, the network
            mixes the images of a batch, or it cannot be rescaled.
    """
    if not 0 < percentile <= 100:
        raise UsageError(f"percentile is {percentile}; it must lie in (0, 100].")
    if not threshold_scale > 0:
        raise UsageError(f"threshold_scale is {threshold_scale}; it must be above 0.")
    if rescale and any(neuron.amplitude is not None for neuron in network.neurons.values()):
        raise UsageError("the weights of this network are rescaled already; convert the ANN again.")
    _check_images(images)
    with evaluating(network):
        check_steps(network, images)
        calibrator = _Calibrator(network, percentile, threshold_scale, rescale)
        calibrator.run(images.clone(), Window(network.timesteps, images.shape[0]))


def _check_images(images: Tensor) -> None:
    if not len(images):
        raise UsageError("no images to calibrate with; give a batch of training images, such as 512 of them.")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1 and images.is_floating_point()):
        hint = "did you mean images / 255?" if low >= 0 else "normalise inside the network, with models.Normalise."
        raise UsageError(
            f"calibration images are {images.dtype} from {low:.3g} to {high:.3g}, but images are floats in [0, 1]; "
            f"{hint}"
        )


class _Calibrator(fx.Interpreter):
    """Sets the threshold of each layer just before the layer runs."""

    def __init__(self, network: SpikingNetwork, percentile: float, threshold_scale: float, rescale: bool) -> None:
        super().__init__(network.layers)
        self.extra_traceback = False  # it would be appended to the sentence of a UsageError
        self.percentile, self.threshold_scale, self.rescale = percentile, threshold_scale, rescale
        self.amplitudes: dict[fx.Node, float] = {}  # what 1 stands for in the value of a node, in units of the ANN
        self.rescaled: set[int] = set()  # addresses of weights
        self.amplitude = 1.0  # of what enters the current node
        self.done: set[fx.Node] = set()

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node; with `rescale`, after its weights have taken up the amplitude of its input."""
        if not self.rescale:
            return super().run_node(n)
        self._divide_branches(n)
        amplitude = self._amplitude_of_inputs(n)
        self.done.add(n)
        layer = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        if isinstance(layer, _WEIGHTED):
            value, amplitude = self._run_weighted(n, layer.weight, amplitude), 1.0
        else:
            value = self._run_other(n, layer, amplitude)
        if isinstance(layer, LIF):
            layer.amplitude = amplitude = amplitude * layer.threshold.item()
        if isinstance(value, Tensor) and n.op != "get_attr":
            self.amplitudes[n] = amplitude
        return value

    def _run_weighted(self, node: fx.Node, weight: Tensor, amplitude: float) -> Any:
        """Multiply the weights of a layer by the amplitude of its input, which must act as a larger input does."""
        if weight.data_ptr() in self.rescaled:
            raise NotRescalableError(
                f"{node.target!r} shares its weights, so the network cannot be rescaled; convert without rescale."
            )
        self.rescaled.add(weight.data_ptr())
        expected = None if amplitude == 1 else self._with_larger_input(node, amplitude)
        weight.mul_(amplitude)
        self.amplitude = 1.0
        value = super().run_node(node)
        if not _close(value, expected):
            raise NotRescalableError(
                f"the weights of {node.target!r} cannot be multiplied; remove their parametrization "
                "(torch.nn.utils.parametrize.remove_parametrizations), or convert without rescale."
            )
        return value

    def _run_other(self, node: fx.Node, layer: nn.Module | None, amplitude: float) -> Any:
        """Compute a node without weights. It must be linear unless it spikes: twice the input gives twice the value."""
        checked = amplitude != 1 and not isinstance(layer, LIF) and node.op.startswith("call")
        twice = self._with_larger_input(node, 2.0) if checked else None
        self.amplitude = amplitude
        value = super().run_node(node)
        if not _close(value, twice, factor=2.0):
            raise NotRescalableError(
                f"{node.name!r} does not grow in proportion to the spikes that it gets, so the network cannot be "
                "rescaled; put a convolution or linear layer behind each layer of neurons, or convert without rescale "
                "(conversion.rescale = false in a recipe)."
            )
        return value

    def _with_larger_input(self, node: fx.Node, factor: float) -> Any:
        """Compute a node whose inputs, apart from parameters, are `factor` times as large."""

        def larger(source: fx.Node) -> Any:
            value = self.env[source]
            if not isinstance(value, Tensor):
                return value
            return value * factor if source in self.amplitudes else value.clone()

        arguments, options = fx.node.map_arg((node.args, node.kwargs), larger)
        return getattr(super(), node.op)(node.target, arguments, options)

    def _divide_branches(self, node: fx.Node) -> None:
        """Divide the weighted layers that a node joins with spikes by the amplitude of these, so that both have one."""
        sources = [source for source in node.all_input_nodes if source in self.amplitudes]
        modules = {source: self.fetch_attr(str(source.target)) for source in sources if source.op == "call_module"}
        layers = {
            source: layer
            for source, layer in modules.items()
            if isinstance(layer, _WEIGHTED) and self.done.isdisjoint(source.users)
        }
        wanted = {self.amplitudes[source] for source in sources if source not in layers}
        if node.target in _JOINS and len(wanted) == 1:
            for source, layer in layers.items():
                for values in (layer.weight, layer.bias, self.env[source]):
                    if values is not None:
                        values.div_(min(wanted))
                self.amplitudes[source] = min(wanted)

    def _amplitude_of_inputs(self, node: fx.Node) -> float:
        amplitudes = {self.amplitudes[source] for source in node.all_input_nodes if source in self.amplitudes}
        if len(amplitudes) > 1:
            raise NotRescalableError(
                f"{node.name!r} combines spikes of two layers, or spikes with something else, so the network cannot be "
                "rescaled; put a convolution or linear layer behind each layer of neurons, or convert without rescale "
                "(conversion.rescale = false in a recipe)."
            )
        return min(amplitudes, default=1.0)

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer = self.fetch_attr(target)
        if isinstance(layer, LIF):
            self._set_threshold(layer, *args)
        return super().call_module(target, args, kwargs)

    def _set_threshold(self, lif: LIF, current: Tensor, window: Window, timed: bool) -> None:
        if lif.learned:
            self._set_learned(lif)
            return
        steps = (window.by_step(current) if timed else current[None]).flatten(1)
        if lif.wait:
            steps = steps.mean(0, keepdim=True)  # its input arrives at once, so the steps do not matter
        rank = max(1, round(steps.shape[1] * self.percentile / 100))
        highest = max(float(step.kthvalue(rank).values) for step in steps.float())
        top = highest * self.threshold_scale
        if not top > MIN_THRESHOLD:
            raise SilentLayerError(
                f"{lif.name}: the {self.percentile:g}th percentile of its input times threshold_scale is {top:.3g}, "
                + (
                    f"and a threshold is at least {MIN_THRESHOLD:g}; raise threshold_scale."
                    if highest > MIN_THRESHOLD
                    else "so it would never spike; train the ANN first."
                )
            )
        lif.threshold.fill_(top)

    def _set_learned(self, lif: LIF) -> None:
        """Scale the threshold that the ANN has learned, which is in units of the ANN."""
        if not self.rescale:
            raise UsageError(
                f"{lif.name} has a threshold that the ANN learned, in units of its activations; convert with rescale "
                "(conversion.rescale = true in a recipe)."
            )
        lif.threshold.mul_(self.threshold_scale / self.amplitude).clamp_(min=MIN_THRESHOLD)


def _close(value: Any, expected: Any, *, factor: float = 1.0) -> bool:
    """Whether `factor` times a value is the expected one, up to 1 % of the largest number; True of what has none."""
    if not isinstance(expected, Tensor) or not expected.is_floating_point() or not expected.numel():
        return True
    return torch.allclose(factor * value, expected, rtol=0, atol=0.01 * float(expected.abs().max()))
