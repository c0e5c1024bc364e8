"""ANN to SNN: every ReLU and QCFS becomes a LIF, batch norm becomes fixed, thresholds are calibrated layer by layer.

Works on any network of stateless layers that torch.fx can trace, with ReLUs as modules or functions.
"""

import inspect
import warnings
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.errors import UsageError, closest
from hiresnn.models import QCFS, MeanOverBins
from hiresnn.network.calibration import THRESHOLD_SCALE, calibrate
from hiresnn.network.graph import over_time, uncompiled
from hiresnn.network.layers import Encoder, Encoding
from hiresnn.network.rate_form import check_forms
from hiresnn.network.report import ConversionWarning
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.network.timing import MaxPool
from hiresnn.neurons import LIF, Neuron

TIMESTEPS = 6
"""Default T of `convert` and `fit`."""
Conversion = Literal["paper", "closest"]
CONVERSIONS: dict[Conversion, dict[str, Any]] = {
    "paper": {"threshold_scale": THRESHOLD_SCALE, "v_init": 0.0, "rescale": False},
    "closest": {"threshold_scale": 0.7, "v_init": 0.5, "rescale": True},
}
"""The options that a `conversion` of `convert` and of `fit` stands for.

"paper" is the default of `convert`, so that a call makes the same network in every version. "closest" is the default of
`fit` and the conversion of the recipe `own`: it comes closest to an ANN of ReLUs, also one with biases or batch norms,
which the networks of the paper do not have.
"""
CLOSEST = CONVERSIONS["closest"]
EXACT: dict[str, Any] = {"leak": 1.0, "reset": "subtract", "v_init": 0.5, "wait": True, "trainable": False}
"""Options of neurons whose number of spikes is that of a quantised activation (Bu et al., ICLR 2022)."""
EXACT_SCALE = 0.8
"""Factor on calibrated thresholds for `exact`: clipping rare activations costs less than coarser steps."""


