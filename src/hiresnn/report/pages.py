"""Whole pages of audits, of runs, and of a board that ranks audited networks if their images verify.

Each is one HTML text, which opens offline and forbids every request.
"""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, TypeVar

from markupsafe import Markup

from hiresnn.app.audit import run_around, verify
from hiresnn.app.folder import ENVIRONMENT, METRICS, RESULT, EpochRecord, ResultRecord, RunFolder
from hiresnn.app.recipe import Recipe, flatten
from hiresnn.app.train import training_cost
from hiresnn.audit.card import Card, Point, Share, read_card
from hiresnn.audit.run import CARD as CARD_NAME
from hiresnn.calls import L2
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.report import charts, words
from hiresnn.report.charts import Chart, Dot, Series, legend, number_axis

CARD = f"audit/{CARD_NAME}"
PRICE = "training price, passes per image"
SCRIPT = Path(__file__).parent / "templates" / "sort.js"
CURVES = {"worst": "worst case", "pgd": "the paper's PGD", "fgsm": "the paper's FGSM", "noise": "random noise"}
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
        f"{words.bound(headline.bound)} the worst case is {worst} percent and the paper's PGD says {pgd}. "
        "All values are in the table below."
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
    """A curve over bounds; `options` are those of `Chart`."""
    names, label = words.ticks(bounds)
    return charted(series, key, {"x": charts.category_axis(label, names), **options})


def charted(series: Sequence[Series], key: str, frame: dict[str, Any]) -> Markup:
    """A legend, then the chart in each of `SIZES`; `frame` are the other options of `Chart`."""
    drawings = [Chart(width=w, height=h, **frame).draw(series, f"{key}-{size}", size) for size, (w, h) in SIZES.items()]
    return legend(series) + Markup("").join(drawings)


def _dot(position: float, bound: str, name: str, share: Share) -> Dot:
    hover = f"{name}, {words.bound(bound)}: {share.percent:.1f} % ({words.interval(share.low, share.high)})"
    return Dot(position, share.percent, share.low, share.high, hover)


