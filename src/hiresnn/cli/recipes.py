"""`hiresnn recipes`: list, show and copy the recipes of the package, and check a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hiresnn.errors import UsageError, closest, command_line

app = typer.Typer(
    help="List, show, copy and check recipes. Without a command, list the recipes of the package.\n\n"
    "A recipe is a short TOML file that describes a run: data, model, ANN, conversion, SNN training, noise and attack. "
    'With extends = "NAME" it contains only the values that differ from that recipe. Train a recipe by its name, '
    "change single values with hiresnn train --set, or copy it and edit the copy.\n\n"
    "Example: hiresnn recipes copy vgg5-cifar10-cpu mine.toml, then hiresnn train mine.toml",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that hiresnn recipes lists.")]


@app.callback(invoke_without_command=True)
@app.command("list", hidden=True)
def listing(context: typer.Context) -> None:
    """List the recipes of the package, each with its description."""
    if context.invoked_subcommand is not None:
        return
    from hiresnn.app.recipe import shipped

    names = shipped()
    width = max(map(len, names))
    for name, description in names.items():
        print(f"{name:<{width}}   {description}")


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A name that hiresnn recipes lists, or a TOML file.")],
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print every value, including those of the recipe that it extends.")
    ] = False,
) -> None:
    """Print a recipe with its comments.

    Example: hiresnn recipes show digits --resolved
    """
    from hiresnn.app.recipe import dump, read, text_of

    print(dump(read(recipe)) if resolved else text_of(recipe), end="")


@app.command()
def copy(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file; it must not exist yet.")],
) -> None:
    """Copy a recipe of the package to a file of your own, which you can edit and train.

    Example: hiresnn recipes copy vgg5-cifar10-cpu mine.toml
    """
    from hiresnn.app.recipe import shipped_text
    from hiresnn.files import write_atomically

    text = shipped_text(name)
    if file.exists():
        raise UsageError(f"{file} exists and is not replaced; choose another file name.")
    write_atomically(file, text.encode())
    print(f"Wrote {file}. Train it with: {command_line('train', file)}")


@app.command()
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A recipe file, or a name that hiresnn recipes lists.")],
) -> None:
    """Check a recipe without training it, and print what it would train.

    Example: hiresnn recipes check mine.toml
    """
    from hiresnn.app.recipe import read
    from hiresnn.models import MODELS
    from hiresnn.plugins import offered

    recipe = read(file)
    model = recipe.model
    known = (*MODELS, *offered("models"))
    if model.name is not None and model.name not in known:
        raise UsageError(f"{file}: there is no model {model.name!r}; {closest(model.name, known)}.")
    network = f"{model.name} of width {model.width:g}" if model.source is None else f"the network {model.source}"
    timesteps = "" if recipe.method == "ann" else f", T = {recipe.snn.timesteps}"
    print(
        f"{file} is valid: {recipe.name}, {network} on {recipe.data.source}, "
        f"method {recipe.method}{timesteps}, seed {recipe.seed}."
    )
