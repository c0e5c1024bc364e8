"""`hiresnn export` writes a file and prints what its readers change."""

import shutil

import pytest
from typer.testing import CliRunner

from hiresnn.app.folder import MODEL
from hiresnn.cli.shell import app
from hiresnn.errors import UsageError

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


def run(*words):
    result = CliRunner().invoke(app, ["export", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_nir_file_is_compared_with_the_run(trained, tmp_path):
    pytest.importorskip("nir", exc_type=ImportError)
    text = run(trained / "run", "--to", "nir", "-o", tmp_path / "a.nir", "--images", "20")
    assert 'reset = "subtract" becomes a reset to zero' in text
    assert "on 20 images" in text
    assert "snnTorch, norse" in text
    assert f"network = import_from_nir(nir.read('{tmp_path / 'a.nir'}'))" in text.replace("\n", "")
    assert "image = torch.rand(1, 1, 8, 8)  # one image at a time" in text
    assert (tmp_path / "a.nir").stat().st_size > 1000


def test_a_spikingjelly_file_says_how_to_compare_it(trained, tmp_path):
    text = run(trained / "run", "--to", "spikingjelly", "-o", tmp_path / "a.py", "--images", "2")
    assert f"run: python {tmp_path / 'a.py'}" in text.replace("\n", "")
    assert "spikes at u >= threshold" in text


def test_an_export_replaces_its_own_files_but_no_other(trained, tmp_path):
    shutil.copytree(trained / "run", tmp_path / "run")
    weights = (tmp_path / "run" / MODEL).read_bytes()
    (tmp_path / "mine.py").write_text("def network(): ...\n")
    for out, message in (
        (tmp_path / "mine.py", "was not written by hiresnn export"),
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "a.txt", r"does not end in \.py, as a file of --to spikingjelly must; name a\.py"),
        (tmp_path / "run" / "model.py", r"model\.safetensors, which hiresnn export did not write"),
    ):
        with pytest.raises(UsageError, match=message):
            run(tmp_path / "run", "--to", "spikingjelly", "-o", out)
    assert (tmp_path / "mine.py").read_text() == "def network(): ...\n"
    assert (tmp_path / "run" / MODEL).read_bytes() == weights
    for _ in range(2):
        run(trained / "run", "--to", "spikingjelly", "-o", tmp_path / "again.py", "--images", "2")


def test_an_ann_is_refused(trained, tmp_path):
    with pytest.raises(UsageError, match="is a Classifier, not a spiking network"):
        run(trained / "plain", "--to", "onnx", "-o", tmp_path / "a.onnx")
