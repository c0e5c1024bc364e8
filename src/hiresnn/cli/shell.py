"""All commands together, and how errors leave the program."""

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer

from hiresnn.cli.audit import audit, board, report
from hiresnn.cli.certify import certify
from hiresnn.cli.common import document
from hiresnn.cli.doctor import doctor, quickstart
from hiresnn.cli.evaluate import analyze, attacks, evaluate, rules
from hiresnn.cli.exchange import Publish, export, import_checkpoint, publish, zoo
from hiresnn.cli.train import Train, events, recipes_app, resume, train
from hiresnn.errors import HiresnnError, LostProcessError, UsageError
from hiresnn.process import keep_kernels, keep_memory, leads
from hiresnn.version import __version__

COMPUTING = {
    "quickstart",
    "train",
    "resume",
    "evaluate",
    "audit",
    "certify",
}  # for long: they keep memory and compiled kernels
CONTINUED = {"quickstart", "resume", "audit"}  # they continue their work when the same line is run again

app = typer.Typer(
    name="hiresnn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(quickstart)
app.command(cls=Train)(train)
app.command(cls=Publish)(publish)
for command in (
    resume,
    evaluate,
    audit,
    certify,
    export,
    report,
    board,
    import_checkpoint,
    attacks,
    rules,
    events,
    doctor,
):
    app.command()(command)
for name, group in {"recipes": recipes_app, "analyze": analyze, "zoo": zoo}.items():
    document(group)
    app.add_typer(group, name=name)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"hiresnn {__version__}")
        raise typer.Exit


@app.callback()
def hiresnn(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, in any command.")] = False,
) -> None:
    """Train, attack and audit low-latency spiking neural networks (SNNs).

    Start with **hiresnn quickstart**. In one to two minutes it trains an ordinary network with ReLUs (an ANN) and three
    SNNs on handwritten digits, attacks all of them and prints a table. A recipe is a file that describes a training:
    **train RECIPE** trains a network and writes a run folder, **evaluate RUN** prints its accuracy with and without
    attacks, and **audit** checks whether the robustness of any network is real.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def reproduce(context: typer.Context) -> None:
    """Say how to reproduce the paper; the program for it is in the repository, not in the installed package."""
    words = shlex.join(context.args or ["all", "--scale", "smoke"])
    raise UsageError(
        f"the reproduction of the paper is run from a checkout of the repository: make reproduce ARGS={words!r}, or "
        f"python -m reproduction {words} after pip install '.[paper]' there; see docs/reproduce.md."
    )


document(app)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit.

    An error that a user can fix is one sentence on standard error and its exit code; `--debug` shows the traceback
    instead. Ctrl-C ends with exit code 130 and names the command that continues the work, which a command may change in
    its `context.obj`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--debug"]
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 (None if the caller has closed it)
    try:
        if odd := [word for word in words if any("\ud800" <= letter <= "\udfff" for letter in word)]:
            raise UsageError(f"the argument {odd[0][:200]!a} is not UTF-8; rename the file or folder of this name.")
        if words and words[0] in COMPUTING and not {"-h", "--help"} & {*words}:
            keep_memory()
            keep_kernels()
        try:
            app(args=words, prog_name="hiresnn", obj=words)
        finally:
            sys.stdout.flush()
    except (HiresnnError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EPIPE, errno.ENOSPC) and _is_unwritable(sys.stdout):
            if error.errno == errno.ENOSPC:  # a closed pipe means that the reader, such as head, has seen enough
                print(f"Error: standard output cannot be written: {error.strerror}.", file=sys.stderr)
            sys.exit(1)
        if "--debug" in given:
            raise
        text = str(error)
        if isinstance(error, OSError) and error.filename is not None:
            text = f"{str(error.filename)[:200]}: {error.strerror}; check name and permissions."
        if leads() or isinstance(error, LostProcessError):  # that process may be the only one left
            print(f"Error: {text}", file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, HiresnnError) else 1)
    except SystemExit as error:
        if error.code == 130 and leads():  # typer turns KeyboardInterrupt into this
            print(f"\nInterrupted.{_continuation(words)}", file=sys.stderr)
        raise
    sys.exit(0)


def _is_unwritable(output: TextIO) -> bool:
    """Return whether a stream can no longer be written; it then leads nowhere, so that Python is silent at exit."""
    try:
        print(file=output, flush=True)  # a failed flush may have emptied the buffer, so that another one would succeed
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())
        return True
    return False


def _continuation(words: list[str]) -> str:
    """Return what to say at Ctrl-C if the command line `words` continues the work."""
    if not words or words[0] not in CONTINUED:
        return ""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    start = [] if processes == "1" else ["torchrun", "--nproc-per-node", processes, "-m"]
    return f" Continue with: {shlex.join([*start, 'hiresnn', *words])}"
