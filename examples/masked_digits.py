"""Four networks for the embedded digits. Three of them mask their gradients on purpose, to test the audit.

    hiresnn audit examples/masked_digits.py:narrow --data digits --eps 26/255

Plain PGD breaks almost no image of `narrow`, `saturated` and `quantised`. They are no more robust than `plain`, and the
audit must show that.
"""

import torch
from torch import Tensor, nn

from hiresnn import convert, data
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Linear


def plain() -> SpikingNetwork:
    """A small convolutional network with four timesteps, converted from an ANN that trains in a second."""
    torch.manual_seed(0)
    split = data.load("digits").train
    images, labels = split.images.float() / 255, split.labels
    ann = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 16, 10, bias=False),
    )
    optimiser = torch.optim.Adam(ann.parameters(), 1e-2)
    for _ in range(120):
        rows = torch.randint(0, len(images), (128,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(ann(images[rows]), labels[rows]).backward()
        optimiser.step()
    return convert(ann, images[:200], timesteps=4, threshold_scale=0.7).eval()


def narrow() -> SpikingNetwork:
    """`plain` with a surrogate gradient so narrow that most gradients are zero."""
    network = plain()
    for neuron in network.neurons.values():
        neuron.surrogate = Linear(width=1e-3)
    return network


class Saturated(nn.Module):
    """Logits times 1e4: the gradient of the cross-entropy is exactly zero in float32."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return 1e4 * self.network(images)


def saturated() -> nn.Module:
    """`plain` with logits that saturate the cross-entropy; see `Saturated`."""
    return Saturated(plain())


class Quantiser(nn.Module):
    """Rounds each pixel at random to one of 257 levels, so that no gradient passes and no two calls agree.

    With only a few levels, the mean over many calls would be smoother than the plain network and really more robust.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(torch.floor(256 * images + torch.rand_like(images)).clamp(0, 256) / 256)


def quantised() -> nn.Module:
    """`plain` with pixels that are rounded at random; see `Quantiser`."""
    return Quantiser(plain())
