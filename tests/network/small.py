"""A small network of each kind and a batch for it, the same at every call."""

import torch
from torch import Tensor

from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert


def network(model: str = "vgg5", start: float = 0.0) -> SpikingNetwork:
    torch.manual_seed(0)
    ann = build(model, 10, width=0.125, hidden=32, dropout=0.3)
    return convert(ann, torch.rand(4, 3, 32, 32), timesteps=4, start=start).train()


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(4, 3, 32, 32, generator=generator), torch.arange(4)
