"""Reading runs and cards: complete, or with one sentence that says what is wrong."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hiresnn.audit.card import Card
from hiresnn.errors import RunError
from hiresnn.report.pages import read_runs


def test_a_run_is_read_completely(make_run: Callable[..., Path], card: Card, tmp_path: Path) -> None:
    (run,) = read_runs([make_run(tmp_path / "a", "hire", seed=2, epochs=3, card=card)])
    assert (run.name, run.recipe.method, run.recipe.seed) == ("a", "hire", 2)
    assert [epoch.epoch for epoch in run.stage("snn")] == [1, 2, 3]
    assert run.stage("ann") == ()
    assert run.epochs[1].thresholds["relu3"] == pytest.approx(1.22)
    assert run.outcome is not None
    assert run.outcome.attacks["fgsm"].twins == {"same-ann": 70.14}
    assert run.card == card


def test_a_run_that_has_just_begun_is_read(make_run: Callable[..., Path], tmp_path: Path) -> None:
    path = make_run(tmp_path / "a", "hire")
    for name in ("metrics.jsonl", "result.json", "environment.json"):
        (path / name).unlink()
    (run,) = read_runs([path])
    assert (run.epochs, run.outcome, run.environment, run.card) == ((), None, {}, None)


LINE = '{"stage": "snn", "epoch": 1, "loss": 1, "train_accuracy": 1, "seconds": 1}'
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metrics.jsonl", LINE.replace('"loss": 1', '"loss": "x"'), "loss"),
        ("metrics.jsonl", LINE.replace('"snn"', '"gnn"'), "stage"),
        ("metrics.jsonl", LINE.replace('"loss": 1', '"loss": NaN'), "metrics.jsonl, line 1 is damaged"),
        ("metrics.jsonl", LINE.replace('"loss": 1', f'"loss": {"9" * 5000}'), "metrics.jsonl, line 1 is damaged"),
        ("metrics.jsonl", LINE.replace('"epoch": 1', '"epoch": 1e308'), "epoch"),
        ("metrics.jsonl", LINE.replace('"seconds": 1', '"seconds": -1e308'), "seconds"),
        ("metrics.jsonl", DEEP, "metrics.jsonl"),
        ("result.json", "[1]", "result.json is damaged"),
        ("result.json", "{", "result.json is damaged"),
        ("result.json", DEEP, "result.json is damaged"),
        ("result.json", '{"clean": 1e308, "attacks": {}, "images": 1, "seed": 0}', "clean"),
        ("result.json", '{"clean": 1, "attacks": {"pgd": [1]}, "images": 1, "seed": 0}', "attacks.pgd"),
        ("environment.json", "[]", "environment.json is damaged"),
        ("audit/card.json", "{}", "card.json is damaged"),
        ("audit/card.json", "no json", "card.json is damaged"),
        ("audit/card.json", DEEP, "card.json is damaged"),
    ],
)
def test_a_damaged_file_becomes_one_note_that_names_it(
    name: str, text: str, said: str, make_run: Callable[..., Path], card: Card, tmp_path: Path
) -> None:
    path = make_run(tmp_path / "a", "hire", card=card)
    (path / name).write_text(text)
    (run,) = read_runs([path])
    (note,) = run.notes
    assert re.search(said, note)
    assert str(path / name) in note
    assert len(note) < 1000
    assert "\n" not in note


def test_runs_of_the_same_name_are_distinguished_by_their_parents(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    paths = [make_run(tmp_path / part, "hire", epochs=1) for part in ("x/run", "y/run", "other")]
    assert [run.name for run in read_runs(paths)] == ["x/run", "y/run", "other"]


def test_a_folder_that_is_not_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no recipe\.toml"):
        read_runs([tmp_path])
