"""`hiresnn board`: audit cards become one page that ranks the networks by their worst case."""

from __future__ import annotations

from typing import Annotated

import typer

from hiresnn.cli.options import Html, require_html


def board(
    cards: Annotated[
        list[str],
        typer.Argument(
            metavar="CARD...",
            help="One or more of: the card.json of an audit; an audited run folder; the word zoo, for all networks of "
            "the package; TARGET=CARD, where TARGET names the network as for hiresnn audit. A Python file that TARGET "
            "names is executed.",
        ),
    ],
    out: Html,
) -> None:
    """Rank audited networks on one HTML page by their accuracy in the worst case.

    Each audit is checked again: its adversarial images must lie within their bound, its network must misclassify them,
    and they must give the counts of the card. An audit that fails this check is listed with the reason and has no
    rank. Only networks that were audited on the same data at the same bound are compared.

    Examples:

    hiresnn board zoo runs/mine -o board.html

    hiresnn board runs/*/audit/card.json mine.py:network=audits/mine-network/card.json -o board.html
    """
    from hiresnn.app.folder import SHELF
    from hiresnn.files import write_atomically
    from hiresnn.hub.pretrained import names
    from hiresnn.report.board import board_page, read_entries

    require_html(out, "board.html")
    shipped = [str(SHELF / name) for name in names()]
    entries = read_entries([path for card in cards for path in (shipped if card == "zoo" else [card])])
    write_atomically(out, board_page(entries).encode())
    counted = [entry for entry in entries if not entry.problem]
    for entry in entries:
        if entry.problem:
            print(f"Unverified: {entry.name}: {entry.problem}")
    print(f"Wrote {out}: {len(counted)} of {len(entries)} audits verified.")
    if not counted:
        raise typer.Exit(1)
