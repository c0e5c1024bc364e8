"""Time one training step of the paper's VGG5 against the dense arithmetic alone and against SpikingJelly.

    python benchmarks/run.py [--batch 32] [--timesteps 6] [--hidden 4096] [--rounds 9] [--out results/speed.json]

A step is zero_grad, forward over all timesteps, cross-entropy, backward, SGD with momentum, on random images.
`dense` is the same convolutions and products on timesteps x batch rows without any neuron, the first
convolution on batch rows only: what no dense float32 implementation can beat. Contestants take turns, so that a
ratio holds when the machine drifts; every ratio is of medians over the rounds. SpikingJelly runs where it is
installed (`make bench` installs it). Run it on a machine that does nothing else.
"""

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import plug
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.runs.environment import environment

Step = Callable[[], float]


def stepping(parameters: list[nn.Parameter], forward: Callable[[], Tensor], batch: int) -> Step:
    optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)
    labels = torch.randint(0, 10, (batch,))

    def one() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(forward().float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return one


def dense(batch: int, timesteps: int, hidden: int) -> Step:
    convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in ((3, 64), (64, 128), (128, 128)))
    sizes = ((8192, hidden), (hidden, hidden), (hidden, 10))
    linears = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in sizes)
    convs.to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)

    def forward() -> Tensor:
        first = F.avg_pool2d(convs[0](images), 2)
        over_time = torch.cat([first] * timesteps)
        features = F.avg_pool2d(convs[2](convs[1](over_time)), 2).flatten(1)
        features = linears[1](linears[0](features))
        return linears[2](features.view(timesteps, batch, hidden).sum(0))

    return stepping([*convs.parameters(), *linears.parameters()], forward, batch)


def spikingjelly(batch: int, timesteps: int, hidden: int) -> Step:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def lif() -> nn.Module:
        return neuron.LIFNode(
            tau=2.0, v_threshold=0.8, v_reset=None, detach_reset=True, surrogate_function=surrogate.PiecewiseQuadratic()
        )

    def conv(inputs: int, outputs: int) -> nn.Module:
        return layer.Conv2d(inputs, outputs, 3, padding=1, bias=False)

    network = nn.Sequential(
        *(conv(3, 64), lif(), layer.AvgPool2d(2), conv(64, 128), lif(), layer.Dropout(0.2), conv(128, 128), lif()),
        *(layer.AvgPool2d(2), layer.Flatten(), layer.Linear(8192, hidden, bias=False), lif(), layer.Dropout(0.2)),
        *(layer.Linear(hidden, hidden, bias=False), lif(), layer.Dropout(0.2), layer.Linear(hidden, 10, bias=False)),
    )
    functional.set_step_mode(network, "m")
    images = torch.rand(batch, 3, 32, 32)

    def forward() -> Tensor:
        functional.reset_net(network)
        return network(images.expand(timesteps, *images.shape)).mean(0)

    return stepping(list(network.parameters()), forward, batch)


def contestants(batch: int, timesteps: int, hidden: int) -> dict[str, Step]:
    steps = {
        "dense float32": dense(batch, timesteps, hidden),
        "hiresnn float32": plug.step(batch, timesteps, hidden),
        "hiresnn bfloat16": plug.step(batch, timesteps, hidden, bfloat16=True),
    }
    if importlib.util.find_spec("spikingjelly"):
        steps["spikingjelly float32"] = spikingjelly(batch, timesteps, hidden)
    return steps


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 32), ("timesteps", 6), ("hidden", 4096), ("rounds", 9), ("warmup", 3)):
        cli.add_argument(f"--{name}", type=int, default=default)
    cli.add_argument("--out", type=Path)
    asked = cli.parse_args()
    torch.manual_seed(0)
    steps = contestants(asked.batch, asked.timesteps, asked.hidden)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(asked.warmup + asked.rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= asked.warmup:
                seconds[name].append(time.perf_counter() - start)
    base = statistics.median(seconds["dense float32"])
    rows = {
        name: {
            "median_ms": round(1e3 * statistics.median(times), 1),
            "min_ms": round(1e3 * min(times), 1),
            "max_ms": round(1e3 * max(times), 1),
            "ratio": round(statistics.median(times) / base, 3),
        }
        for name, times in seconds.items()
    }
    for name, row in rows.items():
        spread = f"{row['min_ms']:.1f} to {row['max_ms']:.1f}"
        print(f"{name:22s} {row['median_ms']:8.1f} ms ({spread}), {row['ratio']:.2f} times the dense floor")
    if asked.out:
        setting = {key: value for key, value in vars(asked).items() if key != "out"}
        asked.out.write_text(json.dumps({"setting": setting, "steps": rows, "machine": environment()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
