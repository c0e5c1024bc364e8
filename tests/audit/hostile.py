"""Networks that an audit must not be fooled by, each named for what it does. Images [B, 1, 8, 8] -> logits [B, 10].

`HOSTILE` maps a name to a function that returns a fresh network, and to the words by which the audit names it: in an
error, or in a failed check on the card.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hiresnn import convert, data


def _classifier() -> nn.Sequential:
    """A linear classifier of the digits, about 90 % right: least squares on one-hot labels."""
    split = data.load("digits").train
    pixels = split.images.float().flatten(1) / 255
    inputs = torch.cat([pixels, torch.ones(len(pixels), 1)], 1)
    targets = torch.eye(10)[split.labels]
    solution = torch.linalg.solve(inputs.T @ inputs + torch.eye(65), inputs.T @ targets)
    linear = nn.Linear(64, 10)
    with torch.no_grad():
        linear.weight.copy_(4 * solution[:-1].T)
        linear.bias.copy_(4 * solution[-1])
    return nn.Sequential(nn.Flatten(), linear)


class _Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = _classifier()
        self.calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.answer(images)

    def answer(self, images: Tensor) -> Tensor:
        return self.network(images)


class SometimesNaN(_Wrapped):
    """NaN for every image with a pixel off the 8-bit grid: argmax of NaN is class 0."""

    def answer(self, images: Tensor) -> Tensor:
        off = ((images * 255 - (images * 255).round()).abs() > 1e-3).flatten(1).any(1, keepdim=True)
        return super().answer(images).masked_fill(off, torch.nan)


class WritesIntoItsInput(_Wrapped):
    """Rounds the caller's images in place."""

    def answer(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            images.mul_(0.5)
        return super().answer(images)


class Drifts(_Wrapped):
    """Its weights change a little with every call."""

    def answer(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.mul_(1 + 1e-6)
        return super().answer(images)


class Random(_Wrapped):
    """Logits with noise from torch's generator."""

    def answer(self, images: Tensor) -> Tensor:
        logits = super().answer(images)
        return logits + torch.randn(logits.shape)


class Constant(_Wrapped):
    """The same logits for every image."""

    def answer(self, images: Tensor) -> Tensor:
        return torch.eye(10)[3].expand(len(images), -1) + 0 * images.flatten(1).sum(1, keepdim=True)


class HalfPrecision(_Wrapped):
    """Computes in float16 and returns it."""

    def answer(self, images: Tensor) -> Tensor:
        return super().answer(images).half()


class RaisesLater(_Wrapped):
    """Fails on its 30th call."""

    def answer(self, images: Tensor) -> Tensor:
        if self.calls >= 30:
            raise ValueError("out of luck")
        return super().answer(images)


class EndsTheProgram(_Wrapped):
    """Raises SystemExit on its 30th call."""

    def answer(self, images: Tensor) -> Tensor:
        if self.calls >= 30:
            raise SystemExit(7)
        return super().answer(images)


class Stateful(_Wrapped):
    """Keeps a membrane between calls, as a spiking network without a reset does."""

    def __init__(self) -> None:
        super().__init__()
        self.membrane: Tensor | float = 0.0

    def answer(self, images: Tensor) -> Tensor:
        self.membrane = 0.9 * self.membrane + float(images.detach().sum())
        return super().answer(images) + 1e-3 * self.membrane * torch.eye(10)[0]


class DependsOnTheBatch(_Wrapped):
    """Normalises with the mean of the batch, as batch norm in training mode does."""

    def answer(self, images: Tensor) -> Tensor:
        return super().answer(images - images.mean(0, keepdim=True))


def dead() -> nn.Module:
    """A spiking network whose thresholds are so high that no neuron ever spikes."""
    split = data.load("digits").train
    ann = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, bias=False), nn.ReLU(), nn.Linear(16, 10, bias=False))
    network = convert(ann, split.images[:100].float() / 255, timesteps=3, threshold_scale=1.0)
    for neuron in network.neurons.values():
        neuron.threshold.data.fill_(1e6)
    return network


class Hostile(NamedTuple):
    """How to make a network, the words that name it, and whether the audit refuses it with an error."""

    make: Callable[[], nn.Module]
    words: str
    refused: bool = False


HOSTILE = {
    "NaN now and then": Hostile(SometimesNaN, "rows of logits were not finite"),
    "writes into its input": Hostile(WritesIntoItsInput, "writes into the images"),
    "drifts": Hostile(Drifts, "it drifts with every call"),
    "random": Hostile(Random, "the network is random"),
    "constant": Hostile(Constant, "every image gets the same logits"),
    "half precision": Hostile(HalfPrecision, "half precision"),
    "raises after 30 calls": Hostile(
        RaisesLater, "call 30 of the network, .* failed: ValueError: out of luck", refused=True
    ),
    "dead": Hostile(dead, "ever spikes"),
    "ends the program": Hostile(EndsTheProgram, "call 30 of the network, .* ended the program", refused=True),
    "stateful": Hostile(Stateful, "keeps state between calls"),
    "depends on the batch": Hostile(DependsOnTheBatch, "depend on the rest of the batch"),
}
