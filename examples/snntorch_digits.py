"""A small convolutional spiking network in snnTorch on the embedded digits.

Install the library, then audit the network:

pip install snntorch
hiresnn audit examples/snntorch_digits.py:network --data digits --preset quick
"""

import snntorch as snn
import torch
import torch.nn.functional as F
from snntorch import surrogate
from torch import nn

import hiresnn
from hiresnn.foreign import Unrolled, snntorch

TIMESTEPS = 6
EPOCHS = 15


def layers() -> nn.Sequential:
    """Return the layers. One call is one timestep, and neurons keep their membrane potentials."""

    def neuron() -> nn.Module:
        return snn.Leaky(beta=0.9, spike_grad=surrogate.fast_sigmoid(slope=10), init_hidden=True)

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        neuron(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        neuron(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


def network() -> Unrolled:
    """Train the network, images [B, 1, 8, 8] in [0, 1] -> logits [B, 10]; this takes about ten seconds."""
    torch.manual_seed(0)
    digits = hiresnn.data.load("digits").train
    images, labels = digits.images.float() / 255, digits.labels
    model = snntorch(layers(), TIMESTEPS)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(64):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


if __name__ == "__main__":
    test = hiresnn.data.load("digits").test
    percent = hiresnn.evaluate(network(), test.images.float() / 255, test.labels)
    print(f"{percent:.1f} % of {len(test)} test images")
