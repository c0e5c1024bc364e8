"""Whole pages of audits and of runs: one HTML text each, which opens offline and forbids every request."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from markupsafe import Markup

from hiresnn.app.folder import ENVIRONMENT, METRICS, RESULT, EpochRecord, ResultRecord, RunFolder
from hiresnn.app.recipe import Recipe, flatten
from hiresnn.audit.card import Card, Share, read_card
from hiresnn.errors import RunError, UsageError
from hiresnn.report import charts, words
from hiresnn.report.charts import Chart, Dot, Series, legend, number_axis

CARD = "audit/card.json"
CURVES = {"worst": "worst case", "pgd": "PGD as in the paper", "fgsm": "FGSM as in the paper", "noise": "random noise"}
"""Field of a point of the curve -> its name, the most important first."""
SIZES = {"wide": (760, 380), "narrow": (350, 300)}
"""Width and height of the two drawings of a curve; the style sheet shows one, depending on the width of the screen."""
STAGES: dict[Literal["ann", "snn"], str] = {"ann": "ANN", "snn": "SNN"}
CLEAN = "none (clean)"

T = TypeVar("T")
Figures = list[tuple[str, Markup]]
"""Headings, each with a chart and its legend."""


@dataclass(frozen=True)
class Run:
    """One run folder; a file that is missing, or cannot be read (see `notes`), leaves its field empty or None."""

    name: str
    path: Path
    recipe: Recipe
    environment: dict[str, Any]
    epochs: tuple[EpochRecord, ...]
    outcome: ResultRecord | None
    card: Card | None
    notes: tuple[str, ...] = ()

    def stage(self, name: Literal["ann", "snn"]) -> tuple[EpochRecord, ...]:
        return tuple(epoch for epoch in self.epochs if epoch.stage == name)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read run folders; raises RunError if a path is none, or its recipe is damaged."""
    names = unique_ends([path.resolve() for path in paths])
    return [_read_run(path, name) for path, name in zip(paths, names, strict=True)]


def unique_ends(paths: Sequence[Path]) -> list[str]:
    """The shortest unique suffix of each path; the whole path if it is there twice."""
    suffixes = [[path.parts[-count:] for count in range(1, len(path.parts) + 1)] for path in paths]
    uses = Counter(suffix for of_path in suffixes for suffix in of_path)
    return [str(PurePosixPath(*next((end for end in ends if uses[end] == 1), ends[-1]))) for ends in suffixes]


def _read_run(path: Path, name: str) -> Run:
    folder, notes = RunFolder.open(path), []

    def part(name: str, read: Callable[[], T], missing: T) -> T:
        try:
            return read() if folder.has(name) else missing
        except RunError as error:
            notes.append(str(error))
            return missing

    return Run(
        name,
        path,
        folder.recipe,
        part(ENVIRONMENT, lambda: folder.read_json(ENVIRONMENT), {}),
        part(METRICS, lambda: tuple(map(EpochRecord.model_validate, folder.read_metrics())), ()),
        part(RESULT, lambda: ResultRecord.model_validate(folder.read_json(RESULT)), None),
        part(CARD, lambda: read_card(path / CARD), None),
        tuple(notes),
    )


def curve(card: Card) -> Markup:
    """The robustness curve."""
    points, headline = card.curve, card.at(card.setting.headline)
    series = [
        Series(name, tuple(_dot(x, point.bound, name, getattr(point, field)) for x, point in enumerate(points)))
        for field, name in CURVES.items()
    ]
    worst, pgd = words.percent(headline.worst.percent), words.percent(headline.pgd.percent)
    description = (
        f"Lines over {len(points)} bounds: {', '.join(CURVES.values())}. At the headline bound "
        f"{words.bound(headline.bound)} the worst case is {worst} percent and PGD says {pgd}. All values are in the "
        "table below."
    )
    frame = {"y": charts.percent_axis("accuracy, %"), "title": f"Accuracy of {card.subject.name} by bound"}
    frame |= {"description": description, "mark": (points.index(headline), "headline")}
    return _over_bounds(series, [point.bound for point in points], "curve", frame)


def worst_cases(runs: Sequence[Run]) -> Markup | None:
    """The worst case of every audited run over the bounds of all of them; None without an audit."""
    bounds = {bound: number for number, bound in enumerate(all_bounds(runs))}
    if not bounds:
        return None
    series = []
    for run in runs:
        points = sorted(run.card.curve if run.card else [], key=lambda point: bounds[point.bound])
        dots = tuple(_dot(bounds[point.bound], point.bound, run.name, point.worst) for point in points)
        series.append(Series(run.name, dots))
    y, title = charts.percent_axis("worst-case accuracy, %"), "Worst-case accuracy of the audited runs by bound"
    description = f"One line per audited run over {len(bounds)} bounds; values in the table below."
    return _over_bounds(series, list(bounds), "worst", {"y": y, "title": title, "description": description})


