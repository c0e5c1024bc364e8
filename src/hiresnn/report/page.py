"""Whole pages: one HTML text each, with style and images inside, without scripts.

The content security policy of a page forbids every request, so that it opens offline and nobody learns of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from hiresnn import __version__
from hiresnn.audit.card import Card
from hiresnn.charts.palette import DARK, LIGHT, heat_style, variables
from hiresnn.charts.svg import MOST_DRAWN, templates_of
from hiresnn.errors import UsageError
from hiresnn.progress import duration
from hiresnn.report import audit_view, runs_view, words
from hiresnn.report.reading import Run, read_card, read_runs


def audit_page(card: Card) -> str:
    """The page of one audit: the number to report, why, and everything that was measured."""
    return rendered(
        "audit.html",
        card=card,
        headline=card.at(card.setting.headline),
        curve=audit_view.curve(card),
        heat=audit_view.heat(card),
        most_spikes=max((max(layer.clean, layer.attacked) for layer in card.activity or []), default=0) or 1,
    )


def runs_page(runs: Sequence[Run]) -> str:
    """The page of training runs side by side, with their audits where they have one.

    Raises:
        UsageError: `runs` is empty.
    """
    if not runs:
        raise UsageError("a page of runs needs at least one run folder; name one.")
    first = runs[:MOST_DRAWN]
    return rendered(
        "runs.html",
        runs=runs,
        drawn=len(first),
        audited=[run for run in runs if run.card],
        training=runs_view.training(first),
        neurons=runs_view.neurons(first),
        boxes=[runs_view.boxes(run) for run in runs],
        attack_rows=runs_view.attack_rows(runs),
        settings=runs_view.compared([runs_view.flat(run.recipe.model_dump(mode="json")) for run in runs]),
        environments=runs_view.compared(
            [{name: words.plain(value) for name, value in run.environment.items()} for run in runs]
        ),
        bounds=runs_view.all_bounds(runs),
        worst=runs_view.worst_cases(first),
    )


def page_of(paths: Sequence[Path]) -> tuple[str, list[str]]:
    """The page of one card.json, or of run folders (each once), and the notes on files that could not be read.

    Raises:
        HiresnnError: a path is neither, or damaged; a card is named beside other paths.
    """
    cards = [path for path in paths if path.suffix == ".json"]
    if cards and len(paths) > 1:
        raise UsageError(f"{cards[0]} is an audit card, which has its own page; name it alone, or name run folders.")
    if cards:
        return audit_page(read_card(cards[0])), []
    runs = read_runs(list({path.resolve(): path for path in paths}.values()))
    return runs_page(runs), [note for run in runs for note in run.notes]


@cache
def _environment() -> Environment:
    result = templates_of("hiresnn.report")
    filters = (words.percent, words.change, words.bound, words.breakable, words.number, words.plain, duration)
    result.filters |= {function.__name__: function for function in filters}
    result.globals |= {"curves": audit_view.CURVES, "heat_style": heat_style, "interval": words.interval}
    result.globals |= {"missing": words.MISSING, "version": __version__}
    result.globals |= {"light": Markup(variables(LIGHT)), "dark": Markup(variables(DARK))}
    return result


def rendered(template: str, **values: Any) -> str:
    """The page that a template of report/templates makes of `values`."""
    page = _environment().get_template(template).render(values)
    # The name of a folder need not be valid Unicode; a page must be.
    return page.encode(errors="replace").decode()
