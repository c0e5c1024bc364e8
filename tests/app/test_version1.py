"""Folders that version one wrote: a half-trained run, its ANN, and the weights that version one ended with.

Made by version one from the recipe digits (width 0.05, hidden 8, 64 images, T = 4, two epochs each), stopped after the
first epoch of the SNN.
"""

import shutil
from pathlib import Path

import pytest
import torch

from hiresnn.app import recipe as recipes
from hiresnn.app import trainer
from hiresnn.app.folder import METRICS, MODEL, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.train import train
from hiresnn.errors import RunError
from hiresnn.progress import Progress

FIXTURE = Path(__file__).parent / "version1"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    shutil.copytree(FIXTURE, tmp_path / "runs")
    return tmp_path / "runs" / "run"


def resume(run: Path) -> Path:
    return train(RunFolder.open(run).recipe, out=run, resume=True, progress=Progress(quiet=True))


def test_a_run_of_version_one_resumes_to_the_weights_of_version_one(run: Path) -> None:
    before = (run / METRICS).read_text()
    resume(run)
    found, expected = load(run / MODEL).state_dict(), load(FIXTURE / "expected.safetensors").state_dict()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-4)
    assert (run / METRICS).read_text().startswith(before)
    assert [path.name for path in (run.parent / "ann").iterdir()] == [
        "vgg5-seed0-e12c4f3ae8b1a946"
    ]  # not trained again


def test_keys_take_in_the_semantics_and_another_one_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = recipes.digest({"a": 1})
    monkeypatch.setattr(recipes, "SEMANTICS", 2)
    monkeypatch.setattr(trainer, "SEMANTICS", 2)
    assert recipes.digest({"a": 1}) != key
    with pytest.raises(RunError, match="training semantics 1, but this hiresnn has 2"):
        resume(run)
