"""`hiresnn attacks` and `hiresnn rules`: the values of --attack and of its option rule, with every default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

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
    from hiresnn.attacks.options import STEP_SHARE, format_option

    shown = _table("attack", "what it does", "options and defaults")
    for name, info in ATTACKS.items():
        options = [
            f"{key}={f'{STEP_SHARE:g}*eps' if value is None else format_option(key, value)}"
            for key, value in info.options.items()
        ]
        rule = {"none": [], "one": ["rule=NAME"], "several": ["rule=NAME+NAME"]}[info.rules]
        shown.add_row(name, info.summary, ", ".join([*options, *rule]))
    _add_plugins(shown, "attacks")
    output.console().print(shown)


def rules() -> None:
    """List the gradient rules, which an attack can use for the derivative of a spike.

    A spike has no useful derivative, so an attack replaces it by one of these functions. Write a rule as an option of
    an attack, and options of the rule after slashes: --attack pgd:rule=arctan/alpha=4. In the formulas, z is the
    membrane potential relative to the threshold, and a spike occurs where z > 0.

    Example: hiresnn rules
    """
    from hiresnn.neurons.rules import RULES

    shown = _table("rule", "what it is", "options and defaults")
    for name, info in RULES.items():
        shown.add_row(name, info.summary, ", ".join(f"{key}={value:g}" for key, value in info.options.items()))
    _add_plugins(shown, "rules")
    output.console().print(shown)


def _add_plugins(shown: Table, kind: Kind) -> None:
    """Add what installed packages offer, without importing it."""
    from hiresnn.plugins import offered

    for name, entry in offered(kind).items():
        shown.add_row(name, f"plug-in {entry.value}", "")


def _table(*headings: str) -> Table:
    shown = Table()
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    return shown
