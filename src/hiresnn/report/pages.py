"""Whole pages of audits and of runs: one HTML text each, with style and images inside, without scripts.

The content security policy of a page forbids every request, so that it opens offline and nobody learns of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment
from markupsafe import Markup

from hiresnn.app.folder import AttackRecord
from hiresnn.audit.card import Card, Share, read_card
from hiresnn.errors import UsageError
from hiresnn.progress import duration
from hiresnn.report import charts, words
from hiresnn.report.charts import Chart, Dot, Series, legend, number_axis
from hiresnn.report.reading import Run, read_runs
from hiresnn.version import __version__

CURVES = {"worst": "worst case", "pgd": "PGD as in the paper", "fgsm": "FGSM as in the paper", "noise": "random noise"}
"""Field of a point of the curve -> its name, the most important first."""

SIZES = {"wide": (760, 380), "narrow": (350, 300)}
"""Width and height of the two drawings of a curve; the style sheet shows one, depending on the width of the screen."""


def curve(card: Card) -> Markup:
    """The robustness curve with its legend, in both sizes."""
    points, headline = card.curve, card.at(card.setting.headline)
    series = [
        Series(name, tuple(dot(x, point.bound, name, getattr(point, field)) for x, point in enumerate(points)))
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
        x=charts.category_axis(label, names),
        y=charts.percent_axis("accuracy, %"),
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
    """Accuracy on the screened images under each attack alone with each gradient rule alone."""

    rules: list[str]  # rows, the selected ones first
    attacks: list[str]  # columns, the attacks that follow a rule
    cells: dict[tuple[str, str], Share]  # (rule, attack) -> accuracy; pairs that were not tried are missing
    lowest: dict[str, float]  # attack -> lowest percentage of its column; missing where all rules leave the same
    controls: list[tuple[str, Share]]  # (attack, accuracy) of the attacks that use no gradient, and so no rule


def heat(card: Card) -> Heat:
    """The heat map of the screening."""
    screening = card.screening
    rules = dict.fromkeys([*screening.selected, *screening.dropped, *(report.rule for report in screening.rules)])
    tried = [cell for cell in screening.cells if cell.standing.of]
    cells = {(cell.rule, cell.attack): cell.standing for cell in tried if cell.rule in rules}
    left: dict[str, set[float]] = {}
    for (_, attack), standing in cells.items():
        left.setdefault(attack, set()).add(standing.percent)
    lowest = {attack: min(percents) for attack, percents in left.items() if len(percents) > 1}
    controls = [(cell.attack, cell.standing) for cell in tried if cell.rule not in rules]
    return Heat(list(rules), list(left), cells, lowest, controls)


STAGES: dict[Literal["ann", "snn"], str] = {"ann": "ANN", "snn": "SNN"}
WHITE, BLACK, TWIN = "white box", "black box", "twin: "

Comparison = tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]
"""Settings that differ, with the value of each run, and settings that all runs share."""


@dataclass(frozen=True)
class Figure:
    """A heading, and a chart with its legend."""

    heading: str
    drawing: Markup


def training(runs: Sequence[Run]) -> list[Figure]:
    """Loss and training accuracy of every stage of the training, one line per run."""
    figures = []
    for stage, title in STAGES.items():
        # A run without this stage has an empty line, so that every run looks the same in all charts.
        rows = {run.name: run.stage(stage) for run in runs}
        epochs = [epoch for stages in rows.values() for epoch in stages]
        if not epochs:
            continue
        losses = [Series(run, tuple(Dot(e.epoch, e.loss) for e in stages)) for run, stages in rows.items()]
        axis = number_axis("loss (cross-entropy)", [epoch.loss for epoch in epochs], zero=True)
        figures.append(_over_epochs(f"{title} loss", losses, axis, f"{stage}-loss"))
        right = [Series(run, tuple(Dot(e.epoch, e.train_accuracy) for e in stages)) for run, stages in rows.items()]
        # Not from 0: late epochs differ by a percent or less.
        axis = number_axis("training accuracy, %", [epoch.train_accuracy for epoch in epochs], most=100)
        figures.append(_over_epochs(f"{title} training accuracy", right, axis, f"{stage}-accuracy"))
    return figures


def neurons(runs: Sequence[Run]) -> list[Figure]:
    """Thresholds and leaks of every spiking run, one line per layer; all runs share one scale."""
    figures = []
    for field, title in (("thresholds", "Thresholds"), ("leaks", "Leaks")):
        values = [value for run in runs for epoch in run.stage("snn") for value in getattr(epoch, field).values()]
        axis = number_axis(f"{field.removesuffix('s')} (no unit)", values, zero=field == "thresholds")
        for number, run in enumerate(runs):
            dots: dict[str, list[Dot]] = {}
            for epoch in run.stage("snn"):
                for layer, value in getattr(epoch, field).items():
                    dots.setdefault(layer, []).append(Dot(epoch.epoch, value))
            if dots:
                series = [Series(layer, tuple(line)) for layer, line in dots.items()]
                figures.append(_over_epochs(f"{title}, {run.name}", series, axis, f"{field}-{number}"))
    return figures


def _over_epochs(heading: str, series: Sequence[Series], y: charts.Axis, key: str) -> Figure:
    last = int(max(line.dots[-1].x for line in series if line.dots))
    ends = ", ".join(f"{line.name} ends at {line.dots[-1].y:.4g}" for line in series if line.dots)
    chart = Chart(charts.epoch_axis(last), y, heading, f"Over {last} epochs: {ends}.", width=420, height=290)
    return Figure(heading, legend(series) + chart.draw(series, key))


def boxes(run: Run) -> list[str]:
    """The attack settings (white box, black box, twins) of a run; one column even if it was not evaluated."""
    attacks = list(run.outcome.attacks.values()) if run.outcome else []
    twins = list(dict.fromkeys(f"{TWIN}{kind}" for attack in attacks for kind in attack.twins))
    black = [BLACK] if not twins and any(attack.black_box is not None for attack in attacks) else []
    return [WHITE, *black, *twins]


def attack_rows(runs: Sequence[Run]) -> list[tuple[str, list[float | None]]]:
    """Attack -> accuracy in percent in every box of every run, clean images first; None where it was not measured."""
    columns = [(run.outcome, box) for run in runs for box in boxes(run)]
    labels = dict.fromkeys(label for run in runs if run.outcome for label in run.outcome.attacks)
    clean = [outcome.clean if outcome and box == WHITE else None for outcome, box in columns]
    return [("none (clean)", clean)] + [
        (label, [_accuracy(outcome.attacks.get(label), box) if outcome else None for outcome, box in columns])
        for label in labels
    ]


def _accuracy(attack: AttackRecord | None, box: str) -> float | None:
    if attack is None:
        return None
    if box == WHITE:
        return attack.white_box
    return attack.black_box if box == BLACK else attack.twins.get(box.removeprefix(TWIN))


def compared(tables: Sequence[Mapping[str, str]]) -> Comparison:
    """Settings that differ between tables (a missing key is a dash), and settings that all tables share."""
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = [(key, [table.get(key, words.MISSING) for table in tables]) for key in keys]
    differing = [(key, values) for key, values in rows if len(set(values)) > 1]
    return differing, [(key, values[0]) for key, values in rows if len(set(values)) == 1]


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as text by dotted key."""
    pairs: dict[str, str] = {}
    for key, value in values.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": words.plain(value)}
    return pairs


