"""Training runs, side by side: charts over epochs, accuracies under attack, and what their recipes differ in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from hiresnn.charts.axes import Axis, category_axis, epoch_axis, number_axis, percent_axis
from hiresnn.charts.svg import Dot, Series, Size, legend, line_chart
from hiresnn.report import words
from hiresnn.report.audit_view import NARROW, WIDE, dot
from hiresnn.report.reading import Epoch, Run

SMALL = Size(420, 290)
STAGES: dict[Literal["ann", "snn"], str] = {"ann": "ANN", "snn": "SNN"}


@dataclass(frozen=True)
class Figure:
    """A chart with its legend, and the heading above it."""

    heading: str
    drawing: Markup


@dataclass(frozen=True)
class Column:
    """One column of accuracies: the run it belongs to and which box it is."""

    run: int
    box: str


def training(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    """Loss and training accuracy of every stage that a run went through, a line a run."""
    figures = []
    for stage, title in STAGES.items():
        # A run keeps its colour and its marker in both charts, also where another has no such stage.
        shown = {name: run.stage(stage) for name, run in zip(names, runs, strict=True)}
        if not any(shown.values()):
            continue
        losses = [epoch.loss for rows in shown.values() for epoch in rows]
        loss = number_axis("loss (cross-entropy)", losses, zero=True)
        # Not from 0: late epochs differ by a percent or less.
        accuracy = number_axis("training accuracy, %", [row.train_accuracy for rows in shown.values() for row in rows])
        figures += [
            _over_epochs(f"{title} loss", shown, lambda epoch: epoch.loss, loss, f"{stage}-loss"),
            _over_epochs(
                f"{title} training accuracy", shown, lambda epoch: epoch.train_accuracy, accuracy, f"{stage}-accuracy"
            ),
        ]
    return figures


def neurons(runs: Sequence[Run], names: Sequence[str]) -> list[Figure]:
    """Thresholds and leaks of every spiking run, a line a layer; one scale for all runs."""
    figures = []
    for field, title in (("thresholds", "Thresholds"), ("leaks", "Leaks")):
        values = [value for run in runs for epoch in run.stage("snn") for value in getattr(epoch, field).values()]
        if not values:
            continue
        axis = number_axis(f"{title.lower().removesuffix('s')} (no unit)", values, zero=field == "thresholds")
        for number, (name, run) in enumerate(zip(names, runs, strict=True)):
            rows = run.stage("snn")
            layers = list(dict.fromkeys(layer for epoch in rows for layer in getattr(epoch, field)))
            if layers:
                series = [Series(layer, _dots(rows, field, layer)) for layer in layers]
                figures.append(_figure(f"{title}, {name}", series, axis, f"{field}-{number}", rows[-1].epoch))
    return figures


def _dots(rows: Sequence[Epoch], field: str, layer: str) -> tuple[Dot, ...]:
    return tuple(Dot(row.epoch, getattr(row, field)[layer]) for row in rows if layer in getattr(row, field))


def _over_epochs(
    heading: str, shown: Mapping[str, Sequence[Epoch]], value: Callable[[Epoch], float], y: Axis, key: str
) -> Figure:
    series = [Series(name, tuple(Dot(row.epoch, value(row)) for row in rows)) for name, rows in shown.items()]
    return _figure(heading, series, y, key, max(row.epoch for rows in shown.values() for row in rows))


def _figure(heading: str, series: list[Series], y: Axis, key: str, last: int) -> Figure:
    ends = "; ".join(f"{line.name} ends at {words.number(line.dots[-1].y)}" for line in series if line.dots)
    drawing = line_chart(
        series, epoch_axis(last), y, key=key, title=heading, description=f"Over {last} epochs: {ends}.", size=SMALL
    )
    return Figure(heading, legend(series) + drawing)


def attack_columns(runs: Sequence[Run]) -> list[Column]:
    """The boxes that each run was attacked in; a run without results has one column, which stays empty."""
    columns = []
    for number, run in enumerate(runs):
        attacks = run.outcome.attacks.values() if run.outcome else []
        kinds = list(dict.fromkeys(kind for boxes in attacks for kind in boxes.twins))
        black = any(boxes.black_box is not None for boxes in attacks) and not kinds
        boxes = ["white box", *(["black box"] if black else []), *(f"twin: {kind}" for kind in kinds)]
        columns += [Column(number, box) for box in boxes]
    return columns


def attack_rows(runs: Sequence[Run], columns: Sequence[Column]) -> list[tuple[str, list[float | None]]]:
    """Attack -> accuracy in percent in every column, clean images first; None where it was not measured."""
    labels = list(dict.fromkeys(label for run in runs if run.outcome for label in run.outcome.attacks))

    def cell(column: Column, label: str) -> float | None:
        outcome = runs[column.run].outcome
        boxes = outcome.attacks.get(label) if outcome else None
        if boxes is None:
            return None
        if column.box == "white box":
            return boxes.white_box
        return boxes.black_box if column.box == "black box" else boxes.twins.get(column.box.removeprefix("twin: "))

    def clean(column: Column) -> float | None:
        outcome = runs[column.run].outcome
        return outcome.clean if outcome and column.box == "white box" else None

    rows = [("none (clean)", [clean(column) for column in columns])]
    return rows + [(label, [cell(column, label) for column in columns]) for label in labels]


def settings(runs: Sequence[Run]) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    """Keys of the recipes in which the runs differ, with every run's value; and those equal in all of them."""
    return compared([_flat(run.recipe.model_dump(mode="json")) for run in runs])


