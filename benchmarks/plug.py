"""One training step of the paper's VGG5 by hiresnn: step(batch, timesteps, hidden) -> a step to be timed.

Network, loss and optimiser are those of an ordinary user of the package. Programs outside this repository load the file
by its path, so it imports nothing from this folder.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

import hiresnn


def step(
    batch: int,
    timesteps: int,
    hidden: int,
    *,
    bfloat16: bool = False,
    width: float = 1.0,
    fused: bool = True,
    device: str = "cpu",
) -> Callable[[], float]:
    ann = hiresnn.models.build("vgg5", 10, width=width, hidden=hidden, dropout=0.2).to(device)
    images = torch.rand(batch, 3, 32, 32, device=device)
    labels = torch.randint(0, 10, (batch,), device=device)
    network = hiresnn.convert(ann, images, timesteps=timesteps).fuse(fused).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, fused=True)

    def one() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            logits = network(images)
        loss = F.cross_entropy(logits, labels)
        loss.backward()
        optimizer.step()
        network.clamp_neurons_()
        return loss.item()

    return one
