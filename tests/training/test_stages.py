"""Stages of a robust training: activations quantise late, at percentiles of their inputs; PGD crafts at the end."""

import numpy as np
import torch
from torch import nn

from hiresnn.models import QCFS
from hiresnn.training.loop import Method, Schedule, Training
from hiresnn.training.losses import Adversarial
from hiresnn.training.stages import Stages


def test_thresholds_are_percentiles_of_the_inputs_and_pgd_crafts_at_the_end():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), QCFS(4), nn.Linear(3, 2))
    images, layer = torch.rand(500, 1, 2, 2), model[2]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = Training(model, optimizer, [], Method(), Schedule(4, 0.1))
    stages = Stages(1, 2, 8 / 255, images)
    stages(training, 0)
    assert (layer.quantises, layer.threshold.item()) == (False, 1.0)
    stages(training, 1)
    inputs = np.sort(model[:2](images).relu().detach().numpy().ravel())
    rank = 1496  # of 1,500 values: 99.7 % are 1,495.5, and half-way goes to the even number
    assert layer.threshold.item() == np.float32(0.8 * float(inputs[rank - 1]))
    assert layer.quantises
    assert not isinstance(training.method.noise, Adversarial)
    stages(training, 2)
    noise = training.method.noise
    assert (noise.iterations, noise.bound, noise.step) == (2, 8 / 255, 5 / 255)
    assert layer.threshold.item() == np.float32(0.8 * float(inputs[rank - 1]))  # set once
