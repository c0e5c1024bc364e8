"""What training costs: peak memory and time of a batch, measured in a process that does nothing else.

The cost of a batch does not depend on what the network has learned, so weights and images are random (He et al. 2015).
"""

import gc
import json
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn.app.build import calibrate_by, compile_neurons, device_of, method_of, optimizer_of, spiking_network
from hiresnn.app.folder import cpu_model
from hiresnn.app.recipe import Recipe
from hiresnn.data import Batches, Split
from hiresnn.errors import RunError
from hiresnn.models import build
from hiresnn.process import keep_memory
from hiresnn.training import PRECISIONS, train_batch

WARM_BATCHES = 3  # batches before memory and time are read: the optimiser has its state, compiled kernels are there
EPOCH = 50_000  # images of an epoch where the recipe takes all there are; decides whether kernels are compiled
BLOCK = 65_536  # bytes from which a freed block goes back to the system, so that what is resident is what is in use
IN_USE, PEAK = "VmRSS", "VmHWM"  # fields of /proc/self/status


def measure(recipe: Recipe, batches: int, *, channels: int, size: int, classes: int) -> dict[str, Any]:
    """What `spend` returns for the recipe, from a fresh process. Raises RunError where that fails."""
    arguments = {"batches": batches, "channels": channels, "size": size, "classes": classes}
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(BLOCK), "MALLOC_TRIM_THRESHOLD_": str(BLOCK)}
    child: dict[str, Any] = {"env": environment, "cwd": Path(__file__).parents[1], "capture_output": True}
    command = [sys.executable, "-m", "reproduction.cost"]
    done = subprocess.run(command, input=pickle.dumps((recipe, arguments)), check=False, **child)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise RunError(f"measuring the cost of {recipe.name} {recipe.method} ended with {done.returncode}: {last}")
    costs: dict[str, Any] = json.loads(done.stdout)
    return costs


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
    shape = ((WARM_BATCHES + batches) * batch_size, channels, size, size)
    split = Split(torch.randint(0, 256, shape, dtype=torch.uint8), torch.randint(0, classes, shape[:1]))

    training = _training(recipe, split, classes)
    fused = [next(training) for _ in range(WARM_BATCHES)][-1]
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    next(training)
    peak = _memory(device, PEAK)
    del training
    gc.collect()
    left = _memory(device, IN_USE)

    keep_memory()
    rivals = {"": recipe, "traditional_": recipe.model_copy(update={"method": "traditional"})}
    trainings = {name: _training(rival, split, classes) for name, rival in rivals.items()}
    seconds: dict[str, list[float]] = defaultdict(list)
    for _, (name, training) in product(range(WARM_BATCHES + batches), trainings.items()):
        wall, processor = time.perf_counter(), time.process_time()
        next(training)
        if device != "cpu":
            torch.cuda.synchronize(device)
        seconds[f"{name}seconds_per_batch"].append(time.perf_counter() - wall)
        seconds[f"{name}processor_seconds_per_batch"].append(time.process_time() - processor)
    return {
        "peak_bytes": peak - left,
        **{name: statistics.median(values[WARM_BATCHES:]) for name, values in seconds.items()},
        "left_bytes": left,
        "fused": fused,
        "device": device,
        "processor": cpu_model() if device == "cpu" else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "batches": batches,
    }


def _training(recipe: Recipe, split: Split, classes: int) -> Iterator[bool]:
    """Trains on a batch whenever it is asked; yields whether kernels are compiled.

    Weights are random, and let activity reach the last layer; thresholds are calibrated on one batch.
    """
    settings, model, device = recipe.snn, recipe.model, device_of(recipe)
    generator, augment = torch.Generator().manual_seed(recipe.seed), recipe.data.augment
    batches = Batches(split, settings.batch_size, device=device, shuffle=True, augment=augment, generator=generator)
    first = batches.images[: settings.batch_size] / 255
    options = {"width": model.width, "hidden": model.hidden, "dropout": model.dropout}
    ann = build(model.label, classes, in_channels=first.shape[1], image_size=first.shape[2], **options).to(device)
    for layer in ann.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    network = spiking_network(recipe, ann).to(device).train()
    calibrate_by(recipe, ann, network, first)
    compile_neurons(recipe.compile, network, first[:1], settings.epochs * (recipe.data.train_images or EPOCH))
    optimizer, method, precision = optimizer_of(recipe, network), method_of(recipe), PRECISIONS[recipe.precision]
    for images, labels in batches:
        train_batch(network, optimizer, images, labels, method, timesteps=settings.timesteps, precision=precision)
        yield network.fused


def _memory(device: str, field: str) -> int:
    """Bytes that are in use, or were at the peak; 0 on a processor outside Linux."""
    if device != "cpu":
        return torch.cuda.memory_allocated(device) if field == IN_USE else torch.cuda.max_memory_allocated(device)
    # ru_maxrss begins with what the parent process held when it started this one, VmHWM begins anew
    status = Path("/proc/self/status").read_text(encoding="ascii") if sys.platform == "linux" else ""
    return next((1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:")), 0)


if __name__ == "__main__":
    recipe, arguments = pickle.load(sys.stdin.buffer)  # from `measure`
    print(json.dumps(spend(recipe, **arguments)))
