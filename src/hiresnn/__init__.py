"""Train, attack and audit low-latency spiking neural networks: HIRE-SNN and beyond.

`__all__` is the public interface. Its names load on first use, so that `import hiresnn` and `hiresnn --help` do not
wait for torch.
"""

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING

from hiresnn.version import __version__

if TYPE_CHECKING:
    from hiresnn import (
        analysis,
        attacks,
        audit,
        certify,
        data,
        errors,
        exchange,
        foreign,
        hub,
        models,
        network,
        neurons,
        report,
        training,
    )
    from hiresnn.analysis.accuracy import evaluate
    from hiresnn.app.networks import save
    from hiresnn.app.targets import load
    from hiresnn.audit import run_audit
    from hiresnn.hub import from_pretrained
    from hiresnn.models import build
    from hiresnn.network import SpikingNetwork, convert
    from hiresnn.neurons import gradient_rule
    from hiresnn.training import fit

__all__ = ["SpikingNetwork", "__version__", "build", "convert", "evaluate", "fit", "from_pretrained", "gradient_rule"]
__all__ += ["load", "run_audit", "save"]
__all__ += [
    "analysis",
    "attacks",
    "audit",
    "certify",
    "data",
    "errors",
    "exchange",
    "foreign",
    "hub",
    "models",
    "network",
    "neurons",
    "report",
    "training",
]

_HOMES = {"SpikingNetwork": "network", "convert": "network", "build": "models", "gradient_rule": "neurons"}
_HOMES |= {"fit": "training", "run_audit": "audit", "evaluate": "analysis.accuracy", "from_pretrained": "hub"}
_HOMES |= {"load": "app.targets", "save": "app.networks"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        similar = get_close_matches(name, __all__, 1)
        hint = f". Did you mean: '{similar[0]}'?" if similar else ""  # as Python says for a name that it knows already
        raise AttributeError(f"module 'hiresnn' has no attribute '{name}'{hint}")
    module = import_module(f"hiresnn.{_HOMES.get(name, name)}")
    value = getattr(module, name) if name in _HOMES else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
