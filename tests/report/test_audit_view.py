"""The parts of an audit page that are computed from its card."""

from collections.abc import Callable

from hiresnn.audit.card import Card, Cell, Screening, Share
from hiresnn.report import pages as audit_view


def left(count: int, of: int = 10) -> Share:
    return Share(count=count, of=of, percent=100 * count / of if of else 0.0, low=0, high=100)


def test_the_heat_map_lists_selected_rules_first_and_marks_the_lowest_of_each_attack(
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
    heat = audit_view.heat(make_card(screening=screening))
    assert (heat.rules, heat.attacks) == (["arctan", "linear", "erfc"], ["pgd", "apgd", "fgsm"])
    assert {pair: share.count for pair, share in heat.cells.items()} == {
        ("linear", "pgd"): 5, ("arctan", "pgd"): 2, ("linear", "apgd"): 1, ("erfc", "apgd"): 1, ("arctan", "apgd"): 3,
        ("arctan", "fgsm"): 4, ("erfc", "fgsm"): 4,
    }  # fmt: skip
    # Two rules share the lowest of apgd; under fgsm all rules leave the same, so none is the strongest.
    assert heat.lowest == {"pgd": 20, "apgd": 10}
    # A cell without images is left out; an attack without a rule is a control.
    assert [(attack, share.count) for attack, share in heat.controls] == [("square", 9)]


def test_the_curve_has_four_lines_with_an_interval_for_every_point(card: Card) -> None:
    drawing = str(audit_view.curve(card)).partition("narrow")[0]
    assert drawing.count("<polyline") == 4
    assert drawing.count("<title>") == 4 * len(card.curve)
    assert "<title>worst case, 8/255: 8.5 % (5.4–13.2)</title>" in drawing
    assert "worst case is 8.5 percent and PGD says 41.0" in drawing