def _over_bounds(series: Sequence[Series], bounds: list[str], key: str, options: dict[str, Any]) -> Markup:
    """A legend, then the chart in each of `SIZES`; `options` are those of `Chart`."""
    names, label = words.ticks(bounds)
    frame = {"x": charts.category_axis(label, names), **options}
    drawings = [Chart(width=w, height=h, **frame).draw(series, f"{key}-{size}", size) for size, (w, h) in SIZES.items()]
    return legend(series) + Markup("").join(drawings)


def _dot(position: float, bound: str, name: str, share: Share) -> Dot:
    hover = f"{name}, {words.bound(bound)}: {share.percent:.1f} % ({words.interval(share.low, share.high)})"
    return Dot(position, share.percent, share.low, share.high, hover)


def heat(card: Card) -> dict[str, Any]:
    """The heat map of the screening: accuracy under each attack alone (columns) with each gradient rule alone (rows).

    "cells" has the pairs that were tried, "lowest" the lowest percentage of a column unless all rules leave the same,
    "controls" the attacks that use no gradient, and so no rule.
    """
    screening = card.screening
    rules = dict.fromkeys([*screening.selected, *screening.dropped, *(report.rule for report in screening.rules)])
    tried = [cell for cell in screening.cells if cell.standing.of]
    cells = {(cell.rule, cell.attack): cell.standing for cell in tried if cell.rule in rules}
    left: dict[str, set[float]] = {}
    for (_, attack), standing in cells.items():
        left.setdefault(attack, set()).add(standing.percent)
    return {
        "rules": list(rules),
        "attacks": list(left),
        "cells": cells,
        "lowest": {attack: min(percents) for attack, percents in left.items() if len(percents) > 1},
        "controls": [(cell.attack, cell.standing) for cell in tried if cell.rule not in rules],
    }


def training(runs: Sequence[Run]) -> Figures:
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


def neurons(runs: Sequence[Run]) -> Figures:
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


def _over_epochs(heading: str, series: Sequence[Series], y: charts.Axis, key: str) -> tuple[str, Markup]:
    last = int(max(line.dots[-1].x for line in series if line.dots))
    ends = ", ".join(f"{line.name} ends at {line.dots[-1].y:.4g}" for line in series if line.dots)
    chart = Chart(charts.epoch_axis(last), y, heading, f"Over {last} epochs: {ends}.", width=420, height=290)
    return heading, legend(series) + chart.draw(series, key)


def boxes(run: Run) -> dict[str, dict[str, float | None]]:
    """White box, black box and twins of a run -> attack -> accuracy in percent; one box if it was not evaluated."""
    if run.outcome is None:
        return {"white box": {}}
    attacks = run.outcome.attacks
    columns = {"white box": {CLEAN: run.outcome.clean, **{name: each.white_box for name, each in attacks.items()}}}
    for name, attack in attacks.items():
        for twin, accuracy in attack.twins.items():
            columns.setdefault(f"twin: {twin}", {})[name] = accuracy
    if len(columns) == 1 and any(attack.black_box is not None for attack in attacks.values()):
        columns["black box"] = {name: attack.black_box for name, attack in attacks.items()}
    return columns


def attack_rows(runs: Sequence[Run]) -> list[tuple[str, list[float | None]]]:
    """Attack -> accuracy in percent in every box of every run, clean images first; None where it was not measured."""
    columns = [column for run in runs for column in boxes(run).values()]
    labels = dict.fromkeys([CLEAN, *(label for column in columns for label in column)])
    return [(label, [column.get(label) for column in columns]) for label in labels]


def compared(tables: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    """Settings that differ, with the value of each table, where a missing one is a dash; and those that all share."""
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = [(key, [words.plain(table.get(key)) for table in tables]) for key in keys]
    differing = [(key, values) for key, values in rows if len(set(values)) > 1]
    return differing, [(key, values[0]) for key, values in rows if len(set(values)) == 1]


def all_bounds(runs: Sequence[Run]) -> list[str]:
    """The bounds of all cards in increasing order, the unbounded attack last."""
    points = [point for run in runs if run.card for point in run.card.curve]
    eps = {point.bound: math.inf if point.eps is None else point.eps for point in points}
    return sorted(eps, key=lambda bound: eps[bound])


def audit_page(card: Card) -> str:
    """The page of one audit: the number to report, why, and everything that was measured."""
    return rendered(
        "audit.html",
        card=card,
        headline=card.at(card.setting.headline),
        curve=curve(card),
        curves=CURVES,
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
        settings=compared([flatten(run.recipe.model_dump(mode="json")) for run in runs]),
        environments=compared([run.environment for run in runs]),
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


def rendered(template: str, **values: Any) -> str:
    """The page that a template of report/templates makes of `values`."""
    page = charts.templates().get_template(template).render(values)
    # The name of a folder need not be valid Unicode; a page must be.
    return page.encode(errors="replace").decode()
