"""The page of an audit on event grids."""

from markupsafe import Markup

from hiresnn.audit.events import EventCard
from hiresnn.report import charts
from hiresnn.report.charts import Dot, Series
from hiresnn.report.pages import charted, rendered

CURVES = {"worst": "worst case", "topk": "gradient alone", "random": "random moves"}
"""Field of a point of the curve -> its name, the most important first."""


def event_page(card: EventCard) -> str:
    """The page of one audit on events: the number to report, the curve over the budget, attacks and pictures."""
    headline = next(point for point in card.curve if point.budget == card.headline)
    return rendered("events.html", card=card, headline=headline, curve=curve(card), curves=CURVES)


def curve(card: EventCard) -> Markup:
    """Accuracy over the budget."""
    budgets, series = [point.budget for point in card.curve], []
    for field, name in CURVES.items():
        shares = [getattr(point, field) for point in card.curve]
        hover = [f"{name}, budget {k}: {share.percent:.1f} %" for k, share in zip(budgets, shares, strict=True)]
        dots = [Dot(x, share.percent, share.low, share.high, hover[x]) for x, share in enumerate(shares)]
        series.append(Series(name, tuple(dots)))
    frame = {
        "x": charts.category_axis("budget: " + card.threat.partition("(")[0], list(map(str, budgets))),
        "y": charts.percent_axis("accuracy, %"),
        "title": f"Accuracy of {card.subject.name} by budget",
        "description": f"Lines over {len(budgets)} budgets: {', '.join(CURVES.values())}; values in the table below.",
        "mark": (budgets.index(card.headline), "headline"),
    }
    return charted(series, "curve", frame)
