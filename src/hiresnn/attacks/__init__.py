"""Attacks on any model, images -> logits: (model, images, labels) -> images, behind a gate that checks them."""

from hiresnn.attacks.apgd import apgd
from hiresnn.attacks.autoattack import autoattack
from hiresnn.attacks.best_of import Worst, best_of
from hiresnn.attacks.catalog import ATTACKS, AttackInfo
from hiresnn.attacks.eot import over_draws
from hiresnn.attacks.fgsm import fgsm
from hiresnn.attacks.gate import Attack, Model, check, frozen, verified
from hiresnn.attacks.greedy import greedy
from hiresnn.attacks.losses import LOSSES, loss_gradient
from hiresnn.attacks.pgd import pgd
from hiresnn.attacks.random_noise import random_noise
from hiresnn.attacks.restarts import pgd_restarts, unbroken
from hiresnn.attacks.rounding import rounds, through_rounding
from hiresnn.attacks.sa_pgd import sa_pgd
from hiresnn.attacks.seeded import seeded
from hiresnn.attacks.spec import AttackSpec, parse
from hiresnn.attacks.square import square
from hiresnn.attacks.transfer import transfer
from hiresnn.eps import parse_eps

__all__ = [
    "ATTACKS",
    "LOSSES",
    "Attack",
    "AttackInfo",
    "AttackSpec",
    "Model",
    "Worst",
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
    "rounds",
    "sa_pgd",
    "seeded",
    "square",
    "through_rounding",
    "transfer",
    "unbroken",
    "verified",
]
