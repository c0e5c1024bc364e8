"""Training: one loop (Algorithm 1), methods as data, noise, a step schedule, several processes."""

from hiresnn.training.adversarial import Adversarial, NoiseInTime
from hiresnn.training.average import Average
from hiresnn.training.epochs import PRECISIONS, Training
from hiresnn.training.fit import FitResult, fit
from hiresnn.training.loop import EpochResult, PeriodResult, train_batch, train_epoch
from hiresnn.training.methods import (
    ANN_TRAININGS,
    METHODS,
    Method,
    Presentation,
    ann_method,
    cross_entropy,
    method,
    trades,
)
from hiresnn.training.noise import CraftedNoise, GaussianNoise, Noise
from hiresnn.training.ranks import ALONE, Ranks, joined
from hiresnn.training.schedule import Schedule
from hiresnn.training.selection import Selection

__all__ = [
    "ALONE",
    "ANN_TRAININGS",
    "METHODS",
    "PRECISIONS",
    "Adversarial",
    "Average",
    "CraftedNoise",
    "EpochResult",
    "FitResult",
    "GaussianNoise",
    "Method",
    "Noise",
    "NoiseInTime",
    "PeriodResult",
    "Presentation",
    "Ranks",
    "Schedule",
    "Selection",
    "Training",
    "ann_method",
    "cross_entropy",
    "fit",
    "joined",
    "method",
    "trades",
    "train_batch",
    "train_epoch",
]
