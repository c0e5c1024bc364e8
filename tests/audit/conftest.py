"""A small spiking network on 8 x 8 digits, and an audit small enough for it."""

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn import convert, data
from hiresnn.app.targets import resolve_model
from hiresnn.attacks import Model
from hiresnn.audit import AuditConfig, AuditResult, InstrumentedModel, Record, audit
from hiresnn.audit.presets import Stage
from hiresnn.network import SpikingNetwork

from .small import Run, small_config

EXAMPLES, HARD = Path(__file__).parents[2] / "examples" / "masked_digits.py", "26/255"


def training_images() -> tuple[Tensor, Tensor]:
    split = data.load("digits").train
    return split.images.float() / 255, split.labels


@pytest.fixture(scope="session")
def ann() -> nn.Module:
    """A network that is about 90 % right."""
    torch.manual_seed(0)
    images, labels = training_images()
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
    return ann


@pytest.fixture(scope="session")
def network(ann: nn.Module) -> SpikingNetwork:
    """Its spiking network of three steps."""
    return convert(ann, training_images()[0][:200], timesteps=3, threshold_scale=0.7).eval()


@pytest.fixture(scope="session")
def exact(ann: nn.Module) -> SpikingNetwork:
    """Its spiking network of four steps that has a rate form."""
    return convert(ann, training_images()[0][:200], timesteps=4, exact=True).eval()


@pytest.fixture(scope="session")
def shown() -> tuple[Tensor, Tensor]:
    """60 images that the network was not trained on, classes in turn."""
    split = data.in_turn(data.load("digits").test, 60)
    return split.images.float() / 255, split.labels


@pytest.fixture(scope="session")
def run() -> Run:
    """(model, images, labels, cache, stages, **changes of the configuration) -> result."""

    def run(
        model: Model,
        images: Tensor,
        labels: Tensor,
        cache: MutableMapping[str, Record] | None = None,
        stages: tuple[Stage, ...] = (),
        twins: dict[str, InstrumentedModel] | None = None,
        **changes: Any,
    ) -> AuditResult:
        subject = model if isinstance(model, InstrumentedModel) else InstrumentedModel(model, images[:16])
        return audit(subject, images, labels, small_config(*stages, **changes), twins=twins, cache=cache)

    return run


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """40 images that the networks of the examples were not trained on, classes in turn."""
    split = data.in_turn(data.load("digits").test, 40)
    return split.images.float() / 255, split.labels


@pytest.fixture(scope="session")
def plain(digits: tuple[Tensor, Tensor]) -> AuditResult:
    """The quick audit of the network that hides nothing, at one bound."""
    subject = InstrumentedModel(resolve_model(f"{EXAMPLES}:plain").model, digits[0][:16])
    return audit(subject, *digits, AuditConfig(preset="quick", eps=HARD, bounds=()))
