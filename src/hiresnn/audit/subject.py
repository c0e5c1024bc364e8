"""The network under audit: its passes counted, its draws averaged, its roundings let through."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiresnn.attacks import Model, seeded
from hiresnn.attacks.rounding import rounds, through_rounding
from hiresnn.errors import UsageError
from hiresnn.neurons import gradient_rule, takes_rule
from hiresnn.neurons.rules import rule_from_text

OWN = "own"
"""The rule that a network came with."""
ROUNDING = "through-rounding"
"""The own rule, with gradients carried straight through whatever rounds in the forward pass."""
DRAWS = 10
"""Passes that a random network's logits and gradients are averaged over (EOT, Athalye et al. 2018)."""

SATURATED, TAMED = 64.0, 4.0
"""Difference of the two largest logits from which float32 loses the cross-entropy's gradient, and what it becomes."""


@dataclass
class Spent:
    """Passes, counted in images, and seconds."""

    forward: int = 0
    backward: int = 0
    seconds: float = 0.0


class Audited(nn.Module):
    """Any model, images -> logits, as the audit shows images to it.

    Attributes:
        random: whether two passes over the same images differ.
        draws: passes averaged; the loss of the mean logits is what an attack then climbs.
        shrink: what logits are divided by under any rule but the own one; above 1 only where they are so large that the
            cross-entropy has lost its gradient.
        answers: digest of the logits of `images` under a fixed seed, by which another network is known; None where two
            passes differ even so.
        rounds: whether the forward pass rounds; under any rule but the own one gradients go straight through (BPDA).
    """

    def __init__(self, model: Model, images: Tensor, *, draws: int = DRAWS) -> None:
        super().__init__()
        self.model = model
        if isinstance(model, nn.Module):
            model.eval()
        self.spent = Spent()
        with torch.no_grad(), seeded(0):
            first, second = (model(images) for _ in range(2))
            _check(first, images)
            twice = model(torch.cat([images, images]))
        with torch.no_grad(), seeded(0):
            again = model(images)
        self.answers = fingerprint([("logits", first)]) if torch.equal(first, again) else None
        self.classes = first.shape[1]
        self.random = _differ(first, second)
        self.each = _differ(*twice.chunk(2))  # every image of a batch draws for itself, so draws can be one batch
        self.draws = draws if self.random else 1
        self.rounds = rounds(model, images)
        typical = _margin(first)
        self.shrink = typical / TAMED if typical > SATURATED else 1.0
        self.shrunk = False

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] in float32, the mean of `draws` passes."""
        self.spent.forward += self.draws * len(images)
        if self.draws == 1:
            logits = self.model(images).float()
        elif self.each:
            logits = self.model(images.repeat(self.draws, 1, 1, 1)).float().view(self.draws, len(images), -1).mean(0)
        else:
            logits = torch.stack([self.model(images).float() for _ in range(self.draws)]).mean(0)
        if self.shrunk:
            logits = logits / self.shrink
        if images.requires_grad and torch.is_grad_enabled():
            logits = logits + 0 * images.flatten(1).sum(1, keepdim=True)  # no path to the images is a gradient of zero
        if logits.requires_grad:
            logits.register_hook(self._went_back)  # type: ignore[no-untyped-call]
        return logits

    def _went_back(self, gradient: Tensor) -> None:
        self.spent.backward += self.draws * len(gradient)

    def takes(self, rule: str) -> bool:
        """Whether the backward pass of its neurons can be replaced by that rule."""
        if rule == OWN:
            return True
        if rule == ROUNDING:
            return self.rounds
        return takes_rule(self, rule_from_text(rule))

    @contextmanager
    def under(self, rule: str) -> Iterator[None]:
        """The rule in force for a while; any but the own one lets gradients through roundings and saturated logits."""
        before, self.shrunk = self.shrunk, rule != OWN
        with ExitStack() as entered:
            entered.callback(setattr, self, "shrunk", before)
            if rule != OWN and self.rounds:
                entered.enter_context(through_rounding())
            if rule not in (OWN, ROUNDING):
                entered.enter_context(gradient_rule(self, rule_from_text(rule)))
            yield

    @contextmanager
    def measured(self, seed: int) -> Iterator[Spent]:
        """Passes and seconds of what happens inside, which draws from `seed`; torch's own state is put back."""
        self.spent, started = Spent(), time.monotonic()
        with seeded(seed):
            yield self.spent
        self.spent.seconds = time.monotonic() - started

    def fingerprint(self) -> str | None:
        """SHA-256 (hexadecimal) over names and values of all weights and buffers; None where there are none."""
        return fingerprint(self.model.state_dict().items()) if isinstance(self.model, nn.Module) else None


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """SHA-256 (hexadecimal) over named tensors; None for none."""
    digest, any_seen = hashlib.sha256(), False
    for name, tensor in tensors:
        any_seen = True
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest() if any_seen else None


def seed_of(seed: int, key: str) -> int:
    """The seed of one piece of work: the same whatever ran before it."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "little") >> 1


def digest_of(rows: Tensor) -> str:
    """12 hexadecimal digits that name a choice of images."""
    return hashlib.sha256(rows.cpu().numpy().tobytes()).hexdigest()[:12]


def _margin(logits: Tensor) -> float:
    """The median, over images, of the difference between the two largest logits."""
    top = logits.float().topk(2, 1).values
    return float((top[:, 0] - top[:, 1]).median())


def _differ(logits: Tensor, others: Tensor) -> bool:
    """Whether they differ by more than rounding."""
    return not torch.allclose(logits.float(), others.float(), rtol=1e-3, atol=1e-4 * float(logits.abs().max()))


def _check(logits: object, images: Tensor) -> None:
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[0] != len(images) or logits.shape[1] < 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"the network answered {len(images)} images with {got}; an audit needs logits [{len(images)}, classes]. "
            "A network that unrolls time outside itself needs an adapter, see docs/foreign.md."
        )
    if not torch.isfinite(logits).all():
        raise UsageError("the network's logits are not finite on clean images; an audit would say nothing.")
