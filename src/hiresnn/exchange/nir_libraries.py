"""snnTorch and norse as readers of a NIR file, imported only when a user exports to NIR and has them installed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.exchange.compare import Answers
from hiresnn.exchange.optional import quiet
from hiresnn.exchange.step_graph import StepGraph


def installed_readers(
    path: Path, graph: StepGraph, readers: dict[str, float]
) -> dict[str, Callable[[], Callable[[Tensor], Answers]]]:
    """Return, for every library that is installed, a call that reads the file.

    It returns a function from images to logits and spikes. Both may raise whatever the library raises.

    Args:
        graph: what the file was written from, for the names of the layers.
        readers: "snntorch" and "norse" if they can read the file, each with the seconds per timestep of the file.
    """
    if find_spec("nirtorch") is None:
        return {}
    titles = {"snntorch": "snnTorch", "norse": "norse"}
    return {
        f"{titles[name]} {version(name)}": partial(_read, name, path, dt, graph)
        for name, dt in readers.items()
        if find_spec(name) is not None
    }


def _read(name: str, path: Path, dt: float, graph: StepGraph) -> Callable[[Tensor], Answers]:
    with quiet():
        return partial(_present, _loaded(name, path, dt), graph)


def _loaded(name: str, path: Path, dt: float) -> nn.Module:
    graph = import_module("nir").read(path)
    network: nn.Module
    if name == "norse":
        network = import_module("norse.torch").from_nir(graph, dt=dt)
    else:
        network = import_module("snntorch.import_nir").import_from_nir(graph)
    return network


@torch.no_grad()
def _present(network: nn.Module, graph: StepGraph, images: Tensor) -> Answers:
    """Present one image after the other: the libraries' Flatten would flatten a batch as well."""
    modules = dict(network.named_modules())
    steps: dict[str, list[Tensor]] = {node.name: [] for node in graph.neurons}

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        steps[name].append((output[0] if isinstance(output, tuple) else output).reshape(-1))

    logits = []
    with ExitStack() as stack:
        for name in steps:
            stack.enter_context(modules[name].register_forward_hook(partial(keep, name)))
        for image in images.cpu().float():
            for module in modules.values():
                if callable(reset := getattr(module, "reset_mem", None)):  # snnTorch goes on from the image before
                    reset()
            state, total = None, torch.zeros(())
            for _ in range(graph.timesteps):
                output, state = network(image[None], state)
                total = total + output.reshape(-1)
            logits.append(total)
    shape = (len(images), graph.timesteps, -1)
    return torch.stack(logits), {name: torch.stack(each).view(shape).transpose(0, 1) for name, each in steps.items()}
