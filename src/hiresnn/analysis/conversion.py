"""What a conversion loses, layer by layer: the ANN's activations beside the spike rates that stand for them.

A spike of a layer stands for as much activation of the ANN as its amplitude. With the ANN's activation a and the value
r = amplitude * spikes / T of the same neuron, the error of a layer is |r - a| / |a| (L2 norms over neurons and images).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.attacks import frozen
from hiresnn.checks import Accuracy
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork, analogue, record


@dataclass(frozen=True)
class LayerError:
    """The error of one layer of neurons.

    Attributes:
        error: |r - a| / |a|; 0 means that the layer computes what the ANN computes.
        bias: (mean of r - mean of a) / mean of a; below 0 if too few spikes come.
        clipped: share of the ANN's activations that lie above the amplitude, the largest value that a rate can have.
        accuracy: percent of images that are right if this layer and all before have the values of the spiking network,
            and the rest of the ANN goes on from there. Where it falls from one layer to the next, accuracy is lost.
    """

    error: float
    bias: float
    clipped: float
    accuracy: float


class ConversionError:
    """Accumulates the error of every layer of a spiking network beside the ANN that it was converted from.

    The amplitude is that of the calibration with `rescale`; without it, and for a network that was trained or loaded,
    it is the factor that fits the first batch best (least squares).

    Args:
        ann: the ANN; it stays as it is.
        network: made from it by `convert`.

    Raises:
        UsageError: the network was not made from this ANN.
    """

    def __init__(self, ann: nn.Module, network: SpikingNetwork) -> None:
        self.ann, self.network = analogue(ann, network), network
        self.activations = self.ann.neurons
        if list(self.activations) != list(network.neurons):
            names = f"neurons {', '.join(network.neurons)}, but the ANN activations {', '.join(self.activations)}"
            raise UsageError(f"the network has {names}; give the ANN that was converted.")
        self.amplitudes = {name: lif.amplitude for name, lif in network.neurons.items()}
        # Of each layer: (r - a)^2, a^2, a, r, a > amplitude, and the number of values.
        self.sums = {name: [0.0] * 6 for name in self.activations}
        self.mixed = {name: Accuracy() for name in self.activations}
        self.whole = Accuracy(), Accuracy()

    @torch.no_grad()
    def update(self, images: Tensor, labels: Tensor) -> None:
        """Add a batch: images [B, C, H, W] in [0, 1] and labels [B]."""
        expected: dict[str, Tensor] = {}
        values: dict[str, Tensor] = {}

        def save(name: str, _: nn.Module, inputs: Any, output: Tensor) -> None:
            expected[name] = output.clone()

        with frozen(self.ann), frozen(self.network):
            with self._hooked(self.activations, save):
                self.whole[0].update(self.ann(images.clone()), labels)
            with record(self.network) as spikes:
                self.whole[1].update(self.network(images.clone()), labels)
            for name, activation in expected.items():
                rates = spikes[name].mean(0).reshape(activation.shape)
                if (amplitude := self.amplitudes[name]) is None:
                    square = float(rates.double().square().sum())
                    amplitude = float((activation.double() * rates).sum()) / square if square else 1.0
                    self.amplitudes[name] = amplitude
                values[name] = rates * amplitude
                parts: tuple[Tensor | int, ...] = (
                    (values[name] - activation).double().square().sum(), activation.double().square().sum(),
                    activation.sum(dtype=torch.float64), values[name].sum(dtype=torch.float64),
                    (activation > amplitude * (1 + 1e-5)).sum(), activation.numel(),
                )  # fmt: skip
                self.sums[name] = [total + float(part) for total, part in zip(self.sums[name], parts, strict=True)]
                with self._hooked(values, lambda name, *_: values[name].clone()):
                    self.mixed[name].update(self.ann(images.clone()), labels)

    def compute(self) -> dict[str, LayerError]:
        """Return layer name -> its error over all images so far; UsageError before the first update."""
        if not self.whole[0].seen:
            raise UsageError("conversion: no images were added; call update with a batch first.")
        errors = {}
        for name, sums in self.sums.items():
            difference, square, activation, value, above, count = sums
            error = (difference / square) ** 0.5 if square else float(difference > 0)
            bias = (value - activation) / activation if activation else 0.0
            errors[name] = LayerError(error, bias, above / count, self.mixed[name].compute())
        return errors

    @property
    def accuracies(self) -> tuple[float, float]:
        """Accuracy of the ANN and of the spiking network over all images so far, in percent."""
        return self.whole[0].compute(), self.whole[1].compute()

    @contextmanager
    def _hooked(self, names: Iterable[str], hook: Callable[..., Tensor | None]) -> Iterator[None]:
        """Add a forward hook, which gets the name first, to these activations of the ANN."""
        with ExitStack() as stack:
            for name in names:
                stack.enter_context(self.activations[name].register_forward_hook(partial(hook, name)))
            yield
