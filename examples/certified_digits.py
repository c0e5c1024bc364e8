"""A spiking network of the embedded digits with interval bounds that say something; training takes half a minute.

    hiresnn certify examples/certified_digits.py:network --data digits --limit 355

An ordinary training makes bounds useless after a few layers: `certify_intervals` then certifies nothing. Interval bound
propagation (Gowal et al., ICCV 2019) trains with the bounds themselves: half of the loss is the cross-entropy of the
worst logits that they allow, at a bound that grows during the first half of the training.
"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import hiresnn
from hiresnn.certify import margins
from hiresnn.network import SpikingNetwork

EPS, EPOCHS, LR, WORST = 32 / 255, 30, 3e-3, 0.5  # chosen on 200 training images that were held out


def network() -> SpikingNetwork:
    """Two layers of integrate-and-fire neurons that wait, T = 8: leak 1, reset by subtraction, both not trained."""
    torch.manual_seed(0)
    split = hiresnn.data.load("digits").train
    images, labels = split.images.float() / 255, split.labels
    ann = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(), nn.Linear(100, 10)
    )  # fmt: skip
    hiresnn.fit(ann, (images, labels), method="ann", epochs=10, lr=0.03, seed=0, progress=False)
    options = {"threshold_scale": 1.0, "v_init": 0.5, "rescale": True, "wait": True, "trainable": False}
    spiking = hiresnn.convert(ann, images[:512], timesteps=8, **options)
    optimiser = torch.optim.Adam([weight for weight in spiking.parameters() if weight.requires_grad], LR)
    for epoch in range(EPOCHS):
        share = min(1.0, 2 * epoch / EPOCHS)
        rate = LR * (1 if epoch < 0.6 * EPOCHS else 0.2 if epoch < 0.85 * EPOCHS else 0.04)
        optimiser.param_groups[0]["lr"] = rate
        for rows in torch.randperm(len(images)).split(64):
            lowest = margins(spiking, images[rows], labels[rows], share * EPS) / spiking.timesteps
            clean = cross_entropy(spiking(images[rows]) / spiking.timesteps, labels[rows])
            loss = (1 - WORST * share) * clean + WORST * share * cross_entropy(-lowest, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return spiking.eval()
