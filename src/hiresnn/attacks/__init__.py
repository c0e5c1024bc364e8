"""Attacks on any model, images -> logits: (model, images, labels) -> images, behind a gate that checks them."""

from hiresnn.attacks.fgsm import fgsm
from hiresnn.attacks.gate import Attack, Model, check, frozen, input_gradient, verified
from hiresnn.attacks.pgd import pgd
from hiresnn.attacks.registry import ATTACKS, AttackSpec, parse
from hiresnn.attacks.transfer import transfer

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackSpec",
    "Model",
    "check",
    "fgsm",
    "frozen",
    "input_gradient",
    "parse",
    "pgd",
    "transfer",
    "verified",
]