def heat(card: Card) -> dict[str, Any]:
    """The heat map of the screening: accuracy under each attack alone (columns) with each gradient rule alone (rows).

    "cells" has the pairs that were tried, "lowest" the lowest percentage of a column unless all rules leave the same,
    "controls" the attacks that use no gradient, and so no rule, and "used" the rules of the attacks on all images.
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
        "used": {
            rule
            if rule in rules
            else rule.partition("/")[0]  # variants of a rule, such as assg/start=1, are not screened
            for text in [*screening.selected, *(row.rule or "" for row in card.attacks)]
            for rule in text.split("+")
        },
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
    """The bounds of all cards in increasing order, those in L2 after the others, the unbounded attack last."""
    points = [point for run in runs if run.card for point in run.card.curve]
    eps = {point.bound: math.inf if point.eps is None else point.eps for point in points}
    return sorted(eps, key=lambda bound: (math.isinf(eps[bound]), bound.startswith(L2), eps[bound]))


def audit_page(card: Card) -> str:
    """The page of one audit: the number to report, why, and everything that was measured."""
    headline = card.at(card.setting.headline)
    most_spikes = max((max(layer.clean, layer.attacked) for layer in card.activity or []), default=0) or 1
    drawings = {"curve": curve(card), "curves": CURVES, "heat": heat(card), "most_spikes": most_spikes}
    return rendered("audit.html", card=card, headline=headline, **drawings)


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


class Entry(NamedTuple):
    """One audited network."""

    name: str  # unique on the page
    path: Path  # of its card
    card: Card | None  # None if it cannot be read
    price: float | None = None  # of its training in passes per image; None if the card has no recipe beside it
    problem: str = ""  # why it does not count, in one sentence; empty if it counts
    unchecked: tuple[str, ...] = ()  # what its verification could not check

    @property
    def point(self) -> Point:
        assert self.card is not None
        return self.card.at(self.card.setting.headline)

    @property
    def worst(self) -> Share:
        """What ranks a network: its number to report, of a random one by majority vote."""
        assert self.card is not None
        return self.card.worst


class Group(NamedTuple):
    """Verified entries that were audited on the same data at the same bound, the best worst case first."""

    data: str
    bound: str
    entries: tuple[Entry, ...]

    @property
    def key(self) -> str:  # part of ids in the page
        return hashlib.sha256(f"{self.data} {self.bound}".encode()).hexdigest()[:8]

    @property
    def uneven(self) -> list[str]:  # settings that differ between the audits
        cards = [entry.card for entry in self.entries if entry.card]
        settings: dict[str, set[Any]] = {
            "presets": {card.setting.preset for card in cards},
            "numbers of images": {card.data.images for card in cards},
            "versions of hiresnn": {card.hiresnn for card in cards},
        }
        return [name for name, values in settings.items() if len(values) > 1]

    def plots(self) -> Figures:
        """Heading and drawing: the worst case against clean accuracy, and against price where entries have one."""
        drawn = self.entries[: charts.MOST_DRAWN]
        y = charts.percent_axis(f"worst case at {words.bound(self.bound)}, %")
        clean = [(entry, entry.card.clean.percent) for entry in drawn if entry.card]
        priced = [(entry, entry.price) for entry in drawn if entry.price is not None]
        # From the tens below the lowest, because trained networks differ by a few points.
        tens = [value // 10 * 10 for _, value in clean]
        x = number_axis("clean accuracy, %", [*tens, 100], most=100)
        plots = [("Worst case and clean accuracy", _points(clean, x, y, f"c{self.key}"))]
        if priced:
            x = number_axis(PRICE, [price for _, price in priced], zero=True)
            plots.append(("Worst case and price of the training", _points(priced, x, y, f"p{self.key}")))
        return plots


def _points(places: Sequence[tuple[Entry, float]], x: charts.Axis, y: charts.Axis, key: str) -> Markup:
    series = []
    for entry, value in places:
        worst = entry.worst
        hover = f"{entry.name}: worst case {words.percent(worst.percent)} % ({words.interval(worst.low, worst.high)}), "
        hover += f"{x.label.rstrip(', %')} {words.number(value)}"
        series.append(Series(entry.name, (Dot(value, worst.percent, worst.low, worst.high, hover),)))
    listed = "; ".join(line.dots[0].hover for line in series)
    chart = Chart(x, y, f"{y.label} against {x.label}", f"{listed}.", width=420, height=320)
    return legend(series) + chart.draw(series, key)


def board_page(entries: Sequence[Entry]) -> str:
    """The page of audited networks, ranked by their worst case; at least one, see `read_entries`."""
    if not entries:
        raise UsageError("a board needs at least one audit card; name one.")
    groups, others = grouped(entries)
    script = SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = {"script": Markup(script), "policy": Markup(f"'sha256-{digest}'")}  # no other script may run
    return rendered("board.html", groups=groups, others=others, count=len(entries), most=charts.MOST_DRAWN, **allowed)


def read_entries(arguments: Sequence[str]) -> list[Entry]:
    """Read the cards and verify each against its network and its adversarial images.

    An argument is a card.json, or a folder that has card.json or audit/card.json. `TARGET=CARD` names the network of a
    card; a Python file that TARGET names is executed. Without it the network is the one in the run folder around the
    card, or the run or file that the card names.
    """
    targets: dict[Path, str] = {}
    for path, target in map(_located, arguments):
        targets[path] = targets.get(path) or target
    names = _entry_names(list(targets))
    return [_read_entry(path, name, target) for (path, target), name in zip(targets.items(), names, strict=True)]


def grouped(entries: Sequence[Entry]) -> tuple[list[Group], list[Entry]]:
    """Return the verified entries by data set and bound, the largest group first, and the entries that do not count."""
    counted: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.card is not None and not entry.problem:
            data = entry.card.data
            form = f"{'x'.join(map(str, data.size))}, {', '.join(data.classes)}, {data.split}"
            counted.setdefault((data.name, entry.point.bound, form), []).append(entry)
    pairs = [key[:2] for key in counted]
    groups = [
        Group(  # data sets of one name that differ are told apart by all that a card says of them
            name if pairs.count((name, bound)) == 1 else f"{name} ({form})",
            bound,
            tuple(sorted(members, key=lambda entry: (-entry.worst.percent, entry.name))),
        )
        for (name, bound, form), members in counted.items()
    ]
    groups.sort(key=lambda group: (-len(group.entries), group.data, group.bound))
    return groups, [entry for entry in entries if entry.problem]


def _located(argument: str) -> tuple[Path, str]:
    """(path of the card, target or ""); a target and a path may have an equals sign themselves."""
    cuts = [(argument[:index], argument[index + 1 :]) for index, letter in enumerate(argument) if letter == "="]
    pairs = [("", Path(argument)), *((target, Path(path)) for target, path in cuts)]
    target, path = next((pair for pair in pairs if pair[1].exists()), pairs[-1])
    for card in (path / CARD_NAME, path / CARD, path):
        if card.is_file():
            return card.resolve(), target
    raise UsageError(
        f"{path} has no {CARD_NAME}; name a {CARD_NAME} that hiresnn audit wrote, its folder, or an audited run."
    )


def _entry_names(paths: Sequence[Path]) -> list[str]:
    """Name each card by the end of its run's path, and cards that share a folder by their files."""
    runs = [path.parent.parent if path.parent.name == "audit" else path.parent for path in paths]
    names = [
        path.stem if runs.count(run) > 1 or path.stem != "card" else end
        for path, run, end in zip(paths, runs, unique_ends(runs), strict=True)
    ]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def _read_entry(path: Path, name: str, target: str) -> Entry:
    card = price = None
    unchecked: tuple[str, ...] = ()
    try:
        card = read_card(path)
        if (run := run_around(path)) is not None:
            price = training_cost(RunFolder.open(run).recipe)
        verification = verify(path, target or None)
        unchecked = verification.unchecked
        problem, *more = verification.problems or [""]
        if more:
            problem += f" (and {len(more)} more)"
    except HiresnnError as error:
        problem = str(error)
    return Entry(name, path, card, price, problem, unchecked)


