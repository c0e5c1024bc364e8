"""Networks that an audit must not be fooled by, each named for what it does. Images [B, 1, 8, 8] -> logits [B, 10].

`HOSTILE` maps a name to a function that returns a fresh network, and to the words by which the audit names it: in an
error, or in a failed check on the card.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hiresnn import convert, data


class Classifier(nn.Module):
    """A linear classifier of the digits, about 90 % right (least squares on one-hot labels), answering by `answer`."""

    def __init__(self, answer: Callable[["Classifier", Tensor], Tensor]) -> None:
        super().__init__()
        split = data.load("digits").train
        pixels = split.images.float().flatten(1) / 255
        inputs = torch.cat([pixels, torch.ones(len(pixels), 1)], 1)
        targets = torch.eye(10)[split.labels]
        solution = torch.linalg.solve(inputs.T @ inputs + torch.eye(65), inputs.T @ targets)
        self.linear = nn.Linear(64, 10)
        with torch.no_grad():
            self.linear.weight.copy_(4 * solution[:-1].T)
            self.linear.bias.copy_(4 * solution[-1])
        self.answer, self.calls, self.membrane = answer, 0, 0.0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return self.answer(self, images)

    def logits(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


def sometimes_nan(network: Classifier, images: Tensor) -> Tensor:
    """NaN for every image with a pixel off the 8-bit grid: argmax of NaN is class 0."""
    off = ((images * 255 - (images * 255).round()).abs() > 1e-3).flatten(1).any(1, keepdim=True)
    return network.logits(images).masked_fill(off, torch.nan)


def writes_into_its_input(network: Classifier, images: Tensor) -> Tensor:
    with torch.no_grad():
        images.mul_(0.5)
    return network.logits(images)


def drifts(network: Classifier, images: Tensor) -> Tensor:
    """Its weights change a little with every call."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 1e-6)
    return network.logits(images)


def random(network: Classifier, images: Tensor) -> Tensor:
    logits = network.logits(images)
    return logits + torch.randn(logits.shape)


def constant(network: Classifier, images: Tensor) -> Tensor:
    return torch.eye(10)[3].expand(len(images), -1) + 0 * images.flatten(1).sum(1, keepdim=True)


def half_precision(network: Classifier, images: Tensor) -> Tensor:
    return network.logits(images).half()


def ends(error: BaseException, network: Classifier, images: Tensor) -> Tensor:
    """Raises on its 30th call."""
    if network.calls >= 30:
        raise error
    return network.logits(images)


def stateful(network: Classifier, images: Tensor) -> Tensor:
    """Keeps a membrane between calls, as a spiking network without a reset does."""
    network.membrane = 0.9 * network.membrane + float(images.detach().sum())
    return network.logits(images) + 1e-3 * network.membrane * torch.eye(10)[0]


def depends_on_the_batch(network: Classifier, images: Tensor) -> Tensor:
    """Normalises with the mean of the batch, as batch norm in training mode does."""
    return network.logits(images - images.mean(0, keepdim=True))


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


def hostile(answer: Callable[[Classifier, Tensor], Tensor], words: str, refused: bool = False) -> Hostile:
    return Hostile(partial(Classifier, answer), words, refused)


HOSTILE = {
    "NaN now and then": hostile(sometimes_nan, "rows of logits were not finite"),
    "writes into its input": hostile(writes_into_its_input, "writes into the images"),
    "drifts": hostile(drifts, "it drifts with every call"),
    "random": hostile(random, "the network is random"),
    "constant": hostile(constant, "every image gets the same logits"),
    "half precision": hostile(half_precision, "half precision"),
    "raises after 30 calls": hostile(
        partial(ends, ValueError("out of luck")), "call 30 of the network, .* failed: ValueError: out of luck", True
    ),
    "dead": Hostile(dead, "ever spikes"),
    "ends the program": hostile(partial(ends, SystemExit(7)), "call 30 of the network, .* ended the program", True),
    "stateful": hostile(stateful, "keeps state between calls"),
    "depends on the batch": hostile(depends_on_the_batch, "depend on the rest of the batch"),
}
