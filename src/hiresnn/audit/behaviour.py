"""What a network does besides classifying: randomness, memory between calls, and dependence on the batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiresnn.attacks import Model, seeded
from hiresnn.audit.card import Check
from hiresnn.errors import UsageError
from hiresnn.metrics import require_logits

REPEATED, BATCH, CONSTANT = "repeated calls", "batch order and size", "dependence on the image"
FINITE, PRECISION = "finite logits", "precision"
INPUT, WEIGHTS, ANSWERS = "input unchanged", "weights unchanged", "answers unchanged"

FEW = 0.25  # share of images whose logits may change with the batch: another rounding order can move a single spike


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What a few calls on the same images showed, with the checks that these calls decide."""

    logits: Tensor  # under a fixed seed, [B, K] in float32
    repeatable: bool  # two calls under one seed give the same logits, bit for bit
    random: bool  # two calls without a common seed differ
    independent_draws: bool  # a random network draws for each image of a batch separately
    checks: tuple[Check, ...]


@torch.no_grad()
def observe(model: Model, images: Tensor) -> Behaviour:
    """Compare the answers of several calls; raises UsageError where they are not logits [B, K], or never finite."""
    raw = answers(model, images)
    _require_useful(raw, images)
    first, again = raw.float(), answers(model, images).float()
    with seeded(1):
        other = model(images.clone()).float()
        twice = model(torch.cat([images, images])).float()
    stateful, is_random = _differ(first, again), _differ(first, other)
    words = "the same logits"
    if stateful:
        words = (
            "different logits although all random generators were seeded: the network keeps state between calls, or "
            "draws from a generator of its own"
        )
    elif is_random:
        words += " under one seed and different ones under another: the network is random"
    checks = [_check(REPEATED, not stateful, f"two calls on the same images gave {words}")]
    if stateful or is_random:
        checks.append(Check(name=BATCH, result="not checked", detail="the network's answers vary from call to call"))
    else:
        checks.append(_batch_check(model, images, first))
        constant = len(images) > 1 and not _differ(first, first[:1].expand_as(first))
        words = "every image gets the same logits: the network ignores its input" if constant else "logits differ"
        checks.append(_check(CONSTANT, not constant, words))
    if raw.dtype in (torch.float16, torch.bfloat16):
        words = f"the network computes in half precision ({str(raw.dtype).removeprefix('torch.')}): rounding hides "
        checks.append(_check(PRECISION, False, words + "small changes of the logits from gradients"))
    return Behaviour(first, torch.equal(_bits(first), _bits(again)), is_random, _differ(*twice.chunk(2)), tuple(checks))


def answers(model: Model, images: Tensor) -> Tensor:
    """Logits of a copy of the images, with the same seed at every call."""
    with torch.no_grad(), seeded(0):
        return model(images.clone())


def final_checks(
    model: Model, images: Tensor, before: Behaviour, same_weights: bool, written: bool, rows: int
) -> list[Check]:
    """The checks that only the end decides: finite logits, input, weights and answers unchanged.

    Args:
        images, before: the images of `observe`, and what it found.
        same_weights: whether weights and buffers are the same as before. written: whether a call wrote into its images.
        rows: number of rows of logits that were not finite.
    """
    checks = [
        _check(FINITE, not rows, f"{rows:,} rows of logits were not finite; each counts as a wrong answer"
               if rows else "all logits were finite"),
        _check(INPUT, not written, "the network writes into the images that it is given; the audit gave it copies"
               if written else "the network left its input unchanged"),
        _check(WEIGHTS, same_weights, "weights and buffers are the same before and after" if same_weights else
               "weights or buffers changed while the network was only called: it drifts with every call"),
    ]  # fmt: skip
    if before.repeatable:
        same = not _differ(before.logits, answers(model, images).float())
        checks.append(_check(ANSWERS, same, "the same images get the same logits after the audit" if same else
               "the same images get other logits after the audit: the network keeps state between calls"))  # fmt: skip
    return checks


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """SHA-256 in hexadecimal over named tensors; None if there are none."""
    digest, empty = hashlib.sha256(), True
    for name, tensor in tensors:
        empty = False
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return None if empty else digest.hexdigest()


def weights_of(model: Model) -> str | None:
    """Fingerprint of all weights and buffers of a module; None for other callables."""
    if not isinstance(model, nn.Module):
        return None
    return fingerprint((name, value) for name, value in model.state_dict().items() if isinstance(value, Tensor))


def _bits(logits: Tensor) -> Tensor:
    """The float32 logits as integers, in which NaN equals itself."""
    return logits.contiguous().view(torch.int32)


def _batch_check(model: Model, images: Tensor, logits: Tensor) -> Check:
    half = (len(images) + 1) // 2
    reversed_order = answers(model, images.flip(0)).float().flip(0)
    split = torch.cat([answers(model, part).float() for part in torch.split(images, half)])
    for how, changed in (("its order", reversed_order), ("its size", split)):
        rows = int((~_close(logits, changed)).sum())
        classes = int((logits.argmax(1) != changed.argmax(1)).sum())
        if rows > FEW * len(images) or classes > 1:
            words = f"with another batch in {how}, {rows} of {len(images)} images get other logits"
            return _check(BATCH, False, f"{words}: the answers depend on the rest of the batch")
    return _check(BATCH, True, "shuffling and splitting the batch changed no answer")


def _check(name: str, passed: bool, detail: str) -> Check:
    return Check(name=name, result="passed" if passed else "failed", detail=detail)


def _close(logits: Tensor, others: Tensor) -> Tensor:
    """For each row, whether it is equal up to rounding; NaN equals NaN, element by element."""
    largest = logits.nan_to_num(0, 0, 0).abs().max()
    close = torch.isclose(logits, others, rtol=1e-3, atol=1e-4 * float(largest), equal_nan=True)
    return close.all(1)


def _differ(logits: Tensor, others: Tensor) -> bool:
    return not bool(_close(logits, others).all())


def _require_useful(logits: Tensor, images: Tensor) -> None:
    require_logits(logits, len(images))
    if logits.shape[1] < 2:
        raise UsageError(f"the network returns logits {list(logits.shape)}; an audit needs at least 2 classes.")
    if not torch.isfinite(logits).all(1).any():
        words = "check its weights and that it takes pixels in [0, 1]."
        raise UsageError(f"the network's logits are not finite on any clean image; {words}")
