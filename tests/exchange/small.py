"""Small networks with random weights whose every layer spikes, and images for them."""

from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert, spiking_graph

SIZE = {"vgg5": 8, "vgg11": 8, "resnet12": 8}
T = 5


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def network(model: str = "vgg5", **options: Any) -> SpikingNetwork:
    """A converted network with normalisation; leak 0.9 and reset zero unless `options` say otherwise."""
    torch.manual_seed(0)
    statistics = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.25)}
    ann = build(model, 10, width=1 / 16, hidden=16, image_size=SIZE[model], **statistics)
    return convert(ann, images(), timesteps=T, **{"leak": 0.9, "reset": "zero", **options}).eval()


def counter(**options: Any) -> SpikingNetwork:
    """One pixel into one neuron with threshold 1; class 1 wins where it spikes more than 2.5 times in 4 timesteps."""
    ann = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        ann[1].weight.fill_(1)
        ann[3].weight.copy_(torch.tensor([[0.0], [1.0]]))
        ann[3].bias.copy_(torch.tensor([2.5 / 4, 0]))
    return spiking_graph(ann, 4, **options).eval()


# Pixels of 0.9 and 0.6 at threshold 1, without leak:
#   soft reset, 0.9: u = 0.9 1.8 1.7 1.6, three spikes: class 1.     0.6: u = 0.6 1.2 0.8 1.4, two spikes: class 0.
#   reset to 0, 0.9: u = 0.9 1.8 0.9 1.8, two spikes: class 0.       0.6: u = 0.6 1.2 0.6 1.2, two spikes: class 0.
PIXELS = torch.tensor([0.9, 0.6]).view(2, 1, 1, 1)
CLASSES = torch.tensor([1, 0])
