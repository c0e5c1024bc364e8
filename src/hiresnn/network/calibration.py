"""Thresholds of a converted network from its activations, layer by layer (as DIET-SNN does)."""

import operator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from hiresnn.checks import require_batch
from hiresnn.errors import UsageError
from hiresnn.modes import evaluating
from hiresnn.network.batch_norm import ChannelAffine
from hiresnn.network.report import WEIGHTED
from hiresnn.network.self_check import NotRescalableError, check_graph, check_rescaled
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, MIN_THRESHOLD, Window

_WEIGHTED = (*WEIGHTED, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, ChannelAffine)
_JOINS = (operator.add, operator.iadd, torch.add, "add", "add_", torch.cat, torch.concat, torch.concatenate)
PERCENTILE = 99.7
"""Of the input of a layer of neurons, from which its threshold follows."""
THRESHOLD_SCALE = 0.4
"""Default of `threshold_scale`: DIET-SNN uses 0.2 to 0.4; results/decisions.md has the measurements."""


class SilentLayerError(UsageError):
    """A layer of neurons gets so little input that it would never spike."""


@torch.no_grad()
def calibrate(
    network: SpikingNetwork,
    images: Float[Tensor, "batch ..."],
    *,
    ann: nn.Module | None = None,
    percentile: float = PERCENTILE,
    threshold_scale: float = THRESHOLD_SCALE,
    rescale: bool = False,
) -> None:
    """Set every threshold from one batch, first layer to last, the earlier layers already spiking.

    Args:
        network: changed in place; its mode stays as it is.
        images: in [0, 1], such as 512 training images; or event grids [B, T, P, H, W] for the encoder "frames".
        ann: what `network` was made from, to check that it computes the same; None checks nothing.
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
    require_batch(images, empty=False, name="calibration")
    if ann is not None:
        check_graph(ann, network, images)
    with evaluating(network):
        calibrator = _Calibrator(network, percentile, threshold_scale, rescale)
        calibrator.run(images.clone(), Window(network.timesteps, images.shape[0]))
    if ann is not None and rescale:
        check_rescaled(ann, network, images, calibrator.amplitudes)


def percentile_of(values: Tensor, percent: float) -> float:
    """Return the percentile of float32 values [N], one of them: at least a share of `percent` is not larger."""
    return float(values.kthvalue(max(1, round(len(values) * percent / 100))).values)


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
            if layer.weight.data_ptr() in self.rescaled:
                raise NotRescalableError(f"{n.target!r} shares its weights; convert without rescale.")
            self.rescaled.add(layer.weight.data_ptr())
            layer.weight.mul_(amplitude)
            amplitude = 1.0
        self.amplitude = amplitude
        value = super().run_node(n)
        if isinstance(layer, LIF):
            layer.amplitude = amplitude = amplitude * layer.threshold.item()
        parts = value if isinstance(value, tuple | list) else (value,)  # torch.chunk returns several tensors
        if any(isinstance(part, Tensor) for part in parts) and n.op != "get_attr":
            self.amplitudes[n] = amplitude
        return value

    def _divide_branches(self, node: fx.Node) -> None:
        """Divide the weighted layers that a node joins with spikes by the amplitude of these, so that both have one."""
        sources = [source for source in node.all_input_nodes if source in self.amplitudes]
        modules = {source: self.fetch_attr(str(source.target)) for source in sources if source.op == "call_module"}
        layers = {
            source: layer
            for source, layer in modules.items()
            if isinstance(layer, _WEIGHTED) and self.done.isdisjoint(source.users)
        }
        amplitudes = {self.amplitudes[source] for source in sources if source not in layers}
        if node.target in _JOINS and len(amplitudes) == 1:
            (amplitude,) = amplitudes
            for source, layer in layers.items():
                for values in (layer.weight, layer.bias, self.env[source]):
                    if values is not None:
                        values.div_(amplitude)
                self.amplitudes[source] = amplitude

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
        if lif.learned:  # in units of the ANN
            if not self.rescale:
                raise UsageError(
                    f"{lif.name} has a threshold that the ANN learned, in units of its activations; convert with "
                    "rescale (conversion.rescale = true in a recipe)."
                )
            lif.threshold.mul_(self.threshold_scale / self.amplitude).clamp_(min=MIN_THRESHOLD)
            return
        steps = (window.by_step(current) if timed else current[None]).flatten(1)
        if lif.wait:
            steps = steps.mean(0, keepdim=True)  # its input arrives at once, so the steps do not matter
        highest = max(percentile_of(step, self.percentile) for step in steps.float())
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
