"""Training: one loop (Algorithm 1), a method as a small object, a step schedule."""

from hiresnn.training.loop import EpochResult, PeriodResult, train_batch, train_epoch
from hiresnn.training.methods import METHODS, Method, method
from hiresnn.training.ranks import ALONE, Ranks, joined
from hiresnn.training.schedule import learning_rate, set_learning_rate

__all__ = [
    "ALONE",
    "METHODS",
    "EpochResult",
    "Method",
    "PeriodResult",
    "Ranks",
    "joined",
    "learning_rate",
    "method",
    "set_learning_rate",
    "train_batch",
    "train_epoch",
]
