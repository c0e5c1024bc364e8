"""Runs side by side: tables and charts that compare them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hiresnn.audit.card import Card
from hiresnn.report import pages as runs_view
from hiresnn.report.reading import Run, read_runs


@pytest.fixture
def runs(make_run: Callable[..., Path], make_card: Callable[..., Card], card: Card, tmp_path: Path) -> list[Run]:
    few = make_card(curve=[point for point in card.curve if point.bound in ("0", "8/255", "inf")])
    paths = [
        make_run(tmp_path / "hire", "hire", seed=1, card=card),
        make_run(tmp_path / "ann", "ann", epochs=3),
        make_run(tmp_path / "gaussian", "gaussian", card=few),
    ]
    (paths[1] / "result.json").unlink()
    return read_runs(paths)


def test_settings_are_split_into_differing_and_shared(runs: list[Run]) -> None:
    differing, equal = runs_view.compared([runs_view.flat(run.recipe.model_dump(mode="json")) for run in runs])
    assert dict(differing) == {
        "method": ["hire", "ann", "gaussian"],
        "seed": ["1", "0", "0"],
        "noise.step": ["0.04", "0.03", "0.03"],
    }
    assert ("conversion.threshold_scale", "0.4") in equal
    assert ("attack.eps", "32/255") in equal


def test_a_key_missing_from_one_table_is_a_difference() -> None:
    assert runs_view.compared([{"a": "1", "b": "2"}, {"a": "1"}]) == ([("b", ["2", "–"])], [("a", "1")])


def test_every_run_has_a_column_per_box_that_it_was_attacked_in(runs: list[Run]) -> None:
    assert [runs_view.boxes(run) for run in runs] == [
        ["white box", "twin: same-ann"],
        ["white box"],
        ["white box", "twin: same-ann"],
    ]
    assert runs_view.attack_rows(runs) == [
        ("none (clean)", [99.15, None, None, 99.15, None]),
        ("fgsm", [69.3, 70.14, None, 69.3, 70.14]),
        ("pgd:eps=16/255", [47.17, None, None, 48.17, None]),
    ]


def test_each_stage_has_charts_of_the_runs_that_have_it(runs: list[Run]) -> None:
    figures = runs_view.training(runs)
    assert [figure.heading for figure in figures] == [
        "ANN loss",
        "ANN training accuracy",
        "SNN loss",
        "SNN training accuracy",
    ]
    assert [str(figure.drawing).count("<li>") for figure in figures] == [1, 1, 2, 2]


def test_thresholds_of_all_runs_share_one_scale(runs: list[Run]) -> None:
    figures = runs_view.neurons(runs)
    assert [figure.heading for figure in figures] == [
        "Thresholds, hire",
        "Thresholds, gaussian",
        "Leaks, hire",
        "Leaks, gaussian",
    ]
    grids = [str(figure.drawing).partition('<g class="grid">')[2].partition("</g>")[0] for figure in figures]
    assert grids[0] == grids[1]
    assert grids[2] == grids[3]
    assert grids[0] != grids[2]


def test_cards_with_different_bounds_share_one_axis(runs: list[Run], card: Card) -> None:
    assert runs_view.all_bounds(runs) == [point.bound for point in card.curve]
    lines = str(runs_view.worst_cases(runs)).partition("narrow")[0]
    # Nine bounds of the one, three of the other.
    assert sorted(lines.count(f"<title>{name}, ") for name in ("hire", "gaussian")) == [3, 9]


def test_a_run_looks_the_same_in_every_chart(runs: list[Run]) -> None:
    # The second run was neither audited nor trained as an SNN; the third is the third line all the same.
    loss = runs_view.training(runs)[2].drawing
    for drawing in (runs_view.worst_cases(runs), loss):
        look = str(drawing).partition("<span>gaussian</span>")[0].rpartition("<li>")[2]
        assert '<g class="s2">' in look
