"""The paper's VGG5 for every candidate: the same layers and sizes, images -> logits.

`Dense` is the same convolutions and products on T x batch rows without any neuron, the first convolution on batch
rows only, since a direct-coded image does not change: what no dense implementation can beat.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import hiresnn
from hiresnn import SpikingNetwork

CLASSES = 10


@dataclass(frozen=True)
class Size:
    """The size of the work: images of 3x32x32 per batch, T, and the widths of the layers.

    `width` scales the channels of the convolutions; `hidden` is the width of the two hidden linear layers.
    """

    batch: int = 32
    timesteps: int = 6
    hidden: int = 1024
    width: float = 1.0

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the images and of the three convolutions."""
        return (3, *(max(1, round(count * self.width)) for count in (64, 128, 128)))

    @property
    def features(self) -> int:
        """Inputs of the first linear layer: two pools leave 8x8 pixels."""
        return 64 * self.channels[-1]

    def images(self, device: str = "cpu") -> Tensor:
        """Return a seeded batch in [0, 1]."""
        return torch.rand(self.batch, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)

    def labels(self, device: str = "cpu") -> Tensor:
        """Return a seeded class for each image."""
        return torch.randint(0, CLASSES, (self.batch,), generator=torch.Generator().manual_seed(1)).to(device)

    def at(self, **changes: float) -> "Size":
        """Return this size with `changes`."""
        return replace(self, **changes)  # type: ignore[arg-type]


TINY = Size(batch=2, timesteps=2, hidden=16, width=0.125)
"""For --quick, which only shows that everything runs."""


def ours(size: Size, device: str = "cpu") -> SpikingNetwork:
    """Return the network of hiresnn, with thresholds calibrated on the batch and compiled neurons."""
    ann = hiresnn.models.build("vgg5", CLASSES, width=size.width, hidden=size.hidden, dropout=0.2).to(device)
    return hiresnn.convert(ann, size.images(device), timesteps=size.timesteps).fuse()


class Dense(nn.Module):
    """The arithmetic alone, in its fastest memory layout; optionally in bfloat16 under autocast."""

    def __init__(self, size: Size, *, bfloat16: bool = False) -> None:
        super().__init__()
        self.timesteps, self.bfloat16 = size.timesteps, bfloat16
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(size.channels))
        sizes = ((size.features, size.hidden), (size.hidden, size.hidden), (size.hidden, CLASSES))
        self.linears = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in sizes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16):
            images = images.contiguous(memory_format=torch.channels_last)
            first = F.avg_pool2d(self.convs[0](images), 2)
            over_time = torch.cat([first] * self.timesteps)
            features = F.avg_pool2d(self.convs[2](self.convs[1](over_time)), 2).flatten(1)
            features = self.linears[1](self.linears[0](features))
            return self.linears[2](features.unflatten(0, (self.timesteps, len(images))).sum(0))


class SpikingJelly(nn.Module):
    """The network in SpikingJelly, multi-step: a layer gets all timesteps in one call."""

    def __init__(self, size: Size) -> None:
        from spikingjelly.activation_based import functional, layer, neuron, surrogate

        super().__init__()
        self.timesteps, self.reset = size.timesteps, functional.reset_net
        _, first, second, third = size.channels

        def lif() -> nn.Module:
            rule = surrogate.PiecewiseQuadratic()
            return neuron.LIFNode(tau=2.0, v_threshold=0.8, v_reset=None, detach_reset=True, surrogate_function=rule)

        def conv(inputs: int, outputs: int) -> nn.Module:
            return layer.Conv2d(inputs, outputs, 3, padding=1, bias=False)

        def linear(inputs: int, outputs: int) -> nn.Module:
            return layer.Linear(inputs, outputs, bias=False)

        self.layers = nn.Sequential(
            *(conv(3, first), lif(), layer.AvgPool2d(2), conv(first, second), lif(), layer.Dropout(0.2)),
            *(conv(second, third), lif(), layer.AvgPool2d(2), layer.Flatten()),
            *(linear(size.features, size.hidden), lif(), layer.Dropout(0.2)),
            *(linear(size.hidden, size.hidden), lif(), layer.Dropout(0.2), linear(size.hidden, CLASSES)),
        )
        functional.set_step_mode(self.layers, "m")

    def forward(self, images: Tensor) -> Tensor:
        self.reset(self.layers)
        return self.layers(images.expand(self.timesteps, *images.shape)).mean(0)


class SnnTorch(nn.Module):
    """The network in snnTorch, whose neurons take one step per call, so the outermost loop is over time."""

    def __init__(self, size: Size) -> None:
        import snntorch
        from snntorch import surrogate

        super().__init__()
        self.timesteps = size.timesteps
        _, first, second, third = size.channels

        def conv(inputs: int, outputs: int) -> nn.Module:
            return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)

        rule = surrogate.triangular()
        self.weighted = nn.ModuleList([conv(3, first), conv(first, second), conv(second, third)])
        for inputs in (size.features, size.hidden):
            self.weighted.append(nn.Linear(inputs, size.hidden, bias=False))
        self.neurons = nn.ModuleList(
            snntorch.Leaky(beta=0.9, threshold=0.8, learn_beta=True, learn_threshold=True, spike_grad=rule)
            for _ in self.weighted
        )
        pool, flat = nn.AvgPool2d(2), nn.Sequential(nn.AvgPool2d(2), nn.Flatten())
        self.after = nn.ModuleList([pool, nn.Dropout(0.2), flat, nn.Dropout(0.2), nn.Dropout(0.2)])
        self.last = nn.Linear(size.hidden, CLASSES, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        membranes = [neurons.reset_mem() for neurons in self.neurons]
        logits: Tensor | int = 0
        for _ in range(self.timesteps):
            shown = images
            layers = zip(self.weighted, self.neurons, self.after, strict=True)
            for number, (weighted, neurons, after) in enumerate(layers):
                spikes, membranes[number] = neurons(weighted(shown), membranes[number])
                shown = after(spikes)
            logits = logits + self.last(shown)
        assert isinstance(logits, Tensor)
        return logits
