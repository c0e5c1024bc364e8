"""The audit of a network as deployed: every view is attacked itself, and by what was made on the other views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hiresnn.audit import AuditResult, InstrumentedModel, Record
from hiresnn.audit import audit as run_sweep
from hiresnn.audit.library import LOOKED_AT
from hiresnn.audit.worst_case import WorstCase
from hiresnn.errors import UsageError
from hiresnn.exchange import deployed
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

DEPLOYED = "deployed.json"
FLOAT, ALL = "float", "all views"
"""Names of the network as it is, and of the worst case over it and all views."""


def require_views(views: Sequence[str], model: object) -> dict[str, SpikingNetwork]:
    """Return the network of each view, before any attack runs."""
    if not views:
        return {}
    if not isinstance(model, SpikingNetwork):
        raise UsageError(
            f"--as needs a spiking network of hiresnn, and this is a {type(model).__name__}; leave it out."
        )
    return {view: deployed(model, view).eval() for view in views}


def audit_views(
    networks: Mapping[str, SpikingNetwork],
    result: AuditResult,
    cache: Callable[[InstrumentedModel], MutableMapping[str, Record]],
    progress: Progress,
) -> dict[str, Any]:
    """Audit every view with the attacks of `result`, and try all adversarial images on all other views.

    A view is attacked by the whole preset with its own gradients, and by what is made on the float network at every
    bound. Afterwards every adversarial image of one network counts for each of the others that it breaks.

    `result` is the audit of the float network; `cache` returns the finished units of the audit of a network.

    Returns:
        The content of deployed.json: bounds, number of images, and for each view the percentage that stands at each
        bound ("worst"), and under attacks on that view alone ("own").
    """
    images, labels = result.images, result.labels
    subjects = {FLOAT: (result.model, result.worst)}
    for view, network in networks.items():
        model = InstrumentedModel(network, images[:LOOKED_AT])
        progress.line(f"Audit of the network as deployed: {view}")
        swept = run_sweep(
            model, images, labels, result.config, twins={FLOAT: result.model}, cache=cache(model), progress=progress
        )
        subjects[view] = (model, swept.worst)
    levels = {name: worst.level.clone() for name, (_, worst) in subjects.items()}
    for name, (model, _) in subjects.items():
        for maker, (_, worst) in subjects.items():
            if maker != name:
                _transfer(worst, model, labels, levels[name], result.config.batch_size)
    bounds = result.worst.bounds
    return {
        "bounds": [bound.label for bound in bounds],
        "headline": result.config.headline.label,
        "images": len(labels),
        "views": {
            name: {"worst": _curve(levels[name], len(bounds)), "own": _curve(worst.level, len(bounds))}
            for name, (_, worst) in subjects.items()
        },
        ALL: _curve(torch.stack(list(levels.values())).amin(0), len(bounds)),
    }


@torch.no_grad()
def _transfer(worst: WorstCase, model: InstrumentedModel, labels: Tensor, level: Tensor, size: int) -> None:
    """Lower `level` where an adversarial image of another network is misclassified by `model`, too."""
    made = list(worst.adversarial)
    for start in range(0, len(made), size):
        positions = torch.tensor(made[start : start + size])
        adversarial = torch.stack([worst.adversarial[position] for position in positions.tolist()])
        classes = labels[positions.to(labels.device)]
        wrong = ~correct(model(adversarial.to(labels.device)), classes)
        broken = positions[wrong.cpu()]
        level[broken] = torch.minimum(level[broken], worst.level[broken])


def _curve(level: Tensor, bounds: int) -> list[float]:
    """Percentage of images that stand at each bound."""
    return [round(100 * float((level > place).float().mean()), 2) for place in range(bounds)]
