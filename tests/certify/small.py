"""Small converted networks, which train in a second or not at all."""

import torch
from torch import nn

from hiresnn import convert, data


def converted(timesteps=4, wait=False, seed=0, layers=None, **options):
    """An untrained network of two layers of neurons on 3 pixels, with weights of both signs."""
    torch.manual_seed(seed)
    ann = layers or nn.Sequential(nn.Flatten(), nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    images = torch.rand(64, 1, 1, 3, generator=torch.Generator().manual_seed(1))
    network = convert(ann, images, timesteps=timesteps, wait=wait, v_init=0.5, threshold_scale=0.7, **options)
    return network.double().eval()


def digits(count):
    """The first test images of the digits, balanced over classes, with their labels."""
    split = data.in_turn(data.load("digits").test, count)
    return split.images.float() / 255, split.labels
