"""Training: one loop (Algorithm 1), methods as data, noise, a step schedule, several processes.

Names load on first use, so that reading a recipe, which needs the names of the methods, does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiresnn.training.loop import (
        PRECISIONS,
        Average,
        Method,
        PeriodResult,
        Schedule,
        Selection,
        Training,
        orthogonalise,
        rounded,
        train_batch,
    )
    from hiresnn.training.losses import (
        Adversarial,
        CraftedNoise,
        Distillation,
        GaussianNoise,
        MembraneDistance,
        MembraneOverlap,
        Noise,
        NoiseInTime,
        Presentation,
        consistent,
        cross_entropy,
        sparse_gradients,
        trades,
    )
    from hiresnn.training.methods import ANN_TRAININGS, METHODS, ann_method, method
    from hiresnn.training.ranks import ALONE, Ranks, joined
    from hiresnn.training.stages import Stages
    from hiresnn.training.trainer import FitResult, fit

__all__ = [
    "ALONE", "ANN_TRAININGS", "METHODS", "PRECISIONS", "Adversarial", "Average", "CraftedNoise", "Distillation",
    "FitResult", "GaussianNoise", "MembraneDistance", "MembraneOverlap", "Method", "Noise", "NoiseInTime",
    "PeriodResult", "Presentation", "Ranks", "Schedule", "Selection", "Stages", "Training", "ann_method", "consistent",
    "cross_entropy", "fit", "joined", "method", "orthogonalise", "rounded", "sparse_gradients", "trades",
    "train_batch",
]  # fmt: skip

_MODULES = ("methods", "loop", "losses", "ranks", "stages", "trainer")


def __getattr__(name: str) -> object:
    for module in _MODULES if name in __all__ else ():
        if name in (names := vars(import_module(f"{__name__}.{module}"))):
            return names[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
