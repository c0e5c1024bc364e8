"""What the tests of runs share: a recipe of a second on the embedded digits, and runs trained by it."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from hiresnn.app.recipe import Recipe, override, read
from hiresnn.app.train import train
from hiresnn.progress import Progress

TINY = {
    "data.train_images": "160",
    "model.width": "0.125",
    "model.hidden": "32",
    "ann.epochs": "10",
    "ann.batch_size": "32",
    "ann.lr": "0.05",
    "snn.epochs": "2",
    "snn.batch_size": "32",
    "snn.lr": "0.005",
    "snn.timesteps": "4",
    "conversion.images": "64",
    "compile": "never",
    "method": "traditional",
}


class Heard(Progress):
    """Progress whose lines a test can read."""

    def __init__(self) -> None:
        super().__init__(console=Console(file=io.StringIO()))
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Keep the line."""
        self.lines.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def stopping(tmp_path: Path) -> str:
    """A log that ends every training of an SNN after its first epoch, whose state is stored by then."""
    file = tmp_path / "stopping.py"
    file.write_text(
        "def stop(row):\n    if (row['stage'], row['epoch']) == ('snn', 2):\n        raise KeyboardInterrupt\n"
    )
    return f"{file}:stop"


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """Traditional, 160 training images, 10 ANN and 2 SNN epochs."""
    return override(read("digits"), TINY)


@pytest.fixture(scope="session")
def trained(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trained runs: traditional, its two kinds of twin, and their ANN. Read only."""
    out = tmp_path_factory.mktemp("trained")
    runs = {
        "run": {"seed": "0"},
        "same": {"seed": "7", "ann.seed": "0"},
        "independent": {"seed": "7"},
        "plain": {"method": "ann"},
    }
    for name, changes in runs.items():
        train(override(tiny, changes), out=out / name, progress=Progress(quiet=True))
    return out
