"""Tables on standard output: as wide as the terminal, or as wide as they need in a pipe or a file."""

import sys

from rich.console import Console
from rich.table import Table


def console() -> Console:
    """Return the console for results. It prints texts as they are: names may hold brackets and colons."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 1000)


def broken(label: str) -> str:
    """Return the label of an attack as several short lines, for the heading of a column."""
    return label.replace(":", "\n").replace(",", "\n")


def table(title: str, *headings: str) -> Table:
    """Return an empty table whose first column is text and whose other columns are numbers."""
    made = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        made.add_column(heading, justify="right" if number else "left", no_wrap=number < 2)
    return made
