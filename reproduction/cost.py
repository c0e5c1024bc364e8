"""What training costs: peak memory and time of a batch, measured in a process that does nothing else.

The cost of a batch does not depend on what the network has learned, so weights and images are random (He et al. 2015).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import nn

from hiresnn.app.build import compile_neurons, method_of, optimizer_of, spiking_network
from hiresnn.app.context import device_of
from hiresnn.app.folder import cpu_model
from hiresnn.app.recipe import Recipe, read
from hiresnn.data import Batches, Split
from hiresnn.errors import HiresnnError, RunError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, calibrate
from hiresnn.process import keep_memory
from hiresnn.training import PRECISIONS, train_batch

WARM_BATCHES = 3
"""Batches before memory and time are read: the optimiser has its state, compiled kernels are there."""
EPOCH = 50_000
"""Images of an epoch where the recipe takes all there are, as in CIFAR; decides whether kernels are compiled."""
BLOCK = 65_536
"""Bytes from which a freed block goes back to the system, so that what is resident is what is in use."""
IN_USE, PEAK = "VmRSS", "VmHWM"
"""Fields of /proc/self/status."""


def measure(recipe: Recipe, batches: int, *, channels: int, size: int, classes: int) -> dict[str, Any]:
    """What `spend` returns for the recipe, from a fresh process. Raises RunError where that fails."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        # Without keys at defaults that version one did not know, an older checkout can be measured too.
        path.write_text(tomli_w.dumps(recipe.keyed(exclude_none=True)), encoding="utf-8")
        words = [sys.executable, "-m", "reproduction.cost", str(path), "--batches", str(batches)]
        words += ["--channels", str(channels), "--size", str(size), "--classes", str(classes)]
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(BLOCK), "MALLOC_TRIM_THRESHOLD_": str(BLOCK)}
        checkout = str(Path(__file__).parents[1])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (checkout, os.environ.get("PYTHONPATH"))))
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise RunError(
            f"the process that measures the cost of {recipe.name} {recipe.method} ended with {done.returncode} "
            f"({said}); -9 most often means that memory ran out, so close other programs or take a smaller scale."
        )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def spend(recipe: Recipe, batches: int, *, channels: int, size: int, classes: int) -> dict[str, Any]:
    """Train on random batches in this process, once for the memory and once for the time.

    The peak is read over a single batch, since all have one shape, and while freed blocks go back to the system; the
    time under `keep_memory`, as the command line trains. Traditional training of the same recipe takes turns with it,
    batch by batch, so that a change of the machine's speed slows both.

    Returns:
        peak_bytes: most that training held at once, of resident memory or, on a GPU, in tensors, without left_bytes,
        which the process holds when training is over. seconds_per_batch: by the clock, the median over the timed
        batches. processor_seconds_per_batch: of all threads, the median. traditional_*: the same two of traditional
        training. fused: whether kernels were compiled. device, processor, threads, batch_size, batches.
    """
    torch.manual_seed(recipe.seed)
    device, batch_size = device_of(recipe), recipe.snn.batch_size
    traditional = recipe.model_copy(update={"method": "traditional"})
    shape = ((WARM_BATCHES + batches) * batch_size, channels, size, size)
    split = Split(torch.randint(0, 256, shape, dtype=torch.uint8), torch.randint(0, classes, shape[:1]))

    training = _training(recipe, split, classes)
    fused = [next(training) for _ in range(WARM_BATCHES)][-1]
    _forget_peak(device)
    next(training)
    peak = _memory(device, PEAK)
    training.close()
    gc.collect()
    left = _memory(device, IN_USE)

    keep_memory()
    rivals = {"": recipe, "traditional_": traditional}
    trainings = {name: _training(each, split, classes) for name, each in rivals.items()}
    for training in trainings.values():
        for _ in range(WARM_BATCHES):
            next(training)
    _wait(device)
    seconds: dict[str, list[float]] = defaultdict(list)
    for _, (name, training) in product(range(batches), trainings.items()):
        wall, processor = time.perf_counter(), time.process_time()
        next(training)
        _wait(device)
        seconds[f"{name}seconds_per_batch"].append(time.perf_counter() - wall)
        seconds[f"{name}processor_seconds_per_batch"].append(time.process_time() - processor)
    return {
        "peak_bytes": peak - left,
        **{name: statistics.median(each) for name, each in seconds.items()},
        "left_bytes": left,
        "fused": fused,
        "device": device,
        "processor": cpu_model() if device == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "batches": batches,
    }


def _training(recipe: Recipe, split: Split, classes: int) -> Generator[bool, None, None]:
    """Trains on a batch whenever it is asked; yields whether kernels are compiled."""
    settings, device = recipe.snn, device_of(recipe)
    generator, augment = torch.Generator().manual_seed(recipe.seed), recipe.data.augment
    batches = Batches(split, settings.batch_size, device=device, shuffle=True, augment=augment, generator=generator)
    network = _network(recipe, batches.images[: settings.batch_size] / 255, classes)
    optimizer, chosen = optimizer_of(recipe, network), method_of(recipe)
    network.train()
    fused, options = network.fused, {"timesteps": settings.timesteps, "precision": PRECISIONS[recipe.precision]}
    for images, labels in batches:
        train_batch(network, optimizer, images, labels, chosen, **options)  # type: ignore[arg-type]
        yield fused


def _network(recipe: Recipe, images: torch.Tensor, classes: int) -> SpikingNetwork:
    """The recipe's network with random weights that let activity reach the last layer, calibrated on one batch."""
    model = recipe.model
    ann = build(
        model.label, classes, in_channels=images.shape[1], image_size=images.shape[2], width=model.width,
        hidden=model.hidden, dropout=model.dropout,
    )  # fmt: skip
    for layer in ann.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    network = spiking_network(recipe, ann).to(images.device)
    network.train()
    scale = recipe.conversion.threshold_scale
    calibrate(network, images, percentile=recipe.conversion.percentile, threshold_scale=scale)
    presented = recipe.snn.epochs * (recipe.data.train_images or EPOCH)
    compile_neurons(recipe.compile, network, images[:1], presented)
    return network


def _forget_peak(device: str) -> None:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):  # where the kernel does not have it, the peak is that of the whole process
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _memory(device: str, field: str) -> int:
    """Bytes that are in use, or were at the peak; outside Linux always the peak of the process."""
    if device != "cpu":
        return torch.cuda.memory_allocated(device) if field == IN_USE else torch.cuda.max_memory_allocated(device)
    # Linux: ru_maxrss begins with what the parent process held when it started this one, VmHWM begins anew
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def main(words: Sequence[str]) -> int:
    """Print the JSON of `spend` for a recipe; returns the exit code."""
    cli = argparse.ArgumentParser(prog="python -m reproduction.cost")
    cli.add_argument("recipe")
    for option in ("--batches", "--channels", "--size", "--classes"):
        cli.add_argument(option, type=int, required=True)
    asked = vars(cli.parse_args(words))
    try:
        print(json.dumps(spend(read(asked.pop("recipe")), **asked)))
    except HiresnnError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
