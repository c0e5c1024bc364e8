"""Decide whether compiled neurons pay for the work ahead."""

from __future__ import annotations

from torch import Tensor

from hiresnn.network import SpikingNetwork, compiling_pays
from hiresnn.progress import Progress

COMPILING = "Neurons are compiled at the first batch: half a minute the first time on this machine, seconds after that."


def should_fuse(wanted: str, network: SpikingNetwork, image: Tensor, presentations: int) -> bool:
    """Return whether to compile the neurons; `wanted` is the recipe's `compile`: "auto", "always" or "never"."""
    return compiling_pays(network, image, presentations) if wanted == "auto" else wanted == "always"


def compile_neurons(
    wanted: str, network: SpikingNetwork, image: Tensor, presentations: int, progress: Progress | None = None
) -> None:
    """Compile the neurons if that pays, and say so in `progress`. Arguments as for `should_fuse`."""
    network.fuse(should_fuse(wanted, network, image, presentations))
    if progress is not None and network.fused:
        progress.line(COMPILING)
