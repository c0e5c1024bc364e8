"""The training step on a GPU: time and peak memory of hiresnn, SpikingJelly and the dense network.

    python benchmarks/gpu.py [--out results]

Writes OUT/speed-gpu.json and OUT/speed-gpu.md. Products are float32 to the full (no TF32) but where bfloat16 is named.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import checkout  # noqa: F401
import torch
from figures import PEERS, Section, machine, over, spread, versions
from networks import Size, SpikingJelly
from turns import in_turns, say
from writing import keep, write_page

from training import Step, candidates, step_of

NAMES = ("dense float32", "dense bfloat16", "hiresnn float32", "hiresnn bfloat16")
PEER = PEERS["spikingjelly"]
BATCHES = (32, 128)
MIB = 2**20


def waiter(device: str) -> Callable[[], None]:
    """Return a function that waits for the device."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None


def spikingjelly(size: Size, device: str) -> tuple[Step, str]:
    """SpikingJelly's step and the backend of its neurons: the first that works of cupy, triton and torch.

    From version 2 on it chooses by itself.
    """
    from spikingjelly.activation_based import functional, neuron

    torch.manual_seed(0)
    network = SpikingJelly(size)
    step = step_of(network, size, device)
    if not hasattr(functional, "set_backend"):
        return step, "its own choice"
    for backend in ("cupy", "triton"):
        if device == "cuda" and importlib.util.find_spec(backend):
            functional.set_backend(network.layers, backend, neuron.LIFNode)
            try:
                step()
            except Exception as error:  # any error means: no kernel for this neuron
                say(f"  SpikingJelly's {backend} fails: {error}")
            else:
                return step, backend
    functional.set_backend(network.layers, "torch", neuron.LIFNode)
    return step, "torch"


def build(size: Size, device: str, section: Section) -> tuple[dict[str, Step], dict[str, int]]:
    """Return every candidate's step and its peak in bytes: weights, optimiser, gradients and activations."""
    steps: dict[str, Step] = {}
    peaks: dict[str, int] = {}
    for name in (*NAMES, *([PEER] if versions()["spikingjelly"] else [])):
        before = torch.cuda.memory_allocated() if device == "cuda" else 0
        if name == PEER:
            steps[name], section.setting["SpikingJelly's backend"] = spikingjelly(size, device)
        else:
            steps |= candidates(size, (name,), device)
        for _ in range(3):  # compiles kernels and creates the optimiser's state
            steps[name]()
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            steps[name]()
            peaks[name] = torch.cuda.max_memory_allocated() - before
        say(f"  batch {size.batch}: {name} is ready")
    return steps, peaks


def measure_gpu(
    device: str, base: Size, batches: tuple[int, ...] = BATCHES, *, rounds: int = 9, calls: int = 10
) -> Section:
    """Measure time and memory of a step at every batch size; on the CPU only the time."""
    section = Section(
        "Training step on a GPU",
        f"The paper's VGG5 on random images, T = {base.timesteps}, hidden {base.hidden}: zero_grad, forward, "
        f"cross-entropy, backward, SGD with momentum. `dense` is the same convolutions and products without any "
        f"neuron. A round is {calls} steps a candidate, in turn.",
        {**vars(base), "batch": list(batches), "rounds": rounds, "calls": calls},
        ratio="of dense float32",
    )
    section.leave_out("spikingjelly")
    for batch in batches:
        steps, peaks = build(base.at(batch=batch), device, section)
        seconds = in_turns(steps, rounds=rounds, warmup=3, calls=calls, wait=waiter(device))
        found = {name: spread(values, 1e3) for name, values in seconds.items()}
        for name, times in found.items():
            measures = {"ms": times, **({"MiB": spread([peaks[name]], 1 / MIB)} if name in peaks else {})}
            section.add(name, measures, times["median"] / found["dense float32"]["median"], batch=batch)
        for kind in ("float32", "bfloat16"):
            share = over(found[f"dense {kind}"]["median"], found[f"hiresnn {kind}"]["median"]) or 0
            section.notes.append(
                f"Batch {batch}, {kind}: convolutions and products alone take {100 * share:.0f} % of hiresnn's step."
            )
    return section


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("--out", type=Path, default=Path("results"))
    asked = cli.parse_args()
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a GPU that torch can use, and sees none.", file=sys.stderr)
        return 2
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    section = measure_gpu("cuda", Size(hidden=4096))
    where = {**machine(), "device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    found = {**asdict(section), "command": "python benchmarks/gpu.py", "quick": False, "machine": where}
    keep(asked.out / "speed-gpu.json", "gpu", found, ["gpu"])
    write_page(asked.out / "speed-gpu.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
