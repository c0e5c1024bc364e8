"""The commands together, what they share, and how errors leave the program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console

from hiresnn import __version__
from hiresnn.cli import analyze, audit, doctor, evaluate, quickstart, recipes, report, reproduce, train
from hiresnn.errors import HiresnnError, LostProcessError
from hiresnn.process import leads

app = typer.Typer(
    name="hiresnn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(recipes.app, name="recipes")
app.add_typer(analyze.app, name="analyze")
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("audit")(audit.audit)
app.command("reproduce")(reproduce.reproduce)
app.command("quickstart")(quickstart.quickstart)
app.command("doctor")(doctor.doctor)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"hiresnn {__version__}")
        raise typer.Exit


@app.callback()
def hiresnn(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Train, attack and audit low-latency spiking neural networks.

    Start with **hiresnn quickstart**: on embedded data, in about a minute, it trains an ANN, a
    traditional SNN and a HIRE-SNN, attacks all three and prints the table.

    Then **hiresnn recipes** lists what else can be trained, **hiresnn train RECIPE** trains
    it into a run folder, and **hiresnn evaluate RUN** attacks what is in the folder.
    **hiresnn audit** asks of any network, trained here or elsewhere, whether its robustness is real.
    **hiresnn analyze** counts its spikes, its distances and its energy, and **hiresnn report** makes a page
    of one or several runs.

    **hiresnn reproduce NAME** makes the paper's tables and figures, the printed numbers beside the measured ones.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and exit.

    An error that a user can mend is one sentence on standard error and its exit code, also one of the file system;
    `--debug` shows the traceback instead. Always raises SystemExit, except for defects of hiresnn itself.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    kept = [argument for argument in given if argument != "--debug"]
    try:
        app(args=kept, prog_name="hiresnn", obj=kept)
    except (HiresnnError, OSError) as error:
        if "--debug" in given or (isinstance(error, OSError) and error.filename is None):
            raise
        if leads() or isinstance(error, LostProcessError):  # of several processes one speaks, if it still lives
            said = error if isinstance(error, HiresnnError) else f"{error.filename}: {error.strerror}."
            Console(stderr=True).print(f"Error: {said}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code if isinstance(error, HiresnnError) else 1)
