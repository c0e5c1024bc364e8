"""Training: one loop (Algorithm 1), methods as data, noise, a step schedule, several processes."""

from hiresnn.training.epochs import PRECISIONS, Training
from hiresnn.training.fit import FitResult, fit
from hiresnn.training.loop import EpochResult, PeriodResult, train_batch, train_epoch
from hiresnn.training.methods import METHODS, Method, Presentation, cross_entropy, method
from hiresnn.training.noise import CraftedNoise, GaussianNoise, Noise
from hiresnn.training.ranks import ALONE, Ranks, joined
from hiresnn.training.schedule import Schedule

__all__ = [
    "ALONE",
    "METHODS",
    "PRECISIONS",
    "CraftedNoise",
    "EpochResult",
    "FitResult",
    "GaussianNoise",
    "Method",
    "Noise",
    "PeriodResult",
    "Presentation",
    "Ranks",
    "Schedule",
    "Training",
    "cross_entropy",
    "fit",
    "joined",
    "method",
    "train_batch",
    "train_epoch",
]