def certify_page(result: Mapping[str, Any]) -> str:
    """The page of `hiresnn certify`: certified accuracy and what attacks leave, one chart per norm."""
    figures: Figures = []
    linf, audited = result["linf"], result["audit"]
    lines = [("certified by interval bounds", linf["certified"]), ("worst case of the audit", linf["worst"])]
    series = [
        Series(name, tuple(Dot(x, y) for x, y in enumerate(values) if y is not None))
        for name, values in lines
        if values is not None and (audited or values is linf["certified"])
    ]
    y, about = (
        charts.percent_axis("accuracy, %"),
        "Certified accuracy below, attacked accuracy above; values in the tables.",
    )
    if series:
        frame = {"y": y, "title": "Accuracy by L-infinity bound", "description": about}
        figures.append(("The network itself, L-infinity", _over_bounds(series, linf["bounds"], "linf", frame)))
    for number, entry in enumerate(result["smoothed"]):
        lines = [("certified", entry["certified"]), ("nearest image found by the attack", entry["attacked"])]
        dots = [(name, zip(entry["radii"], values, strict=True)) for name, values in lines if values is not None]
        series = [Series(name, tuple(Dot(x, y) for x, y in pairs)) for name, pairs in dots]
        x = number_axis(f"{entry['norm']} radius", entry["radii"], zero=True)
        frame = {"x": x, "y": y, "title": f"Accuracy by {entry['norm']} radius", "description": about}
        heading = f"The smoothed network, {entry['smoothing']}, {entry['norm']}"
        figures.append((heading, charted(series, f"smoothed-{number}", frame)))
    return rendered("certify.html", result=result, figures=figures)
