"""Train, attack and audit low-latency spiking neural networks: HIRE-SNN and beyond.

The names below are what a user may touch. They load on first use, so that `import hiresnn` and
`hiresnn --help` never wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiresnn import attacks, data, models, neurons
    from hiresnn.network import SpikingNetwork, convert
    from hiresnn.neurons import gradient_rule
    from hiresnn.runs.checkpoint import load, save

__version__ = "0.1.0"

__all__ = ["SpikingNetwork", "attacks", "convert", "data", "gradient_rule", "load", "models", "neurons", "save"]

_HOMES = {
    "SpikingNetwork": "hiresnn.network",
    "convert": "hiresnn.network",
    "gradient_rule": "hiresnn.neurons",
    "load": "hiresnn.runs.checkpoint",
    "save": "hiresnn.runs.checkpoint",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'hiresnn' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name) if name in _HOMES else import_module(f"hiresnn.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
