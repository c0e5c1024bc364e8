"""`hiresnn report`: run folders or an audit card become one HTML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hiresnn.cli.options import Html, require_html


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders that hiresnn train wrote, or the card.json of one audit."),
    ],
    out: Html,
) -> None:
    """Turn training runs, or an audit card, into one HTML file.

    A page of run folders compares losses, thresholds and leaks over epochs, accuracies under attack, recipes and audits
    of the runs. A page of a card.json shows everything that the audit measured. Pages open offline.

    Examples:

    hiresnn report runs/quickstart/hire-seed0 runs/quickstart/traditional-seed0 -o runs.html

    hiresnn report runs/mine/audit/card.json -o audit.html
    """
    from hiresnn.files import write_atomically
    from hiresnn.report.pages import page_of

    require_html(out, "report.html")
    page, notes = page_of(runs)
    content = page.encode()
    write_atomically(out, content)
    for note in notes:
        print(f"Not in the page: {note}", file=sys.stderr)
    print(f"Wrote {out} ({len(content) / 1024:,.0f} KiB).")
