"""`hiresnn zoo`: list, show and copy the pretrained networks of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hiresnn.errors import command_line

app = typer.Typer(
    help="List, show and copy the pretrained networks of the package. Without a command, list them.\n\n"
    "Each network comes with its recipe, its results and an audit of its robustness. From Python, "
    'hiresnn.from_pretrained("NAME") loads it; hiresnn zoo copy makes a run folder, which the other commands take.\n\n'
    "Example: hiresnn zoo copy digits-hire mine, then hiresnn audit mine --verify mine/audit/card.json",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that hiresnn zoo lists.")]


@app.callback(invoke_without_command=True)
@app.command("list", hidden=True)
def listing(context: typer.Context) -> None:
    """List the networks with their accuracies in percent, as audited."""
    if context.invoked_subcommand is not None:
        return
    from hiresnn.cli.output import console, table
    from hiresnn.hub.pretrained import shipped

    rows = table(
        "Pretrained networks; accuracy in percent, the worst case of an audit with its 95 % interval",
        "name", "clean", "PGD", "worst case", "95 %", "bound", "data", "method", "T", "verdict on PGD",
    )  # fmt: skip
    for run in shipped():
        card = run.card
        assert card is not None
        point, steps = card.at(card.setting.headline), card.subject.timesteps
        rows.add_row(
            run.name, f"{card.clean.percent:.1f}", f"{point.pgd.percent:.1f}", f"{point.worst.percent:.1f}",
            f"{point.worst.low:.1f} - {point.worst.high:.1f}", point.bound, card.data.name, run.recipe.method,
            "" if steps is None else str(steps), card.conclusion.verdict,
        )  # fmt: skip
    console().print(rows)
    print('Next: hiresnn zoo show NAME, or in Python: hiresnn.from_pretrained("NAME")')


@app.command()
def show(name: Name) -> None:
    """Print the model card of a network: what it is, what its robustness is worth, and how it was trained.

    Example: hiresnn zoo show digits-hire
    """
    from hiresnn.hub.pretrained import README, folder_of

    text = (folder_of(name) / README).read_text(encoding="utf-8")
    print(text.partition("\n---\n")[2].strip())


@app.command()
def copy(
    name: Name,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The new run folder; it must not exist yet.")],
) -> None:
    """Copy a network to a run folder, which evaluate, audit, analyze and report take (not analyze conversion).

    Example: hiresnn zoo copy digits-hire mine
    """
    from hiresnn.hub.pretrained import copy as copy_network

    copy_network(name, folder)
    print(f"Wrote {folder}.\nNext: {command_line('evaluate', folder)}")
    print(f"      {command_line('audit', folder, '--verify', folder / 'audit/card.json')}")
