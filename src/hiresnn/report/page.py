"""Whole pages: one HTML text each, style and images inside it, no script, nothing that is fetched.

The page forbids itself every request by its content security policy, so that it opens offline and tells nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hiresnn import __version__
from hiresnn.audit.card import Card
from hiresnn.charts.palette import DARK, LIGHT, shade, variables
from hiresnn.errors import UsageError
from hiresnn.progress import duration
from hiresnn.report import audit_view, runs_view, words
from hiresnn.report.reading import Run, read_card, read_run, told_apart

AUDIT_PAGE, RUNS_PAGE = "audit.html", "runs.html"


def audit_page(card: Card) -> str:
    """The page of one audit: what it found, how, and whether to believe it."""
    attacks, rows = audit_view.heat(card)
    return _rendered(
        AUDIT_PAGE,
        card=card,
        headline=card.at(card.setting.headline),
        graver=audit_view.graver(card.conclusion),
        curve=audit_view.curve(card, "curve"),
        overestimates=audit_view.overestimates(card),
        attacked_bounds=audit_view.attacked_bounds(card),
        heat_attacks=attacks,
        heat_rows=rows,
        heat_unruled=audit_view.unruled(card),
        indicators=audit_view.INDICATORS,
        questions=audit_view.questions(card.screening.rules),
        most_spikes=max((max(layer.clean, layer.attacked) for layer in card.activity or []), default=0) or 1,
        alternative=audit_view.alternative,
    )


def runs_page(runs: Sequence[Run]) -> str:
    """The page of one or several training runs, side by side, with their audits where they have one.

    Raises:
        UsageError: there is no run.
    """
    if not runs:
        raise UsageError("a page of runs needs at least one; name a run folder.")
    names = told_apart(runs)
    columns = runs_view.attack_columns(runs)
    settings_differing, settings_equal = runs_view.settings(runs)
    environments_differing, environments_equal = runs_view.environments(runs)
    audited = any(run.card for run in runs)
    return _rendered(
        RUNS_PAGE,
        runs=list(zip(names, runs, strict=True)),
        names=names,
        training=runs_view.training(runs, names),
        neurons=runs_view.neurons(runs, names),
        columns=columns,
        attack_rows=runs_view.attack_rows(runs, columns),
        settings_differing=settings_differing,
        settings_equal=settings_equal,
        environments_differing=environments_differing,
        environments_equal=environments_equal,
        bounds=runs_view.all_bounds(runs),
        worst=runs_view.worst_cases(runs, names) if audited else None,
        small_curve=audit_view.small_curve,
    )


def page_of(paths: Sequence[Path]) -> str:
    """The page of what `paths` name: one card.json, or run folders, each once.

    Raises:
        HiresnnError: a path that is neither, a damaged file, or a card among other paths.
    """
    cards = [path for path in paths if path.suffix == ".json"]
    if cards and len(paths) > 1:
        raise UsageError(
            f"{cards[0]} is an audit card, which has a page of its own; name it alone, or name run folders to see "
            "their audits side by side."
        )
    if cards:
        return audit_page(read_card(cards[0]))
    return runs_page([read_run(path) for path in {path.resolve(): path for path in paths}.values()])


@cache
def _environment() -> Environment:
    loader = PackageLoader("hiresnn.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": words.percent,
        "change": words.change,
        "bound": words.bound,
        "breakable": words.breakable,
        "number": words.number,
        "plain": words.plain,
        "duration": duration,
    }
    environment.globals |= {
        "badges": audit_view.BADGES,
        "curves": audit_view.CURVES,
        "heat_scale": lambda percent: shade(percent).style,
        "interval": words.interval,
        "missing": words.MISSING,
        "version": __version__,
        "light": Markup(variables(LIGHT)),
        "dark": Markup(variables(DARK)),
    }
    return environment


def _rendered(template: str, **values: Any) -> str:
    page = _environment().get_template(template).render(values)
    # The name of a folder may be no Unicode, a page is.
    return page.encode(errors="replace").decode()
