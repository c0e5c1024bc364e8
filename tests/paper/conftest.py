"""What the tests of the paper share: a scale of a second, a study of it, and a study whose accuracies are given."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hiresnn.paper.scales import SCALES, Scale
from hiresnn.paper.study import Study
from hiresnn.progress import Progress

SHORT = {"data.train_images": "64", "ann.epochs": "2", "snn.epochs": "2", "snn.timesteps": "2", "model.width": "0.0625"}


class StubStudy(Study):
    """A study that knows every accuracy: (network, method, seed, attack, box, changes) -> percent."""

    answer: Callable[..., float]

    def accuracy(
        self, network: str, method: str, seed: int, attack: str | None = None, *, box: str = "white", **changes: str
    ) -> float:
        return self.answer(network, method, seed, attack, box, changes)


@pytest.fixture(scope="session")
def tiny() -> Scale:
    """VGG5 alone, 64 training images, 20 test images, one seed, T = 2, rate-coded T = 4."""
    setting = SCALES["smoke"].networks["vgg5-cifar10"]
    setting = replace(setting, changes={**setting.changes, **SHORT}, rate_timesteps=4)
    return replace(SCALES["smoke"], networks={"vgg5-cifar10": setting}, images=20)


@pytest.fixture
def study(tiny: Scale, tmp_path: Path) -> Study:
    return study_in(tmp_path / "study", tiny)


@pytest.fixture
def stub(tmp_path: Path) -> StubStudy:
    """All networks of the smoke scale, two seeds, no accuracies yet."""
    scale = SCALES["smoke"].with_seeds(2)
    return StubStudy(scale, root=tmp_path, seeds=(0, 1), sources={}, progress=Progress(quiet=True))


def study_in(root: Path, scale: Scale, seeds: tuple[int, ...] = (0,)) -> Study:
    return Study(scale, root=root, seeds=seeds, sources={}, progress=Progress(quiet=True))
