"""What the tests of the audit share: a spiking network of a second on 8 x 8 digits, and a plan small enough for it."""

from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn import convert, data
from hiresnn.attacks import Model
from hiresnn.audit import Audit, Audited, Findings, Plan, Record, bound, curve
from hiresnn.audit.climb import instability
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

FEW_DRAWS = ("noise:kind=uniform,draws=5", "noise:kind=sign,draws=5")
"""In place of the hundred draws of each kind that scouting makes, and of as many directions."""


@pytest.fixture(scope="session")
def network() -> SpikingNetwork:
    """A spiking network of three steps, about 90 % right."""
    torch.manual_seed(0)
    split = data.load("digits").train
    images, labels = split.images.float() / 255, split.labels
    ann = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 32, bias=False),
        nn.ReLU(),
        nn.Linear(32, 10, bias=False),
    )
    optimiser = torch.optim.Adam(ann.parameters(), 1e-2)
    for _ in range(150):
        rows = torch.randint(0, len(images), (128,))
        optimiser.zero_grad()
        nn.functional.cross_entropy(ann(images[rows]), labels[rows]).backward()
        optimiser.step()
    return convert(ann, images[:200], timesteps=3, threshold_scale=0.7).eval()


@pytest.fixture(scope="session")
def shown() -> tuple[Tensor, Tensor]:
    """60 images that the network was not trained on, every class in turn."""
    split = data.in_turn(data.load("digits").test, 60)
    return split.images.float() / 255, split.labels


Run = Callable[..., Findings]


@pytest.fixture(scope="session")
def tiny_plan() -> Callable[..., Plan]:
    """A plan of the paper's protocol at three bounds, with changes."""

    def plan(**changes: Any) -> Plan:
        headline = bound(changes.pop("headline", "24/255"))
        bounds = curve(changes.pop("bounds", ("8/255", "24/255", "inf")), headline)
        return Plan(**{"bounds": bounds, "headline": headline, "waves": (), "batch_size": 30, **changes})

    return plan


@pytest.fixture(scope="session")
def audit(tiny_plan: Callable[..., Plan]) -> Run:
    """(model, images, labels, kept, **changes of the plan) -> findings; scouting draws little."""

    def run(
        model: Model, images: Tensor, labels: Tensor, kept: MutableMapping[str, Record] | None = None, **changes: Any
    ) -> Findings:
        subject = model if isinstance(model, Audited) else Audited(model, images[:16])
        kept = {} if kept is None else kept
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("hiresnn.audit.protocol.BLIND", FEW_DRAWS)
            patch.setattr("hiresnn.audit.scouting.instability", partial(instability, directions=5))
            return Audit(subject, images, labels, tiny_plan(**changes), kept, Progress(quiet=True)).run()

    return run
