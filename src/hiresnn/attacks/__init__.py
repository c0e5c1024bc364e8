"""Attacks on any model, images -> logits: each is called as (model, images, labels) and checks its own result."""

from hiresnn.attacks.adaptive import apgd, autoattack, momentum, sa_pgd
from hiresnn.attacks.catalog import (
    ATTACKS,
    EVENT_ATTACKS,
    AttackInfo,
    AttackSpec,
    EventAttackSpec,
    parse,
    register,
)
from hiresnn.attacks.discrete import guided, random_moves, search_moves, topk
from hiresnn.attacks.events import Flips, Found, Retiming, checked_events, parse_threat, recount, transport
from hiresnn.attacks.gate import Attack, Model, check, frozen, seeded, verified, with_gradients
from hiresnn.attacks.iterative import fgsm, greedy, pgd, pgd_restarts, unbroken
from hiresnn.attacks.losses import LOSSES, LossGradient, WorstCandidates, best_of, loss_gradient, over_draws, transfer
from hiresnn.attacks.retiming import relaxed
from hiresnn.attacks.rounding import rounds, through_rounding
from hiresnn.attacks.search import random_noise, square
from hiresnn.calls import parse_eps
from hiresnn.checks import require_batch as require_images

__all__ = [
    "ATTACKS",
    "EVENT_ATTACKS",
    "LOSSES",
    "Attack",
    "AttackInfo",
    "AttackSpec",
    "EventAttackSpec",
    "Flips",
    "Found",
    "LossGradient",
    "Model",
    "Retiming",
    "WorstCandidates",
    "apgd",
    "autoattack",
    "best_of",
    "check",
    "checked_events",
    "fgsm",
    "frozen",
    "greedy",
    "guided",
    "loss_gradient",
    "momentum",
    "over_draws",
    "parse",
    "parse_eps",
    "parse_threat",
    "pgd",
    "pgd_restarts",
    "random_moves",
    "random_noise",
    "recount",
    "register",
    "relaxed",
    "require_images",
    "rounds",
    "sa_pgd",
    "search_moves",
    "seeded",
    "square",
    "through_rounding",
    "topk",
    "transfer",
    "transport",
    "unbroken",
    "verified",
    "with_gradients",
]
