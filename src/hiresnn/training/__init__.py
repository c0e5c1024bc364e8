"""Training: one loop (Algorithm 1), methods as data, noise, a step schedule, several processes."""

from hiresnn.training.loop import EpochResult, PeriodResult, train_batch, train_epoch
from hiresnn.training.methods import METHODS, Method, Presentation, cross_entropy, method
from hiresnn.training.noise import CraftedNoise, GaussianNoise, Noise
from hiresnn.training.ranks import ALONE, Ranks, joined
from hiresnn.training.schedule import learning_rate, set_learning_rate

__all__ = [
    "ALONE",
    "METHODS",
    "CraftedNoise",
    "EpochResult",
    "GaussianNoise",
    "Method",
    "Noise",
    "PeriodResult",
    "Presentation",
    "Ranks",
    "cross_entropy",
    "joined",
    "learning_rate",
    "method",
    "set_learning_rate",
    "train_batch",
    "train_epoch",
]
