"""The parts of an audit page that need computing: the curve and the heat map of gradient rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from hiresnn.audit.card import Card, Share
from hiresnn.charts.axes import category_axis, percent_axis
from hiresnn.charts.svg import Chart, Dot, Series, legend
from hiresnn.report import words

CURVES = {"worst": "worst case", "pgd": "PGD as in the paper", "fgsm": "FGSM as in the paper", "noise": "random noise"}
"""Field of a point of the curve -> its name, the most important first."""

SIZES = {"wide": (760, 380), "narrow": (350, 300)}
"""Width and height of the two drawings of a curve; the style sheet shows one, depending on the width of the screen."""


def curve(card: Card) -> Markup:
    """The robustness curve with its legend, in both sizes."""
    points, headline = card.curve, card.at(card.setting.headline)
    series = [
        Series(
            name, tuple(dot(number, point.bound, name, getattr(point, field)) for number, point in enumerate(points))
        )
        for field, name in CURVES.items()
    ]
    names, label = words.ticks([point.bound for point in points])
    description = (
        f"Lines over {len(points)} bounds: {', '.join(CURVES.values())}. At the headline bound "
        f"{words.bound(headline.bound)} the worst case is {words.percent(headline.worst.percent)} percent and PGD says "
        f"{words.percent(headline.pgd.percent)}. All values are in the table below."
    )
    return in_both_sizes(
        series,
        "curve",
        x=category_axis(label, names),
        y=percent_axis("accuracy, %"),
        title=f"Accuracy of {card.subject.name} by bound",
        description=description,
        mark=(points.index(headline), "headline"),
    )


def in_both_sizes(series: Sequence[Series], key: str, **frame: Any) -> Markup:
    """A legend, then the chart in each of `SIZES`; `frame` is passed on to `Chart`."""
    drawings = [Chart(width=w, height=h, **frame).draw(series, f"{key}-{kind}", kind) for kind, (w, h) in SIZES.items()]
    return legend(series) + Markup("").join(drawings)


def dot(position: float, bound: str, name: str, share: Share) -> Dot:
    """A share of images as a point of a chart."""
    hover = f"{name}, {words.bound(bound)}: {share.percent:.1f} % ({words.interval(share.low, share.high)})"
    return Dot(position, share.percent, share.low, share.high, hover)


@dataclass(frozen=True)
class Heat:
    """Accuracy on the screened images under each attack alone with each gradient rule alone.

    Attributes:
        rules: rows, the selected ones first.
        attacks: columns, the attacks that follow a rule.
        cells: (rule, attack) -> accuracy; pairs that were not tried are missing.
        lowest: attack -> lowest accuracy of its column in percent; missing where all rules leave the same.
        controls: (attack, accuracy) of the attacks that use no gradient, and so no rule.
    """

    rules: list[str]
    attacks: list[str]
    cells: dict[tuple[str, str], Share]
    lowest: dict[str, float]
    controls: list[tuple[str, Share]]


def heat(card: Card) -> Heat:
    """The heat map of the screening."""
    screening = card.screening
    rules = dict.fromkeys([*screening.selected, *screening.dropped, *(report.rule for report in screening.rules)])
    tried = [cell for cell in screening.cells if cell.standing.of]
    cells = {(cell.rule, cell.attack): cell.standing for cell in tried if cell.rule in rules}
    left: dict[str, set[float]] = {}
    for (_, attack), standing in cells.items():
        left.setdefault(attack, set()).add(standing.percent)
    lowest = {attack: min(found) for attack, found in left.items() if len(found) > 1}
    controls = [(cell.attack, cell.standing) for cell in tried if cell.rule not in rules]
    return Heat(list(rules), list(left), cells, lowest, controls)
