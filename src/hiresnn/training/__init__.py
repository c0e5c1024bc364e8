"""Training: one loop (Algorithm 1), methods as data, noise, a step schedule, several processes."""

from hiresnn.training.adversarial import Adversarial, NoiseInTime
from hiresnn.training.epochs import PRECISIONS, Training
from hiresnn.training.fit import FitResult, fit
from hiresnn.training.loop import PeriodResult, train_batch
from hiresnn.training.losses import Distillation, Presentation, consistent, cross_entropy, sparse_gradients, trades
from hiresnn.training.membrane import MembraneDistance, MembraneOverlap
from hiresnn.training.memory import MemoryNoise
from hiresnn.training.methods import ANN_TRAININGS, METHODS, Method, ann_method, method
from hiresnn.training.noise import CraftedNoise, GaussianNoise, Noise
from hiresnn.training.ranks import ALONE, Ranks, joined
from hiresnn.training.schedule import Schedule
from hiresnn.training.selection import Selection
from hiresnn.training.twin import RateTwin, TwinNoise
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
