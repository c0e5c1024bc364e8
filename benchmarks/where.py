"""Section `profile`: where the time of a training step goes, measured by torch's profiler.

Self time of operations on the calling thread, grouped by name; the rest is `other`.
"""

import statistics
from collections import defaultdict

from figures import Section, spread
from networks import TINY, Size
from torch.profiler import ProfilerActivity, profile

from training import candidates

GROUPS = {
    "convolutions": ("aten::convolution", "aten::mkldnn_convolution", "aten::_convolution"),
    "products": ("aten::mm", "aten::addmm", "aten::linear", "aten::bmm"),
    "neurons and pooling, compiled": ("## Call CompiledFxGraph",),
    "calls of compiled kernels": (
        "Torch-Compiled",
        "TorchDynamo",
        "Pregraph",
        "AOTDispatcher",
        "_LIFScan",
        "_Pool",
    ),
    "dropout masks": ("aten::random_", "aten::le", "aten::div_"),
    "changes of type": ("aten::copy_", "aten::_to_copy", "aten::to"),
}
OPTIMISER = "Optimizer.step"
NAMES = ("dense float32", "hiresnn float32", "hiresnn bfloat16")


def measure_profile(quick: bool) -> Section:
    """Measure the step of section `step`, one row per part."""
    size = TINY if quick else Size(hidden=4096)
    rounds, warmup = (1, 1) if quick else (5, 3)
    section = Section(
        "Where a step goes",
        "Self time of operations in the step of the first section, by torch's profiler, which itself slows a step a "
        "little; `optimiser` is SGD with all operations that it calls, `products` are those of linear layers.",
        {**vars(size), "rounds": rounds, "warmup": warmup},
        ratio="share of the step",
    )
    for name, step in candidates(size, NAMES).items():
        for _ in range(warmup):
            step()
        parts: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            for part, milliseconds in _parts(step).items():
                parts[part].append(milliseconds)
        whole = sum(statistics.median(values) for values in parts.values())
        for part, values in parts.items():
            section.add(name, {"ms": spread(values)}, statistics.median(values) / whole, part=part)
    return section


def _parts(step: object) -> dict[str, float]:
    """Return part -> milliseconds of one step."""
    assert callable(step)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        step()
    found = dict.fromkeys([*GROUPS, "optimiser", "other"], 0.0)
    events = seen.key_averages()
    for event in events:
        part = next((group for group, names in GROUPS.items() if event.key.startswith(names)), "other")
        found[part] += event.self_cpu_time_total / 1e3
    # Operations of the optimiser have the names of others: their total is subtracted from `other`.
    totals = [event.cpu_time_total for event in events if event.key.startswith(OPTIMISER)]
    found["optimiser"] = sum(totals) / 1e3
    found["other"] = max(0.0, found["other"] - found["optimiser"])
    return found
