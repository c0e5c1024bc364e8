"""`hiresnn reproduce`: one small artefact from the command line to its files, and what may go wrong."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from hiresnn.cli import main as hiresnn_main
from hiresnn.errors import RunError
from reproduction import run_all
from reproduction.__main__ import main
from reproduction.scales import SCALES

SHORT = {"data.train_images": "64", "ann.epochs": "2", "snn.epochs": "1", "snn.timesteps": "2", "model.width": "0.0625"}


def exit_code(program: str, *arguments: str) -> int:
    assert program == "reproduce"
    return main(list(arguments))


def test_the_installed_command_says_what_to_run_from_a_checkout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        hiresnn_main(["reproduce", "table1", "--scale", "cpu"])
    assert caught.value.code == 2
    assert "python -m reproduction table1 --scale cpu" in capsys.readouterr().err


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smoke scale, smaller: VGG5 alone, 20 test images."""
    setting = SCALES["smoke"].networks["vgg5-cifar10"]
    setting = replace(setting, changes=tuple({**dict(setting.changes), **SHORT}.items()))
    scale = replace(SCALES["smoke"], networks={"vgg5-cifar10": setting}, images=20)
    monkeypatch.setitem(SCALES, "smoke", scale)


def test_a_table_is_made_found_again_and_planned_before(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    line = ["reproduce", "table2", "--runs", str(runs), "--quiet"]
    assert exit_code(*line, "--dry-run") == 0
    table2, total = (text.split() for text in capsys.readouterr().out.splitlines()[1:3])
    assert table2[:4] == ["table2", "1", "2", "8"]  # (HIRE, traditional, ANN) x (clean, FGSM, PGD), ANN not clean
    assert total[1:] == table2[1:]
    assert not runs.exists()

    assert exit_code(*line) == 0
    out = runs / "smoke"
    assert capsys.readouterr().out == f"{out / 'index.md'}\n"
    assert f"`python -m {' '.join(line)}`".replace("reproduce ", "reproduction ") in (out / "index.md").read_text()
    rows = list(csv.DictReader((out / "table2.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == ["VGG5"]
    assert float(rows[0]["clean, paper"]) == 87.5
    difference = float(rows[0]["clean, ours"]) - 87.5
    assert float(rows[0]["clean, difference"]) == pytest.approx(difference)
    first = (out / "table2.md").read_bytes()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be trained")

    monkeypatch.setattr("reproduction.study.train", forbidden)
    assert exit_code(*line, "--out", str(tmp_path / "again")) == 0
    assert (tmp_path / "again" / "table2.md").read_bytes() == first
    capsys.readouterr()
    assert exit_code(*line, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["table2", "0", "0", "0", "0.00"]


def test_one_network_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["reproduce", "table2", "--runs", str(tmp_path), "--dry-run"]
    assert exit_code(*line) == 0
    everything = capsys.readouterr().out
    assert exit_code(*line, "--network", "resnet12-cifar10", "--network", "vgg5-cifar10") == 0
    two = capsys.readouterr().out
    assert "vgg11-cifar100" in everything
    assert "vgg11-cifar100" not in two
    assert "resnet12-cifar10-" in two
    assert "vgg5-cifar10-" in two


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tabel1"], 'did you mean "table1"?'),
        (["table1", "--data", "cifar10"], "--data cifar10 is not NAME=SOURCE"),
        (
            ["table1", "--parallel", "2", "--scheduler", "tcp://127.0.0.1:1"],
            "cannot be combined; give only one of them",
        ),
        (["table1", "--data", "cifar10=x.npz"], "scale smoke has no data of that name"),
        (["table1", "--network", "vgg7"], "scale smoke has no network 'vgg7'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_ends_with_two(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("reproduce", *arguments, "--runs", str(tmp_path / "runs")) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "value", "passed"),
    [("--parallel", "2", (2, None)), ("--scheduler", "tcp://10.0.0.7:8786", (1, "tcp://10.0.0.7:8786"))],
)
def test_workers_are_passed_on(
    option: str, value: str, passed: tuple[int, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tests/paper/test_parallel.py makes values in both ways."""
    seen: list[tuple[int, str | None]] = []

    def work_through(*_: object, workers: int, scheduler: str | None) -> None:
        seen.append((workers, scheduler))
        raise RunError("enough.")

    monkeypatch.setattr(run_all, "work_through", work_through)
    assert exit_code("reproduce", "table2", "--runs", str(tmp_path), option, value) != 0
    assert seen == [passed]


def test_an_interrupt_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_all, "reproduce", interrupted)
    assert exit_code("reproduce", "table1", "--runs", str(tmp_path)) == 130
    assert f"Continue with: python -m reproduction table1 --runs {tmp_path}\n" in capsys.readouterr().err
