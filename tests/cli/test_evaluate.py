"""`hiresnn evaluate`: options reach the evaluation, its result becomes a table."""

from pathlib import Path
from typing import Any

import pytest

from hiresnn.app.zoo import SHELF

from ..offering import offer
from .commands import plain, rows, run, stand_in

RESULT: dict[str, Any] = {
    "clean": 81.25,
    "attacks": {
        "fgsm": {"white_box": 20.04, "black_box": 19.4, "twins": {"same-ann": 19.4, "independent": 47.6}},
        "pgd": {"white_box": 0.9, "black_box": 2.4, "twins": {"same-ann": 2.4, "independent": 39.9}},
    },
    "images": 2000,
    "seed": 3,
}


def evaluated(monkeypatch, result, *arguments, function="evaluate"):
    """Run the command with this result, and return the options that reached the evaluation."""
    asked: dict[str, Any] = {}

    def evaluate(folder, **options):
        asked.update(options, run=folder)
        return result

    stand_in(monkeypatch, "hiresnn.app.evaluate", **{function: evaluate})
    assert run("evaluate", *arguments) == 0
    del asked["progress"]
    return asked


def test_options_reach_the_evaluation(monkeypatch):
    none = dict.fromkeys(("attacks", "twins", "limit", "seed", "source", "out"))
    assert evaluated(monkeypatch, RESULT, "a") == {**none, "run": Path("a"), "split": "test", "batch_size": 256}
    options = "--attack fgsm --attack pgd(eps=2/255) --twin b --limit 50 --split holdout --batch 64 --seed 5"
    assert evaluated(monkeypatch, RESULT, "a", *options.split(), "--data", "a.npz", "--out", "f.json") == {
        **{"run": Path("a"), "attacks": ["fgsm", "pgd(eps=2/255)"], "twins": [Path("b")], "limit": 50},
        **{
            "split": "holdout",
            "batch_size": 64,
            "seed": 5,
            "source": "a.npz",
            "out": Path("f.json"),
        },
    }


def test_the_table_has_a_row_an_attack_and_a_column_a_twin(monkeypatch, capsys):
    evaluated(monkeypatch, RESULT, "a")
    text = capsys.readouterr().out
    assert "Accuracy in percent on 2,000 images, seed 3" in " ".join(text.split())
    assert rows(text) == [
        ["none (clean)", "81.2", "", ""],
        ["fgsm", "20.0", "19.4", "47.6"],
        ["pgd", "0.9", "2.4", "39.9"],
    ]


def test_without_a_twin_there_is_no_black_box_column(monkeypatch, capsys):
    evaluated(monkeypatch, {**RESULT, "attacks": {"fgsm": {"white_box": 20.0}}}, "a")
    text = capsys.readouterr().out
    assert "black" not in text
    assert rows(text) == [["none (clean)", "81.2"], ["fgsm", "20.0"]]


def test_corruptions_have_a_row_each_and_a_mean(monkeypatch, capsys):
    result = {"clean": 90, "corruptions": {"fog": [90, 80, 70, 60, 50]}, "mean": 70.04, "images": 40, "seed": 7}
    asked = evaluated(monkeypatch, result, "a", "--corruptions", "--seed", "7", function="evaluate_corruptions")
    assert (asked["seed"], "attacks" in asked) == (7, False)
    text = capsys.readouterr().out
    assert "on 40 corrupted images, seed 7" in " ".join(text.split())
    cells = [[cell for cell in row if cell] for row in rows(text)]
    fog = ["fog", "70.0", "90.0", "80.0", "70.0", "60.0", "50.0"]
    assert cells == [["none (clean)", "90.0"], fog, ["mean", "70.0"]]
    assert run("evaluate", "a", "--corruptions", "--attack", "fgsm") == 2
    assert "without attacks" in capsys.readouterr().err


def test_names_with_brackets_and_colons_are_printed_as_they_are(monkeypatch, capsys):
    names = ["mine.py:fire(eps=8/255)", "runs[v2]/mine.py:attack", "[/]mine.py:attack"]
    evaluated(monkeypatch, {**RESULT, "attacks": {name: {"white_box": 20.0} for name in names}}, "a")
    assert [name for name, _ in rows(capsys.readouterr().out)] == ["none (clean)", *names]


@pytest.mark.parametrize("command", ["attacks", "rules"])
def test_names_are_listed_with_options_and_plug_ins(command, tmp_path, monkeypatch, capsys):
    offer(tmp_path, monkeypatch, "", **{command: {"mine": "mine"}})
    assert run(command) == 0
    text = plain(capsys.readouterr().out)
    assert {"attacks": "iterations=7", "rules": "alpha="}[command] in text
    assert "mine plug-in offering:mine" in text


@pytest.mark.slow
def test_a_name_of_the_zoo_is_measured_and_nothing_is_written_into_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in SHELF.rglob("*")}
    assert run("evaluate", "digits-hire", "--attack", "fgsm(eps=8/255)", "--limit", "20", "--quiet") == 0
    assert "none (clean)" in capsys.readouterr().out
    assert run("evaluate", "digits-hire", "--attack", "fgsm", "--limit", "20", "--out", "mine.json") == 0
    assert (tmp_path / "mine.json").is_file()
    assert run("analyze", "activity", "digits-hire", "--limit", "20", "--quiet") == 0
    assert (tmp_path / "audits/digits-hire/analysis-activity.json").is_file()
    assert run("audit", "digits-hire", "--images", "10") == 0
    assert run("audit", "--verify", "audits/digits-hire/card.json") == 0
    assert {path: path.stat().st_mtime_ns for path in SHELF.rglob("*")} == before
    assert run("resume", "digits-hire") == 1
    assert "copied by hiresnn zoo copy" in capsys.readouterr().err
