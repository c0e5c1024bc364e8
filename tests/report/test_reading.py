"""Reading runs and cards: whole, or one sentence that says what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hiresnn.audit.card import Card
from hiresnn.errors import RunError
from hiresnn.report.reading import read_card, read_run, told_apart


def test_a_run_is_read_with_everything_in_it(make_run: Callable[..., Path], card: Card, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "a", "hire", seed=2, epochs=3, card=card))
    assert (run.name, run.recipe.method, run.recipe.seed) == ("a", "hire", 2)
    assert [epoch.epoch for epoch in run.stage("snn")] == [1, 2, 3]
    assert run.stage("ann") == ()
    assert run.epochs[1].thresholds["relu3"] == pytest.approx(1.22)
    assert run.outcome is not None
    assert run.outcome.attacks["fgsm"].twins == {"same-ann": 70.14}
    assert run.card == card


def test_a_run_that_has_only_begun_is_read_too(make_run: Callable[..., Path], tmp_path: Path) -> None:
    path = make_run(tmp_path / "a", "hire")
    for name in ("metrics.jsonl", "result.json", "environment.json"):
        (path / name).unlink()
    run = read_run(path)
    assert (run.epochs, run.outcome, run.environment, run.card) == ((), None, {}, None)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metrics.jsonl", '{"stage": "snn", "epoch": 1, "loss": "x", "train_accuracy": 1, "seconds": 1}', "loss"),
        ("metrics.jsonl", '{"stage": "gnn", "epoch": 1, "loss": 1, "train_accuracy": 1, "seconds": 1}', "stage"),
        ("metrics.jsonl", '{"stage": "snn", "epoch": 1, "loss": NaN, "train_accuracy": 1, "seconds": 1}', "finite"),
        ("result.json", "[1]", "result.json is damaged"),
        ("result.json", "{", "result.json is damaged"),
        ("environment.json", "[]", "environment.json is damaged"),
        ("audit/card.json", "{}", "is not an audit card"),
        ("audit/card.json", "no json", "is not an audit card"),
    ],
)
def test_a_damaged_file_is_named(
    name: str, text: str, said: str, make_run: Callable[..., Path], card: Card, tmp_path: Path
) -> None:
    path = make_run(tmp_path / "a", "hire", card=card)
    (path / name).write_text(text)
    with pytest.raises(RunError, match=said) as caught:
        read_run(path)
    assert str(path / name) in str(caught.value)


def test_a_card_of_another_schema_is_refused(card: Card, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(json.dumps({**card.model_dump(), "schema_version": 2}))
    with pytest.raises(RunError, match="schema_version"):
        read_card(path)


def test_a_card_without_its_headline_is_refused(make_card: Callable[..., Card], card: Card, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(make_card(setting=card.setting.model_copy(update={"headline": "3/255"})).model_dump_json())
    with pytest.raises(RunError, match="3/255"):
        read_card(path)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_card_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    if content:
        path.write_bytes(content)
    with pytest.raises(RunError, match="cannot be read"):
        read_card(path)


def test_runs_of_one_name_are_told_apart_by_their_parents(make_run: Callable[..., Path], tmp_path: Path) -> None:
    paths = [make_run(tmp_path / part, "hire", epochs=1) for part in ("x/run", "y/run", "other")]
    assert told_apart([read_run(path) for path in paths]) == ["x/run", "y/run", "other"]
