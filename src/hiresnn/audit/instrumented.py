"""The audited network: its passes are counted, its draws averaged, and gradients pass through its roundings."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from hiresnn.attacks import Model, frozen, seeded
from hiresnn.attacks.losses import summed_steps
from hiresnn.attacks.rounding import rounds, through_rounding
from hiresnn.audit.behaviour import Behaviour, final_checks, fingerprint, observe, weights_of
from hiresnn.audit.card import Check
from hiresnn.audit.worst_case import Cost
from hiresnn.errors import HiresnnError, UsageError, in_a_line
from hiresnn.foreign import require_adapter
from hiresnn.neurons import gradient_rule, takes_rule
from hiresnn.neurons.rules import rule_from_text

OWN = "own"  # the gradient rule that the network came with, used exactly as it is
ROUNDING = "through-rounding"
"""The network's own rule, with logits divided by `scale` and, where the forward pass rounds, gradients that pass
straight through the rounding (BPDA)."""
DRAWS = 10  # passes over which logits and gradients of a random network are averaged (EOT, Athalye et al. 2018)
SATURATED = 64.0
"""Median gap of the two largest logits above which the gradient of the cross-entropy underflows in float32."""
RESCALED_GAP = 4.0
"""Median gap to which such logits are scaled down."""


class InstrumentedModel(nn.Module):
    """Any model, images [B, C, H, W] in [0, 1] -> logits [B, K], as the audit calls it.

    Every call gets a copy of the images. The model is called in eval mode, and its mode is restored afterwards.

    Args:
        images: a few images on which its behaviour is observed.
        draws: passes over which a random network is averaged.

    Attributes:
        rounds: whether the forward pass rounds; under any rule but OWN gradients go straight through (BPDA).
        scale: what logits are divided by under any rule but OWN: the timesteps of a network that sums over time, and
            more where logits are so large that the cross-entropy loses its gradient.
        saturated: whether logits are so large that the cross-entropy has no gradient under OWN.
        cost: the cost of everything since `measured` was entered.
        digest: identifies the network by its answers; None if they are not repeatable.

    Raises:
        UsageError: the model fails, or its answers are not logits.
    """

    def __init__(self, model: Model, images: Tensor, *, draws: int = DRAWS) -> None:
        super().__init__()
        require_adapter(model)
        self.model, self.looked_at, self.cost = model, images, Cost()
        self.calls, self.written, self.scaled = 0, False, False
        self.weights = weights_of(model)
        with frozen(self):
            self.behaviour: Behaviour = observe(self._call, images)
            with seeded(0):
                self.rounds = rounds(self._call, images)
        first = self.behaviour.logits
        self.digest = fingerprint([("logits", first)]) if self.behaviour.repeatable else None
        self.classes, self.random = first.shape[1], self.behaviour.random
        self.draws = draws if self.random else 1
        typical = float(first.topk(2, 1).values.diff(dim=1).abs().nan_to_num(0, 0, 0).median())
        self.saturated = typical > SATURATED
        self.scale = max(float(summed_steps(model)), typical / RESCALED_GAP if self.saturated else 0.0)

    def _call(self, images: Tensor) -> Tensor:
        """One call of the network on a copy of the images; a failure of the user's code becomes a UsageError."""
        self.calls += 1
        shown = images.clone()
        if shown.requires_grad:
            # A row that is not finite has no useful gradient, and must not spoil the image.
            shown.register_hook(lambda gradient: gradient.nan_to_num(0, 0, 0))  # type: ignore[no-untyped-call]
        version = shown._version
        try:
            logits = self.model(shown)
        except HiresnnError:
            raise
        except (Exception, SystemExit) as error:  # the network is the user's code
            shape = " x ".join(str(size) for size in images.shape[1:])
            what = "ended the program" if isinstance(error, SystemExit) else "failed"
            raise UsageError(
                f"the network {what} on call {self.calls}, with {len(images)} images of {shape}: "
                f"{in_a_line(error)}; correct the network (--debug shows where)."
            ) from error
        self.written |= shown._version != version
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] in float32, averaged over `draws` passes."""
        self.cost.forward += self.draws * len(images)
        if self.draws == 1:
            logits = self._call(images).float()
        elif self.behaviour.independent_draws:
            logits = self._call(images.repeat(self.draws, 1, 1, 1)).float().view(self.draws, len(images), -1).mean(0)
        else:
            logits = torch.stack([self._call(images).float() for _ in range(self.draws)]).mean(0)
        self.cost.nonfinite += int((~torch.isfinite(logits)).any(1).sum())
        if self.scaled:
            logits = logits / self.scale
        if images.requires_grad and torch.is_grad_enabled():
            # Without a path to the images, autograd fails instead of returning a zero gradient.
            logits = logits + 0 * images.flatten(1).sum(1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)  # type: ignore[no-untyped-call]
        return logits

    def _count_backward(self, gradient: Tensor) -> None:
        self.cost.backward += self.draws * len(gradient)

    def takes(self, rule: str) -> bool:
        """Whether the network can be attacked under that gradient rule."""
        if rule in (OWN, ROUNDING):
            return rule == OWN or self.rounds or self.saturated
        return takes_rule(self, rule_from_text(rule))

    @contextmanager
    def under(self, rule: str) -> Iterator[None]:
        """Apply a gradient rule inside the block; any but OWN also passes roundings and divides logits by `scale`."""
        before, self.scaled = self.scaled, rule != OWN
        with ExitStack() as stack:
            stack.callback(setattr, self, "scaled", before)
            if rule != OWN and self.rounds:
                stack.enter_context(through_rounding())
            if rule not in (OWN, ROUNDING):
                stack.enter_context(gradient_rule(self, rule_from_text(rule)))
            yield

    @contextmanager
    def measured(self, seed: int) -> Iterator[Cost]:
        """Measure the cost of the block, which draws from `seed`; torch's generators are restored afterwards."""
        self.cost, started = Cost(), time.monotonic()
        with seeded(seed):
            yield self.cost
        self.cost.seconds = time.monotonic() - started

    def checks(self, nonfinite: int) -> list[Check]:
        """All checks, made at the end of an audit in which `nonfinite` rows of logits were not finite."""
        nonfinite += int((~torch.isfinite(self.behaviour.logits)).any(1).sum())
        with frozen(self):
            same = self.weights == weights_of(self.model)
            final = final_checks(self._call, self.looked_at, self.behaviour, same, self.written, nonfinite)
        return [*self.behaviour.checks, *final]


def seed_of(seed: int, key: str) -> int:
    """The seed of one unit of work, which depends on its key alone."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "little") >> 1
