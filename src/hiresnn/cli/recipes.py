"""`hiresnn recipes`: list, show and copy the shipped recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hiresnn.errors import UsageError

app = typer.Typer(
    help="List, show and copy the shipped recipes; without a command, list them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that hiresnn recipes lists.")]


@app.callback(invoke_without_command=True)
def listing(context: typer.Context) -> None:
    """List the shipped recipes, each with its one-line description.

    A recipe is a short commented TOML file that says everything a run depends on: data, model, ANN,
    conversion, SNN training, noise, attack. Train one by name, change single values with --set, or copy it
    and edit it.

    Example: hiresnn recipes copy vgg5-cifar10-cpu mine.toml, then hiresnn train mine.toml
    """
    if context.invoked_subcommand is not None:
        return
    from hiresnn.runs.recipe import shipped

    names = shipped()
    width = max(map(len, names))
    for name, description in names.items():
        print(f"{name:<{width}}   {description}")


@app.command()
def show(name: Name) -> None:
    """Print a shipped recipe with its comments.

    Example: hiresnn recipes show digits
    """
    from hiresnn.runs.recipe import shipped_text

    print(shipped_text(name), end="")


@app.command()
def copy(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it; must not exist.")],
) -> None:
    """Copy a shipped recipe to a file of your own, to edit and train.

    Example: hiresnn recipes copy vgg5-cifar10-cpu mine.toml
    """
    from hiresnn.runs.recipe import shipped_text

    text = shipped_text(name)
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise UsageError(f"{file} exists and is left as it is; choose another file name.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}; choose another file name.") from None
    print(f"Wrote {file}. Train it with: hiresnn train {file}")
