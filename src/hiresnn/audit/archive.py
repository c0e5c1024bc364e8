"""The adversarial images of an audit: written as an archive, and checked against the network and the card."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from hiresnn.attacks import Model, frozen
from hiresnn.attacks.gate import ROUNDING
from hiresnn.audit.behaviour import InstrumentedModel, weights_of
from hiresnn.audit.card import Card, Share, share
from hiresnn.audit.screening import Record
from hiresnn.audit.sweep import AuditResult
from hiresnn.eps import parse_bound
from hiresnn.errors import RunError
from hiresnn.metrics import correct

FIELDS = {"index": "i", "eps": "f", "label": "i", "adversarial": "f", "clean": "f"}
"""Array of the archive -> its kind of number. One row per broken image: its position among the audited images, the eps
of the smallest bound that broke it (inf for none), its class, and the two images in float32, [N, C, H, W]."""
TOLERANCE = 0.02  # percentage points by which a rounded percentage may differ
CHANCE = 0.25  # share of the images that a random network may answer otherwise: the audit took the worst of many draws


class Verification(NamedTuple):
    """How many adversarial images were checked, and every problem, as a sentence."""

    images: int
    problems: tuple[str, ...]


def adversarial_archive(result: AuditResult) -> bytes:
    """The broken images as a compressed .npz, with the arrays of `FIELDS`."""
    worst, images = result.worst, result.images
    index = sorted(worst.adversarial)
    empty = np.zeros((0, *images.shape[1:]), "f4")
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        index=np.asarray(index, np.int64),
        eps=np.asarray([worst.bounds[int(worst.level[image])].eps for image in index], np.float64),
        label=result.labels[index].cpu().numpy(),
        adversarial=np.stack([worst.adversarial[image].numpy() for image in index]) if index else empty,
        clean=images[index].cpu().numpy(),
    )
    return buffer.getvalue()


def read_archive(path: Path) -> Record:
    """The arrays of an adversarial.npz; raises RunError if it is missing, damaged or holds other arrays."""
    advice = "name the folder of a complete audit"
    if not path.is_file():
        raise RunError(f"{path} does not exist, so there are no adversarial images to check; {advice}.")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = dict(file.items())
    except (OSError, ValueError, BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise RunError(f"{path} is damaged ({error}); {advice}.") from None
    rows = {values.shape[:1] for values in arrays.values()}
    shapes = {values.shape for name, values in arrays.items() if name in ("adversarial", "clean")}
    numbers = {name: values.dtype.kind for name, values in arrays.items()}
    if numbers != FIELDS or len(rows) != 1 or () in rows or len(shapes) != 1 or len(next(iter(shapes))) != 4:
        raise RunError(f"{path} does not hold the arrays {', '.join(FIELDS)} with one row per image; {advice}.")
    return arrays


@torch.no_grad()
def verify(card: Card, arrays: Record, model: Model, *, batch_size: int = 200) -> Verification:
    """Check every adversarial image of `read_archive` against the network, its bound and the counts of the card."""
    clean, adversarial = (torch.from_numpy(arrays[name]).float() for name in ("clean", "adversarial"))
    labels, eps, count = torch.from_numpy(arrays["label"]).long(), arrays["eps"], len(arrays["index"])
    problems = []

    def require(good: Tensor, fault: str, allowed: float = 0.0) -> None:
        bad = int((~good).sum())
        if bad > allowed * count:
            problems.append(f"{bad} of {count} images {fault}")

    if card.subject.fingerprint not in (None, weights_of(model)):
        problems.append("the network's weights are not those that the card names")
    if count:
        require(torch.isfinite(adversarial).flatten(1).all(1), "have pixels that are not finite")
        require(((adversarial >= 0) & (adversarial <= 1)).flatten(1).all(1), "have pixels outside [0, 1]")
        distance = (adversarial - clean).abs().flatten(1).amax(1)
        require(distance.double() <= torch.from_numpy(eps) + ROUNDING, "are further from the clean image than eps")
        instrumented = InstrumentedModel(model, clean)
        with frozen(instrumented), instrumented.measured(0):
            batches = zip(*(torch.split(part, batch_size) for part in (clean, adversarial, labels)), strict=True)
            answers = [(correct(instrumented(a), y), correct(instrumented(b), y)) for a, b, y in batches]
        before, after = (torch.cat(part) for part in zip(*answers, strict=True))
        chance = CHANCE if card.subject.random else 0.0
        require(before, "are misclassified without an attack", chance)
        require(~after, "are classified correctly although the card counts them as broken", chance)
    if len(set(arrays["index"].tolist())) != count or any(not 0 <= i < card.data.images for i in arrays["index"]):
        problems.append("the positions of the images are not distinct positions among the audited images")
    for point in card.curve:
        radius = math.inf if point.eps is None else point.eps
        standing = card.clean.count - int((eps <= radius).sum())
        if standing != point.worst.count:
            problems.append(f"at {point.bound} the images leave {standing} standing, the card says {point.worst.count}")
        if not math.isclose(parse_bound(point.bound).eps, radius, rel_tol=1e-4):
            problems.append(f"the card gives the bound {point.bound} as eps = {point.eps}")
        for name in ("fgsm", "pgd", "noise", "worst"):
            problems += [f"at {point.bound}, {name}: {fault}" for fault in _faults(card, getattr(point, name))]
    problems += [f"clean: {fault}" for fault in _faults(card, card.clean)]
    return Verification(count, tuple(problems))


def _faults(card: Card, stated: Share) -> Iterator[str]:
    """Yield what is wrong with a percentage of a card."""
    if stated.of != card.data.images or stated.count > stated.of:
        yield f"the card counts {stated.count} of {stated.of} images, but {card.data.images} were audited"
        return
    exact = share(stated.count, stated.of)
    if max(abs(getattr(stated, key) - getattr(exact, key)) for key in ("percent", "low", "high")) > TOLERANCE:
        yield (
            f"the card says {stated.percent:g} % ({stated.low:g} to {stated.high:g}), but {stated.count} of "
            f"{stated.of} are {exact.percent:g} % ({exact.low:g} to {exact.high:g})"
        )
