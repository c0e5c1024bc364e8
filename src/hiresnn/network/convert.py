"""ANN to SNN: every ReLU and QCFS becomes a LIF, batch norm becomes fixed, thresholds are calibrated layer by layer.

Works on any network of stateless layers that torch.fx can trace, with ReLUs as modules or functions.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import get_args

from jaxtyping import Float
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError, closest
from hiresnn.models import QCFS, Normalise
from hiresnn.network.batch_norm import remove_batch_norms
from hiresnn.network.calibration import THRESHOLD_SCALE, calibrate
from hiresnn.network.encoding import Encoder, Encoding
from hiresnn.network.max_pool import MaxPool, pool_currents
from hiresnn.network.report import ConversionReport, ConversionWarning
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.network.timing import insert_time
from hiresnn.neurons import LIF, Condition, Reset, Surrogate

_STATEFUL_LIBRARIES = ("norse", "sinabs", "snntorch", "spikingjelly")


def convert(
    ann: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    *,
    timesteps: int,
    percentile: float = 99.7,
    threshold_scale: float = THRESHOLD_SCALE,
    rescale: bool = False,
    leak: float = 1.0,
    reset: Reset = "subtract",
    start: float = 0.0,
    condition: Condition = ">",
    wait: bool = False,
    surrogate: Surrogate | None = None,
    encoding: Encoding = "direct",
    max_pool: MaxPool = "currents",
) -> SpikingNetwork:
    """Convert a trained ANN to a spiking network; the ANN itself does not change.

    Args:
        ann: images [B, C, H, W] in [0, 1] -> logits [B, K].
        images: calibration batch of training images in [0, 1], such as 512 of them.
        timesteps: T, at least 1.
        percentile: of a layer's pre-activation at each step, in (0, 100]; its maximum over steps is the threshold. A
            layer of `QCFS` has its learned threshold instead, and needs rescale = True and a threshold_scale of 1.
        threshold_scale: factor on every threshold, above 0.
        rescale: multiply the weights behind each layer of neurons by its threshold; see `calibrate`. With start = 0.5
            and a threshold_scale of 0.7 to 1 the network comes closest to the ANN without training.
        leak: initial leak of every layer, in [0, 1].
        reset, start, condition, wait, surrogate, encoding: see `LIF` and `Encoder`.
        max_pool: of a max pool right behind a ReLU: "currents" pools in front of the neurons, which the ANN computes as
            well; "spikes" takes the maximum over the spikes of each timestep.

    Returns:
        The network; `print(network.report)` lists what became of each layer.

    Raises:
        UsageError: a value or pixel is out of range, or the network cannot be converted: it has no ReLU, keeps state,
            never activates, or mixes the images of a batch.

    Warns:
        ConversionWarning: the network converts, but an activation stays analogue, or its end is not made for logits.

    Example:
        >>> network = hiresnn.convert(ann, train_images[:512], timesteps=6)  # doctest: +SKIP
        >>> print(network.report)  # doctest: +SKIP
    """
    network = spiking_graph(
        ann, timesteps, leak=leak, reset=reset, start=start, condition=condition, wait=wait, surrogate=surrogate,
        encoding=encoding, max_pool=max_pool,
    )  # fmt: skip
    for warning in network.report.warnings:
        warnings.warn(warning, ConversionWarning, stacklevel=2)
    calibrate(network, images, percentile=percentile, threshold_scale=threshold_scale, rescale=rescale)
    return network


def spiking_graph(
    ann: nn.Module,
    timesteps: int,
    *,
    leak: float = 1.0,
    reset: Reset = "subtract",
    start: float = 0.0,
    condition: Condition = ">",
    wait: bool = False,
    surrogate: Surrogate | None = None,
    encoding: Encoding = "direct",
    max_pool: MaxPool = "currents",
) -> SpikingNetwork:
    """Build the structure of the spiking network, with every threshold still at 1, or as learned; see `convert`."""

    def neuron(activation: nn.Module) -> LIF:
        lif = LIF(leak=leak, reset=reset, start=start, condition=condition, wait=wait, surrogate=surrogate)
        if isinstance(activation, QCFS):
            lif.to(activation.threshold.device).threshold.data.copy_(activation.threshold.detach())
            lif.learned = True
        return lif

    return over_time(ann, timesteps, neuron, Encoder(encoding), max_pool)


def over_time(
    ann: nn.Module, timesteps: int, neuron: Callable[[nn.Module], LIF], encoder: Encoder, max_pool: MaxPool
) -> SpikingNetwork:
    """Build the graph of a spiking network, in which `neuron` makes the layer that replaces each activation."""
    if not isinstance(timesteps, int):
        raise UsageError(f"timesteps is {timesteps}; it must be a whole number.")
    if max_pool not in get_args(MaxPool):
        raise UsageError(f"max_pool is {max_pool!r}; {closest(max_pool, get_args(MaxPool))}.")
    _refuse_spiking(ann)
    training = ann.training
    root = copy.deepcopy(ann).eval()
    try:
        traced = fx.GraphModule(root, _Tracer().trace(root), type(ann).__name__)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"{type(ann).__name__} cannot be traced by torch.fx ({error}); its forward must not branch on data."
        ) from error
    if not isinstance([*traced.graph.nodes][-1].args[0], fx.Node):
        raise UsageError(f"{type(ann).__name__} returns several values; its forward must return the logits alone.")
    positions = {node: position for position, node in enumerate(traced.graph.nodes)}
    changes = list(remove_batch_norms(traced))
    pooled = list(pool_currents(traced)) if max_pool == "currents" else []
    device = next((parameter.device for parameter in root.parameters()), None)
    report = ConversionReport()
    moved = {node for node, _ in pooled}
    timed = insert_time(traced, lambda activation: neuron(activation).to(device), encoder, report)
    changes += pooled + [each for each in timed if each[0] not in moved]
    report.changes = [change for node, change in sorted(changes, key=lambda each: positions[each[0]])]
    network = SpikingNetwork(traced, timesteps, getattr(ann, "spec", None), report)
    network.pools_currents = bool(pooled)
    return network.train(training)


def _refuse_spiking(ann: nn.Module) -> None:
    for module in ann.modules():
        library = type(module).__module__.split(".")[0]
        if isinstance(module, SpikingNetwork | LIF):
            raise UsageError(f"{type(ann).__name__} spikes already: convert takes an ANN; use the network as it is.")
        if library in _STATEFUL_LIBRARIES:
            raise UsageError(
                f"{type(ann).__name__} spikes already, by {type(module).__name__} of {library}: convert takes an ANN; "
                f"wrap a network of {library} with hiresnn.foreign.{library}."
            )


class _Tracer(fx.Tracer):
    """Keeps normalisations and activations of the package in one piece, so that they can be found in the graph."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Normalise | QCFS) or super().is_leaf_module(m, module_qualified_name)
