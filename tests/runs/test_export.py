"""`hiresnn export` writes a file and prints what its readers change."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hiresnn import data
from hiresnn.cli.shell import app
from hiresnn.errors import UsageError
from hiresnn.exchange import export
from hiresnn.network import SpikingNetwork
from hiresnn.runs.checkpoint import load
from hiresnn.runs.folder import MODEL

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_nir_file_is_compared_with_the_run(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("nir", exc_type=ImportError)
    text = run(trained / "run", "--to", "nir", "-o", tmp_path / "a.nir", "--images", "20")
    assert 'reset = "subtract" becomes a reset to zero' in text
    assert "on 20 images" in text
    assert "snnTorch, norse" in text
    assert (tmp_path / "a.nir").stat().st_size > 1000


def test_a_spikingjelly_file_says_how_to_compare_it(trained: Path, tmp_path: Path) -> None:
    text = run(trained / "run", "--to", "spikingjelly", "-o", tmp_path / "a.py", "--images", "2")
    assert f"run: python {tmp_path / 'a.py'}" in text.replace("\n", "")
    assert "spikes at u >= threshold" in text


def test_onnxruntime_makes_the_same_1000_decisions_as_a_trained_network(trained: Path, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, exc_type=ImportError)
    network, split = load(trained / "run" / MODEL), data.first(data.load("digits").train, 1000)
    assert isinstance(network, SpikingNetwork)
    images = split.images.float() / 255
    (found,) = export(network, tmp_path / "a.onnx", images, split.labels, to="onnx").comparisons
    assert (found.images, found.decisions, found.logits < 1e-4) == (1000, 0, True)
    assert found.after.compute() == found.before.compute() > 50


def test_an_ann_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a Classifier, not a spiking network"):
        run(trained / "plain", "--to", "onnx", "-o", tmp_path / "a.onnx")
