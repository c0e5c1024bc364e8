"""What the page of an audit works out by itself."""

from collections.abc import Callable

import pytest

from hiresnn.audit.card import Card, Cell, Conclusion, Screening, Share
from hiresnn.report import audit_view


def test_overestimates_are_differences_to_the_worst_case(card: Card) -> None:
    row = next(row for row in audit_view.overestimates(card) if row["bound"] == "8/255")
    # 82, 110 and 17 of 200: 41, 55 and 8.5 percent.
    assert row == {"bound": "8/255", "pgd": 32.5, "fgsm": 46.5, "both": 32.5}


def left(count: int, of: int = 10) -> Share:
    return Share(count=count, of=of, percent=100 * count / of if of else 0.0, low=0, high=100)


def test_the_heat_map_lists_kept_rules_first_and_marks_the_strongest_of_each_attack(
    make_card: Callable[..., Card],
) -> None:
    cells = [
        Cell(attack="pgd", rule="linear", standing=left(5)),
        Cell(attack="pgd", rule="arctan", standing=left(2)),
        Cell(attack="apgd", rule="linear", standing=left(1)),
        Cell(attack="apgd", rule="erfc", standing=left(1)),
        Cell(attack="apgd", rule="arctan", standing=left(3)),
        Cell(attack="fgsm", rule="arctan", standing=left(4)),
        Cell(attack="fgsm", rule="erfc", standing=left(4)),
        Cell(attack="apgd", rule="rga", standing=left(0, of=0)),
        Cell(attack="square", rule="none", standing=left(9)),
    ]
    screening = Screening(
        bound="8/255", images=10, cells=cells, rules=[], selected=["arctan"], dropped=["linear", "erfc"]
    )
    card = make_card(screening=screening)
    attacks, rows = audit_view.heat(card)
    assert attacks == ["pgd", "apgd", "fgsm"]
    told = [
        (row.rule, row.fate, [cell and (cell.standing.count, cell.strongest) for cell in row.cells]) for row in rows
    ]
    assert told == [
        ("arctan", "kept", [(2, True), (3, False), (4, False)]),
        ("linear", "dropped", [(5, False), (1, True), None]),
        ("erfc", "dropped", [None, (1, True), (4, False)]),
    ]
    # Where no image was scouted nothing stands and nothing fell; what follows no rule stands apart, and never wins.
    assert [(attack, cell.standing.count, cell.strongest) for attack, cell in audit_view.unruled(card)] == [
        ("square", 9, False)
    ]


def test_bound_zero_has_no_column_unless_something_broke_there(make_card: Callable[..., Card], card: Card) -> None:
    assert audit_view.attacked_bounds(card) == [point.bound for point in card.curve[1:]]
    row = card.attacks[0].model_copy(update={"broke": {"0": 1}})
    assert audit_view.attacked_bounds(make_card(attacks=[row]))[0] == "0"


@pytest.mark.parametrize(
    ("own", "verdict", "graver"),
    [
        ("consistent", "agrees", "good"),
        ("consistent", "overestimated", "unsure"),
        ("masked gradients likely", "agrees", "bad"),
        ("consistent", "unreliable", "bad"),
    ],
)
def test_the_graver_verdict_colours_the_headline(own: str, verdict: str, graver: str) -> None:
    conclusion = Conclusion(own=own, verdict=verdict, headline="", reasons=[], next_step="")  # type: ignore[arg-type]
    assert audit_view.graver(conclusion) == graver


def test_every_dot_of_the_curve_shows_its_interval(card: Card) -> None:
    worst = audit_view.curve_series(card.curve)[0]
    assert worst.dots[5].hover == "worst case, 8/255: 8.5 % (5.4–13.2)"
    assert (worst.dots[5].x, worst.dots[5].y, worst.dots[5].low, worst.dots[5].high) == (5, 8.5, 5.37, 13.19)


def test_alternative_texts_say_what_is_to_be_seen(card: Card) -> None:
    assert audit_view.alternative(card.gallery[1]) == {
        "clean": "image 17, clean: 1",
        "adversarial": "image 17 after the attack within 8/255: taken for 8",
        "difference": "what the attack changed in image 17, 10 times, around grey",
    }
