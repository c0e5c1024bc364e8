"""What several commands share: arguments and options, help from docstrings, and tables on standard output."""

import re
import sys
from copy import copy
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from hiresnn.errors import UsageError
from hiresnn.training.methods import METHOD_NAMES


def document(app: typer.Typer) -> None:
    """Move the lines `name: text` below `Options:` from the docstrings of commands into the help of options."""
    for command in [info.callback for info in app.registered_commands if info.callback]:
        command.__doc__, _, options = (command.__doc__ or "").partition("\n    Options:\n")
        command.__annotations__ = get_type_hints(command, include_extras=True)
        for name, text in re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", options, re.MULTILINE):
            kind, option = get_args(command.__annotations__[name])
            option = copy(option)  # commands share options, such as `Source`, but not this help
            option.help = " ".join(text.split())
            command.__annotations__[name] = Annotated[kind, option]


def loaded(attacks: list[str] | None) -> list[str] | None:
    """Import the attacks that the user names as FILE.py:FUNCTION."""
    for text in attacks or ():
        if ":" in text:
            from hiresnn.app.targets import load_attack

            load_attack(text)
    return attacks


def writable_html(out: Path) -> Path:
    """Raise UsageError unless `out` names an HTML file that can be written."""
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise UsageError(f"--out {out} is not an HTML file; choose a name that ends in .html, such as report.html.")
    if not out.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}; create it, or name another one.")
    return out


def complete_recipe(incomplete: str) -> list[str]:
    """Names of recipes for the shell, which completes files itself if there are none."""
    from hiresnn.app.recipe import names

    return [name for name in names() if name.startswith(incomplete)]


def complete_setting(incomplete: str) -> list[str]:
    """Keys of a recipe for --set, with an equals sign."""
    from hiresnn.app.recipe import flatten, read

    return [f"{key}=" for key in flatten(read("digits")) if key.startswith(incomplete)]


def complete_method(incomplete: str) -> list[str]:
    """Training methods."""
    return [name for name in METHOD_NAMES if name.startswith(incomplete)]


def complete_attack(incomplete: str) -> list[str]:
    """Names of attacks."""
    from hiresnn.attacks import ATTACKS

    return [name for name in ATTACKS if name.startswith(incomplete)]


def complete_network(incomplete: str) -> list[str]:
    """Networks of the zoo, and run folders in runs/."""
    from hiresnn.app.zoo import names

    runs = sorted(str(path.parent) for path in Path("runs").glob("*/recipe.toml"))
    return [name for name in (*names(), *runs) if name.startswith(incomplete)]


Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that hiresnn train wrote.")]
RunOrZoo = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run folder that hiresnn train wrote, or a name that hiresnn zoo lists.",
        autocompletion=complete_network,
    ),
]
Recipe = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A name that hiresnn recipes lists, or a TOML file.", autocompletion=complete_recipe
    ),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="The images: digits, saccade-digits, cifar10, cifar100, mnist, fashion-mnist, svhn, an .npz file, or "
        "a folder with train/CLASS/NAME.png and test/CLASS/NAME.png (or .jpg and others); default: that of the recipe.",
    ),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="NAME",
        callback=loaded,
        autocompletion=complete_attack,
        help="An attack with its options in quotes, such as 'pgd(eps=2/255, rule=arctan(alpha=4))'; may be repeated. "
        "Names: hiresnn attacks, hiresnn rules, or FILE.py:FUNCTION of your own, which this executes. Options that you "
        "leave out have the recipe's values for fgsm and pgd, or else defaults; such a step grows with eps.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", "--images", min=1, metavar="N", help="Use only N images, balanced over classes; default: all."
    ),
]
Batch = Annotated[int, typer.Option(min=1, metavar="N", help="Images per batch.")]
Html = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="FILE.html", callback=writable_html, help="The HTML file to write or to replace."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only the result and warnings, no progress.")]


def display(*parts: RenderableType, **style: Any) -> None:
    """Print results as they are (names may hold brackets and colons): as wide as the terminal, or as a file needs."""
    width = None if sys.stdout.isatty() else 1000
    Console(highlight=False, markup=False, emoji=False, width=width).print(*parts, **style)


def broken(label: str) -> str:
    """Return the label of an attack as several short lines, for the heading of a column."""
    return label.replace(":", "\n").replace(",", "\n")


def numbers_table(title: str, *headings: str) -> Table:
    """Return an empty table whose first column is text and whose other columns are numbers."""
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=number < 2)
    return table
