"""A small network of each kind and a batch for it, the same at every call.

There are two timesteps where neurons are compiled, because torch unrolls all of them, which takes long.
"""

import torch
from torch import Tensor, nn

from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert


def network(model: str = "vgg5", timesteps: int = 2) -> SpikingNetwork:
    torch.manual_seed(0)
    ann = build(model, 10, width=0.125, hidden=32, dropout=0.3)
    return convert(ann, torch.rand(4, 3, 32, 32), timesteps=timesteps).train()


def one_block(start: float = 0.0) -> SpikingNetwork:
    """One LIF layer with dropout and pooling behind it: where a whole network would only compile more kernels."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.AvgPool2d(2), nn.Flatten()
    ann = nn.Sequential(*layers, nn.Linear(4 * 16 * 16, 10))
    return convert(ann, torch.rand(4, 3, 32, 32), timesteps=2, start=start).train()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(4, 3, 32, 32, generator=generator), torch.arange(4)
