"""The audit of a network as deployed: every view is attacked itself, and by what was made on the other views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hiresnn.audit.behaviour import InstrumentedModel
from hiresnn.audit.bounds import WorstCase
from hiresnn.audit.rules import Record
from hiresnn.audit.sweep import AuditResult, audit
from hiresnn.errors import UsageError
from hiresnn.exchange import deployed
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

FLOAT, ALL = "float", "all views"
"""Names of the network as it is, and of the worst case over it and all views."""


def deployed_networks(views: Sequence[str], model: object) -> dict[str, SpikingNetwork]:
    """The network of each view; raises UsageError for an unknown view, or for a model that is not of hiresnn."""
    if views and not isinstance(model, SpikingNetwork):
        raise UsageError(
            f"--as needs a spiking network of hiresnn, and this is a {type(model).__name__}; leave it out."
        )
    return {view: deployed(model, view).eval() for view in views if isinstance(model, SpikingNetwork)}


def audit_views(
    networks: Mapping[str, SpikingNetwork],
    result: AuditResult,
    cache: Callable[[InstrumentedModel], MutableMapping[str, Record]],
    progress: Progress,
) -> dict[str, Any]:
    """Audit every view with the attacks of `result`, and try all adversarial images on all other views.

    A view is attacked by the whole preset with its own gradients, and by what is made on the float network (of whose
    audit `result` is) at every bound. Then every adversarial image of one network counts for each that it breaks.

    Returns the content of deployed.json: for each view the percentage that stands at each bound ("worst"), and under
    attacks on that view alone ("own").
    """
    images, labels, config = result.images, result.labels, result.config
    audits = {FLOAT: (result.model, result.worst)}
    for view, network in networks.items():
        model = InstrumentedModel(network, images)
        progress.line(f"Audit of the network as deployed: {view}")
        twins = {FLOAT: result.model}
        swept = audit(model, images, labels, config, twins=twins, cache=cache(model), progress=progress)
        audits[view] = (model, swept.worst)
    levels = {name: worst.level.clone() for name, (_, worst) in audits.items()}
    for name, (model, _) in audits.items():
        for maker, (_, worst) in audits.items():
            if maker != name:
                _transfer(worst, model, labels, levels[name], config.batch_size)
    bounds = result.worst.bounds

    def curve(level: Tensor) -> list[float]:
        """Percentage of images that stand at each bound."""
        return [round(100 * float((level > position).float().mean()), 2) for position in range(len(bounds))]

    return {
        "bounds": [bound.label for bound in bounds],
        "headline": config.headline.label,
        "images": len(labels),
        "views": {
            name: {"worst": curve(levels[name]), "own": curve(worst.level)} for name, (_, worst) in audits.items()
        },
        ALL: curve(torch.stack(list(levels.values())).amin(0)),
    }


@torch.no_grad()
def _transfer(worst: WorstCase, model: InstrumentedModel, labels: Tensor, level: Tensor, batch_size: int) -> None:
    """Lower `level` where an adversarial image of another network is misclassified by `model`, too."""
    for positions in torch.split(torch.tensor(list(worst.adversarial), dtype=torch.int64), batch_size):
        if not len(positions):
            return
        adversarial = torch.stack([worst.adversarial[position] for position in positions.tolist()])
        wrong = ~correct(model(adversarial.to(labels.device)), labels[positions.to(labels.device)])
        broken = positions[wrong.cpu()]
        level[broken] = torch.minimum(level[broken], worst.level[broken])
