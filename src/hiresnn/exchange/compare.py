"""What changes between a network and its export: decisions, accuracy, and the first layer whose spikes differ."""

import contextlib
import importlib
import io
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hiresnn.errors import UsageError
from hiresnn.metrics import Accuracy
from hiresnn.network import SpikingNetwork, evaluating, record


def optional(name: str, extra: str) -> Any:
    """Import a package; a UsageError names the `extra` of hiresnn that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"this needs {name}, which cannot be imported ({error}); run pip install 'hiresnn[{extra}]'."
        ) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what a package prints, logs and warns of below an error; an error still raises."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(level)


BATCH = 32
"""Images that are compared at once: the spikes of all layers and timesteps are in memory."""
Answers = tuple[Tensor, Mapping[str, Tensor]]
"""Logits [B, K], and for each layer of neurons its spikes [T, B, ...]; {} where they cannot be seen."""
Runner = Callable[[Tensor], Answers]


@dataclass
class Comparison:
    """A network beside the same network as another program, `name`, computes it, on the same images.

    Attributes:
        before, after: accuracies.
        decisions: images whose class differs.
        logits: largest difference of a logit.
        spikes: layer -> spikes that differ, over all images and timesteps, in the order of the layers; {} if the other
            program does not show its spikes.
    """

    name: str
    before: Accuracy = field(default_factory=Accuracy)
    after: Accuracy = field(default_factory=Accuracy)
    images: int = 0
    decisions: int = 0
    logits: float = 0.0
    spikes: dict[str, int] = field(default_factory=dict)

    def update(self, ours: Answers, theirs: Answers, labels: Tensor) -> None:
        logits, changed, labels = ours[0].cpu().double(), theirs[0].cpu().double(), labels.cpu()
        self.before.update(logits.float(), labels)
        self.after.update(changed.float(), labels)
        self.images += len(labels)
        broken = logits.isfinite().all(1) != changed.isfinite().all(1)
        self.decisions += int(((logits.argmax(1) != changed.argmax(1)) | broken).sum())
        self.logits = max(self.logits, float((logits - changed).abs().nan_to_num(math.inf, math.inf).max()))
        for layer in (name for name in ours[1] if name in theirs[1]):
            spikes = ours[1][layer].cpu()
            differing = int((spikes != theirs[1][layer].cpu().reshape(spikes.shape)).sum())
            self.spikes[layer] = self.spikes.get(layer, 0) + differing

    @property
    def first_layer(self) -> str:
        """The first layer whose spikes differ; "" if none does or they are not known."""
        return next((layer for layer, differing in self.spikes.items() if differing), "")

    def __str__(self) -> str:
        text = f"{self.name}: clean {self.before.compute():.1f} -> {self.after.compute():.1f}, "
        text += f"{self.decisions} of {self.images} decisions change"
        return text + (f", first layer that differs: {self.first_layer}" if self.first_layer else "")


def compare(
    network: SpikingNetwork,
    others: Mapping[str, Runner],
    images: Tensor,
    labels: Tensor,
    names: Mapping[str, str] | None = None,
) -> list[Comparison]:
    """Compare a network, in eval mode, with other programs on images [N, C, H, W] in [0, 1] with labels [N].

    `others`: name -> a function, images [B, C, H, W] -> logits and spikes by layer. `names`: layer of the network ->
    its name in these spikes, if that is another one.
    """
    comparisons = {name: Comparison(name) for name in others}
    for batch, classes in zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True):
        ours = answers(network, batch, names)
        for name, other in others.items():
            comparisons[name].update(ours, other(batch), classes)
    return [*comparisons.values()]


@torch.no_grad()
def answers(network: SpikingNetwork, images: Tensor, names: Mapping[str, str] | None = None) -> Answers:
    """Return the logits and spikes of a network in eval mode."""
    device = next(network.parameters()).device
    with evaluating(network), record(network) as spikes:
        logits = network(images.to(device))
    return logits, {(names or {}).get(layer, layer): trains for layer, trains in spikes.items()}
