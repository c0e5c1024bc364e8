"""`hiresnn evaluate`: options reach the evaluation, its result becomes a table."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiresnn.cli import main

RESULT: dict[str, Any] = {
    "clean": 81.25,
    "attacks": {
        "fgsm": {"white_box": 20.04, "black_box": 19.4, "twins": {"same-ann": 19.4, "independent": 47.6}},
        "pgd": {"white_box": 0.9, "black_box": 2.4, "twins": {"same-ann": 2.4, "independent": 39.9}},
    },
    "images": 2000,
    "seed": 3,
}


def run(monkeypatch: pytest.MonkeyPatch, result: dict[str, Any], *arguments: str) -> tuple[Any, dict[str, Any]]:
    asked: dict[str, Any] = {}

    def evaluate(folder: Path, **options: Any) -> dict[str, Any]:
        options.pop("progress")
        asked.update(options, run=folder)
        return result

    stand_in = ModuleType("hiresnn.app.evaluate")
    stand_in.evaluate = evaluate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hiresnn.app.evaluate", stand_in)
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *arguments])
    return caught.value.code or 0, asked


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│┃").split("│")] for line in text.splitlines() if "│" in line]


def test_defaults_are_all_attacks_on_the_whole_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    code, asked = run(monkeypatch, RESULT, "runs/a")
    assert code == 0
    assert asked == {
        "run": Path("runs/a"),
        "attacks": None,
        "twins": None,
        "limit": None,
        "split": "test",
        "batch_size": 256,
        "seed": None,
        "source": None,
        "out": None,
    }


def test_options_reach_the_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    options = [
        "--attack",
        "fgsm",
        "--attack",
        "pgd:eps=2/255",
        "--twin",
        "b",
        "--limit",
        "50",
        "--split",
        "holdout",
    ]
    _, asked = run(
        monkeypatch, RESULT, "a", *options, "--batch", "64", "--seed", "5", "--data", "a.npz", "--out", "f.json"
    )
    assert asked == {
        "run": Path("a"),
        "attacks": ["fgsm", "pgd:eps=2/255"],
        "twins": [Path("b")],
        "limit": 50,
        "split": "holdout",
        "batch_size": 64,
        "seed": 5,
        "source": "a.npz",
        "out": Path("f.json"),
    }


def test_the_table_has_a_row_an_attack_and_a_column_a_twin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, RESULT, "a")
    text = capsys.readouterr().out
    assert "Accuracy in percent on 2,000 images, seed 3" in " ".join(text.split())
    assert rows(text) == [
        ["none (clean)", "81.2", "", ""],
        ["fgsm", "20.0", "19.4", "47.6"],
        ["pgd", "0.9", "2.4", "39.9"],
    ]


def test_without_a_twin_there_is_no_black_box_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, {**RESULT, "attacks": {"fgsm": {"white_box": 20.0}}}, "a")
    text = capsys.readouterr().out
    assert "black" not in text
    assert rows(text) == [["none (clean)", "81.2"], ["fgsm", "20.0"]]


def test_names_with_brackets_and_colons_are_printed_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["mine.py:fire:eps=8/255", "runs[v2]/mine.py:attack", "[/]mine.py:attack"]
    run(monkeypatch, {**RESULT, "attacks": {name: {"white_box": 20.0} for name in names}}, "a")
    assert [name for name, _ in rows(capsys.readouterr().out)] == ["none (clean)", *names]
