"""Attacks on any model, images -> logits: each is called as (model, images, labels) and checks its own result."""

from hiresnn.attacks.adaptive import apgd, autoattack, sa_pgd
from hiresnn.attacks.catalog import ATTACKS, AttackInfo, AttackSpec, parse, register
from hiresnn.attacks.gate import Attack, Model, check, frozen, seeded, verified, with_gradients
from hiresnn.attacks.iterative import fgsm, greedy, pgd, pgd_restarts, unbroken
from hiresnn.attacks.losses import LOSSES, LossGradient, WorstCandidates, best_of, loss_gradient, over_draws, transfer
from hiresnn.attacks.rounding import rounds, through_rounding
from hiresnn.attacks.search import random_noise, square
from hiresnn.calls import parse_eps
from hiresnn.checks import require_batch as require_images

__all__ = [
    "ATTACKS",
    "LOSSES",
    "Attack",
    "AttackInfo",
    "AttackSpec",
    "LossGradient",
    "Model",
    "WorstCandidates",
    "apgd",
    "autoattack",
    "best_of",
    "check",
    "fgsm",
    "frozen",
    "greedy",
    "loss_gradient",
    "over_draws",
    "parse",
    "parse_eps",
    "pgd",
    "pgd_restarts",
    "random_noise",
    "register",
    "require_images",
    "rounds",
    "sa_pgd",
    "seeded",
    "square",
    "through_rounding",
    "transfer",
    "unbroken",
    "verified",
    "with_gradients",
]
