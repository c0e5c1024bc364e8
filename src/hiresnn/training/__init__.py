"""Training: one loop (Algorithm 1), methods as data, noise, a step schedule, several processes."""

from hiresnn.training.epochs import PRECISIONS, Schedule, Selection, Training
from hiresnn.training.fit import FitResult, fit
from hiresnn.training.loop import PeriodResult, train_batch
from hiresnn.training.losses import (
    Distillation,
    MembraneDistance,
    MembraneOverlap,
    Presentation,
    consistent,
    cross_entropy,
    sparse_gradients,
    trades,
)
from hiresnn.training.methods import ANN_TRAININGS, METHODS, Method, ann_method, method
from hiresnn.training.noise import (
    Adversarial,
    CraftedNoise,
    GaussianNoise,
    MemoryNoise,
    Noise,
    NoiseInTime,
    RateTwin,
    TwinNoise,
)
from hiresnn.training.ranks import ALONE, Ranks, joined
from hiresnn.training.weights import Average, orthogonalise, rounded

__all__ = [
    "ALONE",
    "ANN_TRAININGS",
    "METHODS",
    "PRECISIONS",
    "Adversarial",
    "Average",
    "CraftedNoise",
    "Distillation",
    "FitResult",
    "GaussianNoise",
    "MembraneDistance",
    "MembraneOverlap",
    "MemoryNoise",
    "Method",
    "Noise",
    "NoiseInTime",
    "PeriodResult",
    "Presentation",
    "Ranks",
    "RateTwin",
    "Schedule",
    "Selection",
    "Training",
    "TwinNoise",
    "ann_method",
    "consistent",
    "cross_entropy",
    "fit",
    "joined",
    "method",
    "orthogonalise",
    "rounded",
    "sparse_gradients",
    "trades",
    "train_batch",
]
