"""AutoAttack (Croce and Hein 2020), as the optional package pyautoattack runs it: the number others report."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.gate import Model, check, frozen
from hiresnn.attacks.options import check_options
from hiresnn.attacks.seeded import seeded
from hiresnn.errors import UsageError

VERSIONS = {"standard": 4, "plus": 4, "rand": 3}
"""Version -> the classes that its difference of logits ratio needs."""
TARGETS = 9
"""Classes aimed at in turn by its targeted attacks, or as many as there are."""


def autoattack(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    version: str = "standard",
    seed: int = 0,
) -> Float[Tensor, "batch channel height width"]:
    """The parameter-free ensemble in the L-infinity ball: each attack on the images that still stand.

    "standard" is APGD with cross-entropy, targeted APGD, targeted FAB and Square; "plus" adds APGD with DLR, FAB and
    restarts; "rand", for a model that draws, is APGD with cross-entropy and with DLR over 20 draws. All but Square
    follow the gradient rule in force. The package's log is silenced meanwhile.

    Args:
        model, images, labels, eps: as in `pgd`.
        version: "standard", "plus" or "rand".
        seed: of its draws; torch's global generators are put back afterwards.

    Returns:
        Adversarial images, verified; where none was found, the image itself.

    Raises:
        UsageError: the package is missing, a value out of range, or too few classes for the version.
    """
    check_options("autoattack", eps=eps)
    if version not in VERSIONS:
        raise UsageError(f"autoattack: version is {version!r}; choose one of {', '.join(VERSIONS)}.")
    made = _package()
    if not len(images) or not eps:
        return images.detach().clone()

    def logits(shown: Tensor) -> Tensor:
        return model(shown).float()

    with frozen(model), seeded(seed), _quiet():
        with torch.no_grad():
            classes = logits(images[:1]).shape[1]
        if classes < VERSIONS[version]:
            raise UsageError(
                f"autoattack: version {version!r} needs {VERSIONS[version]} classes for its DLR loss, the model has "
                f"{classes}; use apgd with loss=margin."
            )
        adversary = made.AutoAttack(logits, eps=eps, version=version, seed=seed, device=images.device)
        # Its own targets are those of ten classes; with fewer it would index past the last logit.
        adversary.fab.n_target_classes = adversary.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)
        found, _ = adversary.run_standard_evaluation(images.detach().float(), labels, batch_size=len(images))
    adversarial: Tensor = found.to(images.dtype)
    check(images, adversarial, eps=eps)
    return adversarial


def _package() -> Any:
    """The package pyautoattack, imported when it is first needed."""
    try:
        return importlib.import_module("pyautoattack")
    except ImportError:
        raise UsageError(
            "autoattack needs the package pyautoattack, which is not installed; "
            "install it with: pip install 'pyautoattack>=0.2'"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the package's log, and put back the trace function (a debugger's, a coverage tool's) that it clears."""
    log, trace = logging.getLogger("auto-attack"), sys.gettrace()
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
        sys.settrace(trace)
