"""`hiresnn attacks` and `hiresnn rules`: the values of --attack and of its option rule, with every default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Column, Table

from hiresnn.cli import output

if TYPE_CHECKING:
    from hiresnn.plugins import Kind


def attacks() -> None:
    """List the attacks with their options and defaults.

    Use a name with --attack of hiresnn evaluate, audit and analyze, and write options after a colon: --attack
    pgd:eps=2/255,iterations=20. The default step is 0.31875*eps. docs/attacks.md explains the options.

    Example: hiresnn attacks
    """
    from hiresnn.attacks.catalog import ATTACKS
    from hiresnn.attacks.gate import STEP_SHARE, format_option

    rows = []
    for name, info in ATTACKS.items():
        options = [
            f"{key}={f'{STEP_SHARE:g}*eps' if value is None else format_option(key, value)}"
            for key, value in info.options.items()
        ]
        rule = {"none": [], "one": ["rule=NAME"], "several": ["rule=NAME+NAME"]}[info.rules]
        rows.append((name, info.summary, ", ".join([*options, *rule])))
    _print("attacks", ("attack", "what it does"), rows)


def rules() -> None:
    """List the gradient rules, which an attack can use for the derivative of a spike.

    A spike has no useful derivative, so an attack replaces it by one of these functions. Write a rule as an option of
    an attack, and options of the rule after slashes: --attack pgd:rule=arctan/alpha=4. In the formulas, z is the
    membrane potential relative to the threshold, and a spike occurs where z > 0.

    Example: hiresnn rules
    """
    from hiresnn.neurons.rules import RULES

    rows = [
        (name, info.summary, ", ".join(f"{key}={value:g}" for key, value in info.options.items()))
        for name, info in RULES.items()
    ]
    _print("rules", ("rule", "what it is"), rows)


def _print(kind: Kind, headings: tuple[str, str], rows: Iterable[tuple[str, str, str]]) -> None:
    """Print a table of the rows and of what installed packages offer, which is not imported."""
    from hiresnn.plugins import offered

    shown = Table(*(Column(heading, overflow="fold") for heading in (*headings, "options and defaults")))
    for row in rows:
        shown.add_row(*row)
    for name, entry in offered(kind).items():
        shown.add_row(name, f"plug-in {entry.value}", "")
    output.console().print(shown)
