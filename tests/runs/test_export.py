"""`hiresnn export` writes a file and prints what its readers change."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hiresnn.cli.shell import app
from hiresnn.errors import UsageError

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


def test_an_ann_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a Classifier, not a spiking network"):
        run(trained / "plain", "--to", "onnx", "-o", tmp_path / "a.onnx")
