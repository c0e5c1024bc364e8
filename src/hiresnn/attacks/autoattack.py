"""AutoAttack (Croce and Hein 2020) as the optional package pyautoattack runs it, for numbers comparable with others."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from hiresnn.attacks.gate import Images, Labels, Model, checked, seeded
from hiresnn.errors import UsageError

CLASSES = {"standard": 4, "plus": 4, "rand": 3}
"""Version -> number of classes that its DLR loss needs."""
TARGETS = 9
"""Number of classes that its targeted attacks try, if the model has that many."""


@checked("autoattack")
def autoattack(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    version: Literal["standard", "plus", "rand"] = "standard",
    seed: int = 0,
) -> Images:
    """The parameter-free ensemble; each attack runs on the images that the earlier ones have not broken.

    All attacks but Square follow the gradient rule in force. The package's log is silenced meanwhile.

    Args:
        version: "standard" is APGD with cross-entropy, targeted APGD, targeted FAB and Square; "plus" adds APGD with
            DLR, FAB and restarts; "rand", for a random model, is APGD with cross-entropy and with DLR over 20 draws.
        seed: of the package's draws; torch's global generators are restored afterwards.

    All else is as in `pgd`; where no adversarial image was found, the image itself is returned.

    Raises:
        UsageError: the package is missing, an option out of range, or too few classes for the version.
    """
    try:
        package = importlib.import_module("pyautoattack")
    except ImportError:
        raise UsageError(
            "autoattack needs the package pyautoattack, which is not installed; "
            "install it with: pip install 'hiresnn[autoattack]'"
        ) from None
    if not len(images) or not eps:
        return images.detach().clone()

    def logits(queried: Tensor) -> Tensor:
        return model(queried.clone()).float()

    with seeded(seed), _quiet():
        with torch.no_grad():
            classes = logits(images[:1]).shape[1]
        if classes < CLASSES[version]:
            raise UsageError(
                f"autoattack: version {version!r} needs {CLASSES[version]} classes for its DLR loss, "
                f"but the model has {classes}; use apgd with loss=margin."
            )
        adversary = package.AutoAttack(logits, eps=eps, version=version, seed=seed, device=images.device)
        # The package assumes ten classes; with fewer it would index beyond the last logit.
        adversary.fab.n_target_classes = adversary.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)
        found, _ = adversary.run_standard_evaluation(images.detach().float(), labels, batch_size=len(images))
    adversarial: Tensor = found.to(images.dtype)
    return adversarial


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the package's log, and restore the trace function (debugger, coverage tool) that the package clears."""
    log, trace = logging.getLogger("auto-attack"), sys.gettrace()
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled
        sys.settrace(trace)
