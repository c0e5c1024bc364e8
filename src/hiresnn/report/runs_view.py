"""The parts of a page of runs that need computing: charts over epochs, tables of accuracies and of settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from markupsafe import Markup

from hiresnn.charts.axes import Axis, category_axis, epoch_axis, number_axis, percent_axis
from hiresnn.charts.svg import Chart, Dot, Series, legend
from hiresnn.report import words
from hiresnn.report.audit_view import dot, in_both_sizes
from hiresnn.report.reading import Run
from hiresnn.runs.records import AttackRecord

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
        epochs = [epoch for each in rows.values() for epoch in each]
        if not epochs:
            continue
        losses = [Series(run, tuple(Dot(e.epoch, e.loss) for e in each)) for run, each in rows.items()]
        axis = number_axis("loss (cross-entropy)", [epoch.loss for epoch in epochs], zero=True)
        figures.append(_over_epochs(f"{title} loss", losses, axis, f"{stage}-loss"))
        right = [Series(run, tuple(Dot(e.epoch, e.train_accuracy) for e in each)) for run, each in rows.items()]
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
                series = [Series(layer, tuple(each)) for layer, each in dots.items()]
                figures.append(_over_epochs(f"{title}, {run.name}", series, axis, f"{field}-{number}"))
    return figures


def _over_epochs(heading: str, series: Sequence[Series], y: Axis, key: str) -> Figure:
    last = int(max(line.dots[-1].x for line in series if line.dots))
    ends = ", ".join(f"{line.name} ends at {line.dots[-1].y:.4g}" for line in series if line.dots)
    chart = Chart(epoch_axis(last), y, heading, f"Over {last} epochs: {ends}.", width=420, height=290)
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
        x=category_axis(label, names),
        y=percent_axis("worst-case accuracy, %"),
        title="Worst-case accuracy of the audited runs by bound",
        description=f"One line per audited run over {len(bounds)} bounds; values in the table below.",
    )


def all_bounds(runs: Sequence[Run]) -> list[str]:
    """The bounds of all cards in increasing order, the unbounded attack last."""
    eps = {point.bound: point.eps for run in runs if run.card for point in run.card.curve}
    return sorted(eps, key=lambda bound: float("inf") if eps[bound] is None else float(eps[bound] or 0))
