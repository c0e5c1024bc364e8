"""What `test_processes.py` trains, alone or as one of several processes.

Every process saves what it trained into RANK.pt. Then the last rank kills itself while the others wait for it.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn.data import Batches, Split
from hiresnn.errors import HiresnnError
from hiresnn.network import spiking_graph
from hiresnn.training import CraftedNoise, Method, Ranks, Schedule, Training, joined

CASES = ((12, 4), (10, 4), (9, 4), (3, 8))
"""(images, batch size): whole batches; last batches of two images and of one; a single batch that is short."""


def trained(images: int, batch_size: int, ranks: Ranks) -> dict[str, Any]:
    """Two epochs of HIRE-SNN without dropout: weights, kappa of this rank's rows, results."""
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    network = spiking_graph(ann, 4)
    for neurons, threshold in zip(network.neurons.values(), (0.3, 0.2), strict=True):
        nn.init.constant_(neurons.threshold, threshold)
    split = Split(torch.randint(256, (images, 1, 2, 2), dtype=torch.uint8), torch.arange(images) % 3)
    generator = torch.Generator().manual_seed(1)
    part = (ranks.rank, ranks.size)
    batches = Batches(split, batch_size, shuffle=True, generator=generator, part=part)
    noise = CraftedNoise(0.02, 0.05)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    training = Training(network, optimizer, batches, Method(2, noise), Schedule(2, 0.1), ranks=ranks)
    training.run()
    means = [(row["loss"], row["train_accuracy"]) for row in training.rows]
    return {"weights": dict(network.state_dict()), "kappa": noise.kappa, "results": means}


def train_and_lose_one(folder: Path) -> None:
    """Train every case, then lose a process."""
    try:
        with joined() as ranks:
            found = [trained(*case, ranks) for case in CASES]
            torch.save(found, folder / f"{ranks.rank}.pt")
            ranks.wait()
            if ranks.rank == ranks.size - 1:
                os.kill(os.getpid(), signal.SIGKILL)
            trained(*CASES[0], ranks)
    except HiresnnError as error:
        sys.exit(f"{type(error).__name__}: {error}")
