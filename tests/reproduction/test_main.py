"""`python -m reproduction`: from the command line to files, and what may go wrong."""

import csv
from dataclasses import replace

import pytest

from hiresnn.cli import main as hiresnn_main
from reproduction.__main__ import main
from reproduction.paper import SCALES

from .conftest import SHORT


@pytest.fixture
def small(monkeypatch):
    """The smoke scale, smaller: VGG5 alone, 20 test images."""
    setting = SCALES["smoke"].networks["vgg5-cifar10"]
    setting = replace(setting, changes={**setting.changes, **SHORT})
    monkeypatch.setitem(SCALES, "smoke", replace(SCALES["smoke"], networks={"vgg5-cifar10": setting}, images=20))


def test_the_installed_command_says_what_to_run_from_a_checkout(capsys):
    with pytest.raises(SystemExit) as caught:
        hiresnn_main(["reproduce", "table1", "--scale", "cpu"])
    assert caught.value.code == 2
    assert "python -m reproduction table1 --scale cpu" in capsys.readouterr().err


def test_a_table_is_made_found_again_and_planned_before(small, tmp_path, capsys):
    runs = tmp_path / "runs"
    line = ["table2", "--runs", str(runs), "--quiet"]
    assert main([*line, "--dry-run"]) == 0
    table2, total = (text.split() for text in capsys.readouterr().out.splitlines()[1:3])
    assert table2[:4] == ["table2", "1", "2", "8"]  # (HIRE, traditional, ANN) x (clean, FGSM, PGD), ANN not clean
    assert total[1:] == table2[1:]
    assert not runs.exists()

    assert main(line) == 0
    out = runs / "smoke"
    assert capsys.readouterr().out == f"{out / 'index.md'}\n"
    assert f"`python -m reproduction {' '.join(line)}`" in (out / "index.md").read_text()
    (row,) = csv.DictReader((out / "table2.csv").read_text().splitlines())
    assert float(row["clean, paper"]) == 87.5
    assert float(row["clean, difference"]) == pytest.approx(float(row["clean, ours"]) - 87.5)
    first = (out / "table2.md").read_bytes()
    models = {path: path.stat().st_mtime_ns for path in runs.rglob("model.safetensors")}

    assert main([*line, "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "table2.md").read_bytes() == first
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("model.safetensors")} == models
    capsys.readouterr()
    assert main([*line, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["table2", "0", "0", "0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("table1 --data cifar10", "--data cifar10 is not NAME=SOURCE"),
        ("table1 --parallel 2 --scheduler tcp://127.0.0.1:1", "cannot be combined"),
        ("table1 --parallel 0", "needs at least one process"),
        ("table1 --seeds 0", "needs at least 1"),
        ("table1 --data cifar10=x.npz", "scale smoke has no data of that name"),
        ("table1 --network vgg7", "scale smoke has no network 'vgg7'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_ends_with_two(words, message, tmp_path, capsys):
    assert main([*words.split(), "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()
