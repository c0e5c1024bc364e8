"""Section `inference`: images per second of a forward pass without gradients, at batch 1 and 256."""

from collections.abc import Callable

import torch
from figures import PEERS, Section, over, rates, versions
from networks import TINY, Size, SnnTorch, SpikingJelly, ours
from torch import Tensor, nn
from turns import in_turns, say

UNIT = "images/s"
OURS = "hiresnn float32"


def shown(network: nn.Module, images: Tensor, *, bfloat16: bool = False) -> Callable[[], None]:
    """Return a forward pass without gradients."""

    def forward() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            network(images)

    return forward


def measure_inference(quick: bool) -> Section:
    """Measure all candidates in turns, at each batch size."""
    base = TINY if quick else Size()
    rounds, warmup = (1, 1) if quick else (9, 3)
    sizes = {1: 2, 4: 1} if quick else {1: 20, 256: 1}
    section = Section(
        "Inference",
        f"Forward pass of the paper's VGG5 in eval mode without gradients, T = {base.timesteps}, hidden "
        f"{base.hidden}; each round has "
        + " and ".join(f"{calls} call{'s' * (calls > 1)} at batch {batch}" for batch, calls in sizes.items())
        + ".",
        {**vars(base), "batch": list(sizes), "rounds": rounds, "warmup": warmup},
    )
    section.leave_out("spikingjelly", "snntorch")
    for batch, calls in sizes.items():
        size = base.at(batch=batch)
        images = size.images()
        torch.manual_seed(0)
        # Thresholds are calibrated on a batch of one size, so that the networks of both sizes are equal.
        network = ours(base).eval()
        ways = {OURS: shown(network, images), "hiresnn bfloat16": shown(network, images, bfloat16=True)}
        for peer, kind in (("spikingjelly", SpikingJelly), ("snntorch", SnnTorch)):
            if versions()[peer]:
                torch.manual_seed(0)
                ways[PEERS[peer]] = shown(kind(size).eval(), images)
        say(f"  batch {batch}")
        for name, seconds in in_turns(ways, rounds=rounds, warmup=warmup, calls=calls).items():
            section.add(name, {UNIT: rates(seconds, batch)}, batch=batch)
        mine = section.median(OURS, UNIT, batch=batch)
        for peer in ("spikingjelly", "snntorch"):
            theirs = section.median(PEERS[peer], UNIT, batch=batch)
            section.at_least(f"batch {batch}, speed over {PEERS[peer]}", over(mine, theirs), 1.3)
    return section
