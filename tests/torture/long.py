"""Campaign "long": memory stays flat over many epochs and attacks."""

import gc
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.torture.harness import Case, in_child
from tests.torture.workshop import tiny_recipe

GROWTH = 48 << 20
"""Bytes by which the peak of a process may grow after its warm-up."""


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """One case of training, one of attacks."""
    yield Case("long", "memory over 300 epochs", lambda: in_child(lambda: _epochs(folder), seconds=600).complaint(0))
    yield Case("long", "memory over 3,000 attacks", lambda: in_child(_attacks, seconds=600).complaint(0))


def _peak() -> int:
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _epochs(folder: Path) -> None:
    from hiresnn.app.recipe import read
    from hiresnn.app.train import train
    from hiresnn.progress import Progress

    run = Path(tempfile.mkdtemp(dir=folder))
    peaks = []
    for epochs in (40, 300):
        recipe = tiny_recipe(run / f"{epochs}.toml", snn__epochs=str(epochs), ann__epochs="1")
        train(read(str(recipe)), out=run / f"runs-{epochs}" / "run", progress=Progress(quiet=True))
        peaks.append(_peak())
    assert peaks[1] - peaks[0] < GROWTH, f"300 epochs take {(peaks[1] - peaks[0]) >> 20} MiB more than 40"


def _attacks() -> None:
    import torch

    import hiresnn

    torch.manual_seed(0)
    ann = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 3
    snn = hiresnn.convert(ann, images, timesteps=4)
    peaks = []
    for count in (500, 3000):
        for _ in range(count):
            hiresnn.attacks.pgd(snn, images, labels, iterations=1)
        peaks.append(_peak())
    assert peaks[1] - peaks[0] < GROWTH, f"3,000 attacks take {(peaks[1] - peaks[0]) >> 20} MiB more than 500"
