"""`hiresnn report`: runs or an audit card become one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hiresnn.cli.interrupt import continued_by


def report(
    context: typer.Context,
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Run folders that hiresnn train wrote, or one card.json that hiresnn audit wrote."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.html", help="The page; a page there is replaced.")],
) -> None:
    """Turn training runs, or an audit card, into one HTML file.

    Run folders stand side by side: losses, thresholds and leaks over epochs, accuracies under attack, recipe
    differences, and their audits where they have one. A card.json becomes the full page of that audit. The file
    opens offline; it loads nothing.

    Examples:

    hiresnn report runs/quickstart/hire-seed0 runs/quickstart/traditional-seed0 -o runs.html

    hiresnn report runs/mine/audit/card.json -o audit.html
    """
    with continued_by(context):
        from hiresnn.errors import UsageError
        from hiresnn.report.page import page_of
        from hiresnn.runs.atomic import write_atomically

        if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
            raise UsageError(f"--out {out} is no HTML file; name one that ends in .html, such as report.html.")
        page = page_of(runs).encode()
        write_atomically(out, page)
    Console(highlight=False).print(f"Wrote {out} ({len(page) / 1024:,.0f} KiB).", markup=False, soft_wrap=True)
