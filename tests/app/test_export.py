"""`hiresnn export` writes a file and prints what its readers change."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hiresnn.app.folder import MODEL
from hiresnn.cli.shell import app
from hiresnn.errors import RunError, UsageError

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


def test_an_export_replaces_its_own_files_but_no_other(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "run", tmp_path / "run")
    weights = (tmp_path / "run" / MODEL).read_bytes()
    (tmp_path / "mine.py").write_text("def network(): ...\n")
    for out, message in (
        (tmp_path / "mine.py", "was not written by hiresnn export"),
        (tmp_path, "is a folder; name a file in it"),
        (tmp_path / "a.txt", r"does not end in \.py, as a file of --to spikingjelly must; name a\.py"),
        (tmp_path / "run" / "model.py", r"would replace .*model\.safetensors, which hiresnn export did not write"),
    ):
        with pytest.raises(UsageError, match=message):
            run(tmp_path / "run", "--to", "spikingjelly", "-o", out)
    assert (tmp_path / "mine.py").read_text() == "def network(): ...\n"
    assert (tmp_path / "run" / MODEL).read_bytes() == weights
    for _ in range(2):
        run(trained / "run", "--to", "spikingjelly", "-o", tmp_path / "again.py", "--images", "2")


@pytest.mark.parametrize("to", ["nir", "spikingjelly"])
def test_a_full_disk_keeps_the_earlier_export(
    to: str, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nir", exc_type=ImportError)
    out = tmp_path / f"a{'.py' if to == 'spikingjelly' else f'.{to}'}"
    run(trained / "run", "--to", to, "-o", out, "--images", "2")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="disk is full"):
        run(trained / "run", "--to", to, "-o", out, "--images", "2")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


COUNTER = """
import torch
from torch import nn
from hiresnn.network import spiking_graph

def network():
    # One pixel into a neuron with threshold 1; class 1 where it spikes more than 2.5 times in 4 timesteps.
    ann = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        ann[1].weight.fill_(1)
        ann[3].weight.copy_(torch.tensor([[0.0], [1.0]]))
        ann[3].bias.copy_(torch.tensor([2.5 / 4, 0]))
    return spiking_graph(ann, 4).eval()
"""


def test_the_table_shows_the_loss_worked_out_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nir", exc_type=ImportError)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "counter.py").write_text(COUNTER)
    # Pixels of 0.902 and 0.6. With a soft reset u = 0.902 1.804 1.706 1.608, three spikes: class 1; and u = 0.6 1.2 0.8
    # 1.4, two spikes: class 0. With a reset to 0 the first has u = 0.902 1.804 0.902 1.804, two spikes: class 0.
    pixels, labels = np.array([230, 153], np.uint8).reshape(2, 1, 1), np.array([1, 0])
    np.savez(tmp_path / "pixels.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    text = run(
        f"{tmp_path / 'counter.py'}:network", "--data", tmp_path / "pixels.npz", "--to", "nir", "-o", tmp_path / "a.nir"
    )
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if "│" in line]
    assert rows[0] == ["hiresnn", "100.0", "", ""]
    assert len(rows) >= 3
    assert all(row[1:] == ["50.0", "1", "layer_2"] for row in rows[1:])


def test_an_ann_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a Classifier, not a spiking network"):
        run(trained / "plain", "--to", "onnx", "-o", tmp_path / "a.onnx")
