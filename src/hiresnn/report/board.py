"""Audited networks ranked by their worst case, one group per data set and bound, if their images verify."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hiresnn.app.audit import run_around, verify
from hiresnn.app.folder import RunFolder
from hiresnn.app.train import training_cost
from hiresnn.audit.card import Card, Point, read_card
from hiresnn.audit.run import CARD
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.report import words
from hiresnn.report.charts import MOST_DRAWN, Axis, Chart, Dot, Series, legend, number_axis, percent_axis
from hiresnn.report.pages import Figures, rendered, unique_ends

SCRIPT = Path(__file__).parent / "templates" / "sort.js"
PRICE = "training price, passes per image"


@dataclass(frozen=True)
class Entry:
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


@dataclass(frozen=True)
class Group:
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
        drawn = self.entries[:MOST_DRAWN]
        y = percent_axis(f"worst case at {words.bound(self.bound)}, %")
        clean = [(entry, entry.card.clean.percent) for entry in drawn if entry.card]
        priced = [(entry, entry.price) for entry in drawn if entry.price is not None]
        # From the tens below the lowest, because trained networks differ by a few points.
        tens = [value // 10 * 10 for _, value in clean]
        x = number_axis("clean accuracy, %", [*tens, 100], most=100)
        plots = [("Worst case and clean accuracy", _plot(clean, x, y, f"c{self.key}"))]
        if priced:
            x = number_axis(PRICE, [price for _, price in priced], zero=True)
            plots.append(("Worst case and price of the training", _plot(priced, x, y, f"p{self.key}")))
        return plots


def _plot(places: Sequence[tuple[Entry, float]], x: Axis, y: Axis, key: str) -> Markup:
    series = []
    for entry, value in places:
        worst = entry.point.worst
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
    return rendered("board.html", groups=groups, others=others, count=len(entries), most=MOST_DRAWN, **allowed)


def read_entries(arguments: Sequence[str]) -> list[Entry]:
    """Read the cards and verify each against its network and its adversarial images.

    An argument is a card.json, or a folder that has card.json or audit/card.json. `TARGET=CARD` names the network of a
    card; a Python file that TARGET names is executed. Without it the network is the one in the run folder around the
    card, or the run or file that the card names.
    """
    targets: dict[Path, str] = {}
    for path, target in map(_located, arguments):
        targets[path] = targets.get(path) or target
    names = _names(list(targets))
    return [_read(path, name, target) for (path, target), name in zip(targets.items(), names, strict=True)]


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
            tuple(sorted(members, key=lambda entry: (-entry.point.worst.percent, entry.name))),
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
    for card in (path / CARD, path / "audit" / CARD, path):
        if card.is_file():
            return card.resolve(), target
    raise UsageError(f"{path} has no {CARD}; name a {CARD} that hiresnn audit wrote, its folder, or an audited run.")


def _names(paths: Sequence[Path]) -> list[str]:
    """Name each card by the end of its run's path, and cards that share a folder by their files."""
    runs = [path.parent.parent if path.parent.name == "audit" else path.parent for path in paths]
    names = [
        path.stem if runs.count(run) > 1 or path.stem != "card" else end
        for path, run, end in zip(paths, runs, unique_ends(runs), strict=True)
    ]
    return [name if names.count(name) == 1 else str(path) for name, path in zip(names, paths, strict=True)]


def _read(path: Path, name: str, target: str) -> Entry:
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