def worst_cases(runs: Sequence[Run]) -> Markup | None:
    """The worst case of every audited run over the bounds of all of them, in both sizes; None without an audit."""
    bounds = {bound: number for number, bound in enumerate(all_bounds(runs))}
    if not bounds:
        return None
    series = []
    for run in runs:
        points = sorted(run.card.curve if run.card else [], key=lambda point: bounds[point.bound])
        dots = tuple(dot(bounds[point.bound], point.bound, run.name, point.worst) for point in points)
        series.append(Series(run.name, dots))
    names, label = words.ticks(list(bounds))
    return in_both_sizes(
        series,
        "worst",
        x=charts.category_axis(label, names),
        y=charts.percent_axis("worst-case accuracy, %"),
        title="Worst-case accuracy of the audited runs by bound",
        description=f"One line per audited run over {len(bounds)} bounds; values in the table below.",
    )


def all_bounds(runs: Sequence[Run]) -> list[str]:
    """The bounds of all cards in increasing order, the unbounded attack last."""
    eps = {point.bound: point.eps for run in runs if run.card for point in run.card.curve}
    return sorted(eps, key=lambda bound: float("inf") if eps[bound] is None else float(eps[bound] or 0))


def audit_page(card: Card) -> str:
    """The page of one audit: the number to report, why, and everything that was measured."""
    return rendered(
        "audit.html",
        card=card,
        headline=card.at(card.setting.headline),
        curve=curve(card),
        heat=heat(card),
        most_spikes=max((max(layer.clean, layer.attacked) for layer in card.activity or []), default=0) or 1,
    )


def runs_page(runs: Sequence[Run]) -> str:
    """The page of training runs side by side, with their audits where they have one; at least one run."""
    if not runs:
        raise UsageError("a page of runs needs at least one run folder; name one.")
    first = runs[: charts.MOST_DRAWN]
    return rendered(
        "runs.html",
        runs=runs,
        drawn=len(first),
        audited=[run for run in runs if run.card],
        training=training(first),
        neurons=neurons(first),
        boxes=[boxes(run) for run in runs],
        attack_rows=attack_rows(runs),
        settings=compared([flat(run.recipe.model_dump(mode="json")) for run in runs]),
        environments=compared([{name: words.plain(value) for name, value in run.environment.items()} for run in runs]),
        bounds=all_bounds(runs),
        worst=worst_cases(first),
    )


def page_of(paths: Sequence[Path]) -> tuple[str, list[str]]:
    """The page of one card.json, or of run folders (each once), and the notes on files that could not be read."""
    cards = [path for path in paths if path.suffix == ".json"]
    if cards and len(paths) > 1:
        raise UsageError(f"{cards[0]} is an audit card, which has its own page; name it alone, or name run folders.")
    if cards:
        return audit_page(read_card(cards[0])), []
    runs = read_runs(list({path.resolve(): path for path in paths}.values()))
    return runs_page(runs), [note for run in runs for note in run.notes]


@cache
def _environment() -> Environment:
    result = charts.templates_of("hiresnn.report")
    filters = (words.percent, words.change, words.bound, words.breakable, words.number, words.plain, duration)
    result.filters |= {function.__name__: function for function in filters}
    result.globals |= {"curves": CURVES, "heat_style": charts.heat_style, "interval": words.interval}
    result.globals |= {"missing": words.MISSING, "version": __version__}
    result.globals |= {"light": Markup(charts.variables(charts.LIGHT)), "dark": Markup(charts.variables(charts.DARK))}
    return result


def rendered(template: str, **values: Any) -> str:
    """The page that a template of report/templates makes of `values`."""
    page = _environment().get_template(template).render(values)
    # The name of a folder need not be valid Unicode; a page must be.
    return page.encode(errors="replace").decode()
