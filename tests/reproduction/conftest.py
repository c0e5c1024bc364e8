"""A scale that takes a second, and pages made from given values."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiresnn.progress import Progress
from reproduction.artefacts import ARTEFACTS, needs
from reproduction.page import Page
from reproduction.paper import SCALES, Scale
from reproduction.results import Results
from reproduction.study import Measurement, StoredValue, Study

SHORT = {"data.train_images": "64", "ann.epochs": "2", "snn.epochs": "2", "snn.timesteps": "2", "model.width": "0.0625"}
HERE = {"cpu": "A", "torch": "2.5", "date": "2026-11-26", "semantics": 1}
TWO_SEEDS = SCALES["smoke"].changed(seeds=2, sources={}, networks=[])
"""All networks of the smoke scale with two seeds."""
ALL_IMAGES = replace(TWO_SEEDS, images=0)
"""As many test images as the paper has, so that a point is more than the error."""

Answer = Callable[[Measurement], Any]
"""The value of a measurement; None leaves it missing."""


def only(scale: Scale, *networks: str) -> Scale:
    return scale.changed(seeds=None, sources={}, networks=networks)


def page(
    name: str, answer: Answer, scale: Scale = TWO_SEEDS, where: Callable[[Measurement], Any] | None = None
) -> Page:
    """The page of an artefact whose values are given."""
    answers = {one: answer(one) for one in needs(name, scale)}
    records = {
        one: StoredValue(value, HERE if where is None else where(one))
        for one, value in answers.items()
        if value is not None
    }
    return ARTEFACTS[name][1](Results(scale, records))


def said(made: Page) -> str:
    """Everything that a page says below its tables."""
    return "\n".join([*(claim.note() for claim in made.claims), *made.notes])


@pytest.fixture(scope="session")
def tiny() -> Scale:
    """VGG5 alone, 64 training images, 20 test images, one seed, T = 2, rate-coded T = 4."""
    setting = SCALES["smoke"].networks["vgg5-cifar10"]
    changes = {**setting.changes, **SHORT}
    setting = replace(setting, changes=changes, rate_timesteps=4)
    return replace(SCALES["smoke"], networks={"vgg5-cifar10": setting}, images=20)


@pytest.fixture
def study(tiny: Scale, tmp_path: Path) -> Study:
    return study_in(tmp_path / "study", tiny)


def study_in(root: Path, scale: Scale) -> Study:
    return Study(scale, root=root, progress=Progress(quiet=True))
