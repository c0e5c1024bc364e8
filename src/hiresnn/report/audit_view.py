"""An audit card, arranged for its page: the charts, and the tables that the card holds only implicitly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hiresnn.audit.card import Card, Conclusion, Picture, Point, RuleReport, Share
from hiresnn.charts.axes import category_axis, percent_axis
from hiresnn.charts.palette import Shade, shade
from hiresnn.charts.svg import Dot, Series, Size, legend, line_chart
from hiresnn.report import words

CURVES = {"worst": "worst case", "pgd": "PGD as in the paper", "fgsm": "FGSM as in the paper", "noise": "random noise"}
"""What a point of the curve holds, the most important first."""

INDICATORS = {
    "zero_gradients": ("Gradient zero", "images whose gradient is zero everywhere"),
    "zero_pixels": ("Pixels zero", "pixels whose gradient is zero"),
    "unstable": ("Unstable", "relative change of the loss over random directions"),
    "silent": ("Silent failure", "an earlier iterate succeeded, the last one fails"),
    "rising": ("Still rising", "the loss still rises when the attack ends"),
    "unbounded": ("Stands unbounded", "images that stand without any bound"),
}
"""Field of a rule's report -> its short name and what it is a share of."""

BADGES = {
    "consistent": "good",
    "agrees": "good",
    "inconclusive": "unsure",
    "overestimated": "unsure",
    "masked gradients likely": "bad",
    "unreliable": "bad",
}
"""Verdict -> the class that colours its badge, the gravest last."""

WIDE, NARROW = Size(760, 380), Size(350, 300)


@dataclass(frozen=True)
class HeatCell:
    """One attack with one rule; `strongest` where no rule left fewer images and some rule left more."""

    standing: Share
    shade: Shade
    strongest: bool


@dataclass(frozen=True)
class HeatRow:
    """One rule: its cells, None where it was not tried, and whether it was kept or dropped."""

    rule: str
    cells: list[HeatCell | None]
    fate: str


def curve(card: Card, key: str) -> Markup:
    """The robustness curve with its legend: twice, wide and narrow, of which the style sheet shows one."""
    series = curve_series(card.curve)
    drawings = [
        _drawn(card.curve, series, f"{key}-{kind}", f"Accuracy of {card.subject.name} by bound", size, card, kind)
        for kind, size in (("wide", WIDE), ("narrow", NARROW))
    ]
    return legend(series) + Markup("").join(drawings)


def small_curve(card: Card, name: str, key: str) -> Markup:
    """The narrow curve alone, for pages that show several."""
    series = curve_series(card.curve)
    return legend(series) + _drawn(card.curve, series, key, f"Accuracy of {name} by bound", NARROW, card, "")


def curve_series(points: Iterable[Point]) -> list[Series]:
    """The four lines of a curve over the number of the bound."""
    known = list(points)
    return [
        Series(name, tuple(dot(number, point.bound, name, getattr(point, field)) for number, point in enumerate(known)))
        for field, name in CURVES.items()
    ]


def dot(place: float, bound: str, name: str, share: Share) -> Dot:
    """A share as a point of a chart."""
    hover = f"{name}, {words.bound(bound)}: {share.percent:.1f} % ({words.interval(share.low, share.high)})"
    return Dot(place, share.percent, share.low, share.high, hover)


def _drawn(
    points: list[Point], series: list[Series], key: str, title: str, size: Size, card: Card, kind: str
) -> Markup:
    names, label = words.ticks([point.bound for point in points])
    headline = card.at(card.setting.headline)
    place = [point.bound for point in points].index(card.setting.headline)
    description = (
        f"Lines over {len(points)} bounds: {', '.join(CURVES.values())}. At the headline bound "
        f"{words.bound(headline.bound)} the worst case is {words.percent(headline.worst.percent)} percent and PGD says "
        f"{words.percent(headline.pgd.percent)}. All values are in the table below."
    )
    return line_chart(
        series,
        category_axis(label, names),
        percent_axis("accuracy, %"),
        key=key,
        title=title,
        description=description,
        size=size,
        mark=(place, "headline"),
        kind=kind,
    )


def overestimates(card: Card) -> list[dict[str, Any]]:
    """By bound: percentage points by which the paper's attacks, each and together, lie above the worst case."""
    rows = []
    for point in card.curve:
        worst, pgd, fgsm = point.worst.percent, point.pgd.percent, point.fgsm.percent
        rows.append({"bound": point.bound, "pgd": pgd - worst, "fgsm": fgsm - worst, "both": min(pgd, fgsm) - worst})
    return rows


def attacked_bounds(card: Card) -> list[str]:
    """The bounds of the curve, without 0 where no attack broke anything, as none can."""
    return [
        point.bound for point in card.curve if point.eps != 0 or any(row.broke.get(point.bound) for row in card.attacks)
    ]


def heat(card: Card) -> tuple[list[str], list[HeatRow]]:
    """Attacks that follow a rule, the columns, and a row a rule: those that went on first, in their order."""
    kept, dropped = card.screening.selected, card.screening.dropped
    rules = list(dict.fromkeys([*kept, *dropped, *(report.rule for report in card.screening.rules)]))
    cells = [cell for cell in card.screening.cells if cell.rule in rules and cell.standing.of]
    attacks = list(dict.fromkeys(cell.attack for cell in cells))
    lefts = {attack: {cell.standing.percent for cell in cells if cell.attack == attack} for attack in attacks}
    # Where all leave the same, none is the strongest.
    fewest = {attack: min(left) for attack, left in lefts.items() if len(left) > 1}
    at = {
        (cell.rule, cell.attack): HeatCell(
            cell.standing, shade(cell.standing.percent), cell.standing.percent == fewest.get(cell.attack)
        )
        for cell in cells
    }
    fates = dict.fromkeys(kept, "kept") | dict.fromkeys(dropped, "dropped")
    return attacks, [
        HeatRow(rule, [at.get((rule, attack)) for attack in attacks], fates.get(rule, words.MISSING)) for rule in rules
    ]


def unruled(card: Card) -> list[tuple[str, HeatCell]]:
    """Scouting attacks that follow no gradient, so no rule: scores and noise, the controls."""
    screening = card.screening
    rules = {*screening.selected, *screening.dropped, *(report.rule for report in screening.rules)}
    return [
        (cell.attack, HeatCell(cell.standing, shade(cell.standing.percent), False))
        for cell in screening.cells
        if cell.rule not in rules and cell.standing.of
    ]


def questions(rules: Iterable[RuleReport]) -> list[str]:
    """The names of the questions, in the order in which they are first asked."""
    return list(dict.fromkeys(question.name for rule in rules for question in rule.questions))


def graver(conclusion: Conclusion) -> str:
    """The class of the graver of the two verdicts."""
    order = list(BADGES.values())
    return max(BADGES[conclusion.own], BADGES[conclusion.verdict], key=order.index)


def alternative(picture: Picture) -> dict[str, str]:
    """Texts that stand for the three images of a picture."""
    where = f"image {picture.index}"
    return {
        "clean": f"{where}, clean: {picture.label}",
        "adversarial": f"{where} after the attack within {words.bound(picture.bound)}: taken for {picture.predicted}",
        "difference": f"what the attack changed in {where}, {picture.amplified:g} times, around grey",
    }