def environments(runs: Sequence[Run]) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    """The same of the environments in which they ran."""
    return compared([{key: words.plain(value) for key, value in run.environment.items()} for run in runs])


def compared(tables: Sequence[Mapping[str, str]]) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    """Rows that differ, a value a table, and rows that are equal in all; a key that a table lacks is a dash in it."""
    keys = list(dict.fromkeys(key for table in tables for key in table))
    rows = [(key, [table.get(key, words.MISSING) for table in tables]) for key in keys]
    differing = [(key, values) for key, values in rows if len(set(values)) > 1]
    return differing, [(key, values[0]) for key, values in rows if len(set(values)) == 1]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    pairs: dict[str, str] = {}
    for key, value in values.items():
        pairs |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": words.plain(value)}
    return pairs


def worst_cases(runs: Sequence[Run], names: Sequence[str]) -> Markup:
    """The worst case of every audited run over the bounds of all of them, twice as `audit_view.curve`."""
    bounds = all_bounds(runs)
    series = []
    for name, run in zip(names, runs, strict=True):
        # A run that was not audited has an empty line, so that every run looks as it does in the other charts.
        points = sorted(run.card.curve if run.card else [], key=lambda point: bounds.index(point.bound))
        series.append(
            Series(name, tuple(dot(bounds.index(point.bound), point.bound, name, point.worst) for point in points))
        )
    short, label = words.ticks(bounds)
    audited = sum(run.card is not None for run in runs)
    drawings = [
        line_chart(
            series,
            category_axis(label, short),
            percent_axis("worst-case accuracy, %"),
            key=f"worst-{kind}",
            title="Worst-case accuracy of the audited runs by bound",
            description=f"A line for each of {audited} runs over {len(bounds)} bounds; values in the table below.",
            size=size,
            kind=kind,
        )
        for kind, size in (("wide", WIDE), ("narrow", NARROW))
    ]
    return legend(series) + Markup("").join(drawings)


def all_bounds(runs: Sequence[Run]) -> list[str]:
    """The bounds of all cards, the smallest first, the unbounded attack last."""
    points = {point.bound: point for run in runs if run.card for point in run.card.curve}
    return sorted(
        points, key=lambda label: float("inf") if points[label].eps is None else float(points[label].eps or 0)
    )