def convert(
    ann: nn.Module,
    images: Float[Tensor, "batch ..."],
    *,
    timesteps: int = TIMESTEPS,
    conversion: Conversion = "paper",
    percentile: float = 99.7,
    threshold_scale: float | None = None,
    rescale: bool | None = None,
    exact: bool = False,
    neuron: Neuron | None = None,
    encoding: Encoding = "direct",
    max_pool: MaxPool = "currents",
    **options: Any,
) -> SpikingNetwork:
    """Convert a trained ANN to a spiking network; the ANN itself does not change.

    Args:
        ann: images [B, C, H, W] in [0, 1] -> logits [B, K]. For events, frames [B, P, H, W] -> logits, with or without
            a `MeanOverBins` as its first layer.
        images: calibration batch of training images in [0, 1], such as 512 of them, on the device of the ANN; or of
            event grids [B, T, P, H, W], of which the network sees bin t at timestep t.
        timesteps: T, at least 1; for events the number of bins.
        conversion: "paper" (threshold_scale 0.4), or "closest" (threshold_scale 0.7, v_init 0.5, rescale), which comes
            closest to the ANN without training and is the default of `fit`. Your own values of these options replace
            those of the conversion. `hiresnn.network.CONVERSIONS` holds both.
        percentile: of a layer's pre-activation at each step, in (0, 100]; its maximum over steps is the threshold. A
            layer of `QCFS` has its learned threshold instead, and needs rescale = True and a threshold_scale of 1.
        threshold_scale: factor on every threshold, above 0; by default that of the conversion, of "closest" 1 for QCFS.
        exact: make a network that equals its quantised ANN, QCFS or not: neurons wait for the current of all timesteps,
            start at half their threshold, do not leak and reset by subtraction, and the weights are rescaled. Its
            `RateForm` computes the same logits in one pass. Each layer of neurons takes T timesteps of its own, so
            an answer takes T times the number of layers.
        rescale: multiply the weights behind each layer of neurons by its threshold; see `calibrate`.
        neuron: options of the neurons, such as Neuron(leak=0.9, reset="zero").
        encoding: see `Encoder`; that of event grids is "frames".
        max_pool: of a max pool right behind a ReLU: "currents" takes the maximum of the input currents, before the
            neurons, which the ANN computes as well because max and ReLU commute; "spikes" takes the maximum over the
            spikes of each timestep, which overestimates the rate.
        **options: single options of `Neuron`, instead of those of `neuron`; `start` and `condition` are understood.

    Returns:
        The network; `print(network.report)` lists what became of each layer.

    Raises:
        UsageError: a value or pixel is out of range, or the network cannot be converted: it has no ReLU, keeps state,
            never activates, or mixes the images of a batch.

    Warns:
        ConversionWarning: the network converts, but differs from the ANN, such as by an activation that stays analogue.

    Example:
        >>> network = hiresnn.convert(ann, train_images[:512], timesteps=6)  # doctest: +SKIP
        >>> print(network.report)  # doctest: +SKIP
    """
    names = {*inspect.signature(convert).parameters, *inspect.signature(Neuron).parameters, "start", "condition"}
    for name in options.keys() - names:
        raise UsageError(
            f"convert has no option {name!r}; {closest(name, sorted(names - {'ann', 'images', 'options'}))}."
        )
    if conversion not in CONVERSIONS:
        raise UsageError(f"conversion is {conversion!r}; {closest(conversion, CONVERSIONS)}.")
    if exact and conversion != "paper":
        raise UsageError(f"exact=True is a conversion of its own, not {conversion!r}; leave one out.")
    ann, defaults, neuron = uncompiled(ann), CONVERSIONS[conversion], neuron or Neuron()
    if neuron.v_init == Neuron().v_init:
        neuron = neuron.changed(v_init=defaults["v_init"])
    neuron = chosen = neuron.changed(**options)
    rescale = defaults["rescale"] if rescale is None else rescale
    if exact:
        neuron, rescale = chosen.changed(**EXACT), True
        default = Neuron()
        for name, value in EXACT.items():
            if getattr(chosen, name) not in (getattr(default, name), value):
                raise UsageError(f"exact=True needs {name} = {value!r}, not {getattr(chosen, name)!r}; leave one out.")
    if threshold_scale is None:
        learned = any(isinstance(layer, QCFS) for layer in ann.modules()) and (exact or conversion == "closest")
        threshold_scale = 1.0 if learned else EXACT_SCALE if exact else defaults["threshold_scale"]
    if encoding == "direct" and images.dim() == 5:
        encoding = "frames"
    network = spiking_graph(ann, timesteps, neuron, encoding=encoding, max_pool=max_pool)
    calibrate(network, images, ann=ann, percentile=percentile, threshold_scale=threshold_scale, rescale=rescale)
    if exact:
        check_forms(network, images)
    for warning in network.report.warnings:
        warnings.warn(warning, ConversionWarning, stacklevel=2)
    return network


def spiking_graph(
    ann: nn.Module,
    timesteps: int,
    neuron: Neuron | None = None,
    *,
    encoding: Encoding = "direct",
    max_pool: MaxPool = "currents",
    **options: Any,
) -> SpikingNetwork:
    """Build the structure of the spiking network, with every threshold still at 1, or as learned; see `convert`."""
    chosen = (neuron or Neuron()).changed(**options)
    if any(isinstance(module, MeanOverBins) for module in ann.modules()):
        if encoding == "poisson":
            raise UsageError('event grids are no rates, so they cannot become Poisson spikes; use encoding="frames".')
        encoding = "frames"

    def layer(activation: nn.Module) -> LIF:
        lif = LIF(neuron=chosen)
        if isinstance(activation, QCFS):
            lif.to(activation.threshold.device).threshold.data.copy_(activation.threshold.detach())
            lif.learned = True
        return lif

    return over_time(ann, timesteps, layer, Encoder(encoding), max_pool)
