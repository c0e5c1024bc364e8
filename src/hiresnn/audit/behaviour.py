"""The network as the audit calls it: passes are counted, random draws averaged, and gradients pass through roundings.

A few calls show what it does besides classifying: randomness, memory between calls, and dependence on the batch.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from hiresnn.attacks import Model, frozen, seeded
from hiresnn.attacks.losses import loss_steps, summed_steps
from hiresnn.attacks.rounding import rounds, through_rounding
from hiresnn.audit.card import ANSWERS, BATCH, CONSTANT, FINITE, INPUT, PRECISION, REPEATED, WEIGHTS, Check
from hiresnn.checks import fingerprint, require_logits
from hiresnn.errors import UsageError, user_code
from hiresnn.foreign import require_adapter
from hiresnn.network.rate_form import RateForm, has_rate_form
from hiresnn.neurons import gradient_rule, takes_rule
from hiresnn.neurons.rules import rule_from_text

OWN = "own"  # the gradient rule that the network came with, used exactly as it is (an adapter on time-mean logits)
ROUNDING = "through-rounding"  # the same, with logits divided by `scale`, and straight through roundings (BPDA)
EOT_SAMPLES = 10  # passes over which the logits of a random network are averaged; of its gradients see `draws.py`
SATURATED = 64.0  # median gap of the two largest logits above which the cross-entropy loses its gradient in float32
ROUNDED_OFF = 16.6  # gap of two logits from which float32 rounds the probability of the larger one to 1
RESCALED_GAP = 4.0  # median gap to which such logits are scaled down
OBSERVED = 16  # images on which the behaviour of a network is observed
FEW = 0.25  # share of images whose logits may change with the batch: another rounding order can move a single spike


def outcome(name: str, passed: bool, good: str, bad: str) -> Check:
    """A check that was made, with the detail for its result."""
    return Check(name=name, result="passed" if passed else "failed", detail=good if passed else bad)


def _close(logits: Tensor, others: Tensor) -> Tensor:
    """For each row, whether it is equal up to rounding; NaN equals NaN, element by element."""
    largest = logits.nan_to_num(0, 0, 0).abs().max()
    return torch.isclose(logits, others, rtol=1e-3, atol=1e-4 * float(largest), equal_nan=True).all(1)


def weights_of(model: Model) -> str | None:
    """Fingerprint of all weights and buffers of a module; None for other callables."""
    if not isinstance(model, nn.Module):
        return None
    return fingerprint((name, value) for name, value in model.state_dict().items() if isinstance(value, Tensor))


@dataclass
class Cost:
    """Image-bound pairs attacked, passes in images, wall-clock time, and rows of logits that were not finite."""

    attacked: int = 0
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    nonfinite: int = 0

    def add(self, other: Cost) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class InstrumentedModel(nn.Module):
    """Any model, images [B, C, H, W] in [0, 1] -> logits [B, K], as the audit calls it.

    Every call gets a copy of the images. The model is called in eval mode, and its mode is restored afterwards. It is
    observed on the first `OBSERVED` of `images`; UsageError says that it fails, or that its answers are not logits.
    `random` says that it draws, so that `draws` passes are averaged, or `gradient_draws` where it is attacked;
    `rounds`, that gradients under any rule but OWN go straight through roundings (BPDA).

    Attacks on a network that has a `RateForm` see that form, with the same logits and gradients in one pass instead of
    T. Whatever is counted, on clean and on adversarial images, are the answers of the spikes.
    """

    def __init__(self, model: Model, images: Tensor, *, draws: int = EOT_SAMPLES) -> None:
        super().__init__()
        require_adapter(model)
        self.model, self.observed = model, images[:OBSERVED]
        self.cost = Cost()  # of everything since `measured` was entered
        self.calls, self.written, self.divisor, self.attacked = 0, False, 1.0, False
        self.weights = weights_of(model)
        with frozen(self), torch.no_grad():
            self._observe(self.observed)
        with frozen(self), seeded(0):
            self.rounds = rounds(self._call, self.observed)
        logits, self.classes, self.draws = self.logits, self.logits.shape[1], draws if self.random else 1
        self.gradient_draws = self.draws
        gaps = logits.topk(2, 1).values.diff(dim=1).abs().nan_to_num(0, 0, 0)[:, 0]
        gap = float(gaps.median())
        self.own_scale = float(loss_steps(model))  # what logits are divided by under OWN
        self.rounded_off = int((gaps / self.own_scale > ROUNDED_OFF).sum())  # images without their class in a gradient
        self.saturated = gap / self.own_scale > SATURATED
        # What logits are divided by under any rule but OWN: the timesteps of a sum over time, more if saturated.
        self.scale = max(float(summed_steps(model)), gap / RESCALED_GAP if self.saturated else 0.0)

    def _call(self, images: Tensor) -> Tensor:
        self.calls += 1
        images = images.clone()
        if images.requires_grad:
            # A row that is not finite has no useful gradient, and must not spoil the image.
            images.register_hook(lambda gradient: gradient.nan_to_num(0, 0, 0))  # type: ignore[no-untyped-call]
        version = images._version
        shape = " x ".join(str(size) for size in images.shape[1:])
        with user_code(f"call {self.calls} of the network, with {len(images)} images of {shape},"):
            logits = (self.rate_form if self.attacked else self.model)(images)
        self.written |= images._version != version
        return logits

    @cached_property
    def rate_form(self) -> Model:
        """The form that attacks see: the network itself if it has no other."""
        return RateForm(self.model) if has_rate_form(self.model) else self.model

    def _observe(self, images: Tensor) -> None:
        raw = self._answers(images)
        require_logits(raw, len(images))
        if raw.shape[1] < 2:
            raise UsageError(f"the network returns logits {list(raw.shape)}; an audit needs at least 2 classes.")
        if not torch.isfinite(raw).all(1).any():
            raise UsageError("the network's logits are not finite on any clean image; check its weights.")
        self.logits, again = raw.float(), self._answers(images).float()  # [B, K]
        with seeded(1):
            reseeded = self._call(images).float()
            doubled = self._call(torch.cat([images, images])).float()
        bits, others = (logits.contiguous().view(torch.int32) for logits in (self.logits, again))
        self.repeatable = torch.equal(bits, others)  # under one seed, bit for bit, also of NaN
        self.random = not _close(self.logits, reseeded).all()
        self.independent_draws = not _close(*doubled.chunk(2)).all()  # for each image of a batch separately
        stateful = not _close(self.logits, again).all()
        same = "two calls on the same images gave the same logits"
        same += " under one seed and different ones under another: the network is random" if self.random else ""
        keeps_state = (
            "two calls on the same images gave different logits although all random generators were seeded: the "
            "network keeps state between calls, or draws from a generator of its own"
        )
        self.observations = [outcome(REPEATED, not stateful, same, keeps_state)]
        if stateful or self.random:
            detail = "the network's answers vary from call to call"
            self.observations.append(Check(name=BATCH, result="not checked", detail=detail))
        else:
            self.observations.append(self._batch_check(images))
            constant = len(images) > 1 and bool(_close(self.logits, self.logits[:1].expand_as(self.logits)).all())
            ignores = "every image gets the same logits: the network ignores its input"
            self.observations.append(outcome(CONSTANT, not constant, "logits differ", ignores))
        if raw.dtype in (torch.float16, torch.bfloat16):
            detail = f"the network computes in half precision ({str(raw.dtype).removeprefix('torch.')})"
            detail += ": rounding hides small changes of the logits from gradients"
            self.observations.append(Check(name=PRECISION, result="failed", detail=detail))

    def _answers(self, images: Tensor) -> Tensor:
        with torch.no_grad(), seeded(0):
            return self._call(images)

    @cached_property
    @torch.enable_grad()
    def digest(self) -> str | None:
        """Identifies the network by its answers and input gradients; None if the answers are not repeatable.

        Networks with the same answers may differ in their gradients, such as by the width of a surrogate, and then fall
        to other attacks. A gradient that is not repeatable identifies nothing.
        """
        if not self.repeatable:
            return None
        identity = [("logits", self.logits)]
        for rule in filter(self.takes, (OWN, ROUNDING, "arctan")):
            pair = []
            for _ in range(2):
                images = self.observed.clone().requires_grad_()
                with frozen(self), seeded(0), self.under(rule):
                    logits = self(images)
                weights = torch.linspace(1, -1, logits.shape[1], device=logits.device)
                pair.append(torch.autograd.grad((logits * weights).sum(), images)[0].nan_to_num(0, 0, 0))
            identity += [(rule, pair[0])] if torch.equal(*pair) else []
        return fingerprint(identity)

    def _batch_check(self, images: Tensor) -> Check:
        reversed_order = self._answers(images.flip(0)).float().flip(0)
        split = torch.cat([self._answers(part).float() for part in torch.split(images, (len(images) + 1) // 2)])
        for change, changed in (("its order", reversed_order), ("its size", split)):
            rows = int((~_close(self.logits, changed)).sum())
            classes = int((self.logits.argmax(1) != changed.argmax(1)).sum())
            if rows > FEW * len(images) or classes > 1:
                detail = f"with another batch in {change}, {rows} of {len(images)} images get other logits"
                return outcome(BATCH, False, "", f"{detail}: the answers depend on the rest of the batch")
        return outcome(BATCH, True, "shuffling and splitting the batch changed no answer", "")

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K] in float32, averaged over `draws` passes, or `gradient_draws` where an attack asks."""
        draws = self.gradient_draws if self.attacked else self.draws
        self.cost.forward += draws * len(images)
        if draws == 1:
            logits = self._call(images).float()
        elif self.independent_draws:
            logits = self._call(torch.cat([images] * draws)).float().view(draws, len(images), -1).mean(0)
        else:
            logits = torch.stack([self._call(images).float() for _ in range(draws)]).mean(0)
        self.cost.nonfinite += int((~torch.isfinite(logits)).any(1).sum())
        if self.divisor != 1.0:
            logits = logits / self.divisor
        if images.requires_grad and torch.is_grad_enabled():
            # Without a path to the images autograd fails.
            logits = logits + 0 * images.flatten(1).sum(1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(partial(self._count_backward, draws))  # type: ignore[no-untyped-call]
        return logits

    def _count_backward(self, draws: int, gradient: Tensor) -> None:
        self.cost.backward += draws * len(gradient)

    @torch.no_grad()
    def votes(self, images: Tensor, count: int) -> Int64[Tensor, "draw image"]:
        """Classes that `count` single passes answer, on the CPU; -1 where logits are not finite."""
        self.cost.forward += count * len(images)
        logits = torch.stack([self._call(images).float() for _ in range(count)])
        return logits.argmax(2).masked_fill(~torch.isfinite(logits).all(2), -1).cpu()

    @contextmanager
    def averaging(self) -> Iterator[None]:
        """Restore `gradient_draws` after the block."""
        before = self.gradient_draws
        try:
            yield
        finally:
            self.gradient_draws = before

    def takes(self, rule: str) -> bool:
        if rule in (OWN, ROUNDING):
            return rule == OWN or self.rounds or self.saturated
        return takes_rule(self, rule_from_text(rule))

    def refusal(self, rule: str) -> str | None:
        """Why the network cannot take a gradient rule; None if it can."""
        try:
            with gradient_rule(self, rule_from_text(rule)):
                return None
        except UsageError as error:
            return str(error)

    @contextmanager
    def under(self, rule: str) -> Iterator[None]:
        """Attack under a gradient rule inside; any but OWN also passes roundings and divides logits by `scale`."""
        with ExitStack() as stack:
            divisor = self.own_scale if rule == OWN else self.scale
            for name, value in (("divisor", divisor), ("attacked", True)):
                stack.callback(setattr, self, name, getattr(self, name))
                setattr(self, name, value)
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
        rows = nonfinite + int((~torch.isfinite(self.logits)).any(1).sum())
        infinite = f"{rows:,} rows of logits were not finite; each counts as a wrong answer"
        writes = "the network writes into the images that it is given; the audit gave it copies"
        drifts = "weights or buffers changed while the network was only called: it drifts with every call"
        intact = self.weights == weights_of(self.model)
        checks = [
            *self.observations,
            outcome(FINITE, not rows, "all logits were finite", infinite),
            outcome(INPUT, not self.written, "the network left its input unchanged", writes),
            outcome(WEIGHTS, intact, "weights and buffers are the same before and after", drifts),
        ]
        if self.repeatable:
            with frozen(self):
                same = bool(_close(self.logits, self._answers(self.observed).float()).all())
            detail = "the same images get the same logits after the audit"
            other = "the same images get other logits after the audit: the network keeps state between calls"
            checks.append(outcome(ANSWERS, same, detail, other))
        return checks


def seed_of(seed: int, key: str) -> int:
    """The seed of the unit of work with that key."""
    return int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "little") >> 1
