"""`hiresnn train` and `hiresnn resume` write run folders; `hiresnn recipes` lists, shows, copies and checks recipes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from hiresnn.cli.common import Quiet, Recipe, Run, Source, complete_method, complete_recipe, complete_setting
from hiresnn.errors import HiresnnError, UsageError, closest, command_line, quoted
from hiresnn.process import processes
from hiresnn.progress import Progress
from hiresnn.training.methods import method_help

METHOD_HELP = f"How the SNN is trained. {method_help()} Default: the recipe's."

if TYPE_CHECKING:
    from hiresnn.app import recipe as recipes

Log = Annotated[
    str | None,
    typer.Option(
        metavar="TARGET",
        help="Also send the numbers of each epoch to tensorboard (into RUN/tensorboard), or as a dict to a function of "
        "your own, FILE.py:FUNCTION. This executes the file.",
    ),
]


class Train(TyperCommand):
    """`hiresnn train`, which answers an option such as --epochs with the keys of the recipe that have its name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments of the command line."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:  # NoSuchOption, whose module depends on the version of typer
            if hasattr(error, "option_name") and hasattr(error, "message"):
                from hiresnn.app.recipe import flatten, read

                name = error.option_name.strip("-").replace("-", "_")
                if keys := [key for key in flatten(read("digits")) if key.rpartition(".")[2] == name]:
                    options = " or ".join(f"--set {key}=..." for key in keys)
                    error.message += f". It is a key of the recipe; write {options}"
                    error.possibilities = []  # type: ignore[attr-defined]
            raise


def train(
    context: typer.Context,
    recipe: Recipe,
    method: Annotated[
        str | None, typer.Option(metavar="METHOD", help=METHOD_HELP, autocompletion=complete_method)
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", autocompletion=complete_setting)
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0)] = None,
    model: Annotated[str | None, typer.Option(metavar="FILE.py:FUNCTION")] = None,
    weights: Annotated[str | None, typer.Option(metavar="FILE")] = None,
    data: Source = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR")] = None,
    resume: Annotated[bool, typer.Option("--resume")] = False,
    log: Log = None,
    quiet: Quiet = False,
) -> None:
    """Train a network as a recipe describes: train the ANN, convert it, and train the SNN.

    The run folder holds the recipe with every value, the metrics of each epoch, the weights, and what hiresnn resume
    needs. Runs with the same ANN train it only once. Under torchrun the processes share every batch.

    - hiresnn train digits --method traditional
    - hiresnn train vgg5-cifar10-cpu --data cifar10.npz --seed 1 --set noise.step=0.02 --out runs/mine
    - hiresnn train own --model mine.py:network --weights trained.pt --data my_images/
    - torchrun --nproc-per-node 4 -m hiresnn train vgg11-cifar100

    Options:
        assignments: Replace a value of the recipe, such as snn.epochs=5; may be repeated. Keys: docs/recipes.md.
        seed: Seed of all random numbers; default: the recipe's.
        model: The ANN: a network of the package such as vgg5, a function in a file, which this executes, or
            MODULE:FUNCTION such as torchvision.models:resnet18. The function may take num_classes, and returns a
            network from images [B, C, H, W] to logits; default: the recipe's.
        weights: A .safetensors file or a state_dict: weights of the ANN, which is trained only if you set ann.epochs.
        out: The run folder; default: runs/RECIPE[-NETWORK]-METHOD-seedN.
        resume: If the run folder has an interrupted training, continue it; otherwise start one.
    """
    from hiresnn.app.recipe import COUNTS, changed, override, read, stated_keys

    try:
        pairs = dict(map(_pair, assignments or []))
        chosen = override(read(recipe), pairs)
        for option, key, value in (("method", "method", method), ("seed", "seed", seed), ("data", "data.source", data)):
            if value is not None:
                chosen = changed(chosen, {key: value}, f"--{option}")
        stated = {*stated_keys(recipe), *pairs}
        chosen, notes = _with_model(chosen, model, weights, stated)
    except HiresnnError as error:
        if processes() > 1:
            from hiresnn.training import joined

            with joined() as ranks:  # the others must not wait for this one, and rank 0 prints why
                ranks.agree(error)
        raise
    with _processes(context, chosen, out, log, quiet) as options:
        from hiresnn.app.train import train

        for note in notes:
            options["progress"].line(note)
        train(chosen, out=out, resume=resume, clamp=[key for key in COUNTS if key not in stated], **options)


def resume(context: typer.Context, run: Run, log: Log = None, quiet: Quiet = False) -> None:
    """Continue an interrupted training; the final weights equal those of a training without a break.

    Under torchrun, start as many processes as before. Example: hiresnn resume runs/digits-hire-seed0
    """
    from hiresnn.app.folder import RunFolder

    recipe = RunFolder.open(run).recipe
    with _processes(context, recipe, run, log, quiet) as options:
        from hiresnn.app.train import train

        train(recipe, out=run, resume=True, **options)


def _with_model(
    recipe: recipes.Recipe, model: str | None, weights: str | None, stated: set[str]
) -> tuple[recipes.Recipe, list[str]]:
    """Return the recipe with the network and weights of the command line, and lines that say what else that changes."""
    from hiresnn.app.recipe import changed
    from hiresnn.app.targets import weights_digest
    from hiresnn.models import MODELS

    if model is not None:
        own = model not in MODELS
        if own and not {":", "."} & set(model):
            raise UsageError(f"--model {quoted(model)}: {closest(model, MODELS)}, or FILE.py:FUNCTION of your own.")
        changes = {"model.name": None if own else model, "model.source": model if own else None}
        recipe = changed(recipe, changes, "--model")
    if weights is None:
        return recipe, []
    recipe = changed(recipe, {"model.weights": weights}, "--weights")
    weights_digest(weights)  # refused before anything is printed
    if "ann.epochs" in stated or not recipe.ann.epochs:
        return recipe, []
    note = f"The ANN has the weights in {weights} and is not trained further (--set ann.epochs=N trains it)."
    if recipe.model.normalise:
        note += " Its images are normalised; if it was trained on images in [0, 1], add --set model.normalise=false."
    return changed(recipe, {"ann.epochs": 0}), [note]


@contextmanager
def _processes(
    context: typer.Context, recipe: recipes.Recipe, out: Path | None, log: str | None, quiet: bool
) -> Iterator[dict[str, Any]]:
    """Join the processes of torchrun, if any, and yield options of `app.train`; print the run folder at the end."""
    from hiresnn.app.folder import RECIPE, default_folder
    from hiresnn.training import joined

    run = out or default_folder(recipe)
    try:
        with joined() as ranks:
            yield {"progress": Progress(quiet=quiet or not ranks.lead), "ranks": ranks, "log": log}
    except KeyboardInterrupt:
        if (run / RECIPE).is_file():
            context.obj[:] = ["resume", str(run), *(["--log", log] if log else []), *(["--quiet"] if quiet else [])]
        raise
    if ranks.lead:
        print(run if quiet else f"Run folder: {run}\nNext: {command_line('evaluate', run)}")


def _pair(assignment: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in assignment.partition("="))
    if not equals or not key:
        raise UsageError(f"--set {quoted(assignment)} is not KEY=VALUE; write for example --set snn.lr=1e-3.")
    return key, value


recipes_app = typer.Typer(
    help="List, show, copy and check recipes. Without a command, list the recipes of the package.\n\n"
    "A recipe is a short TOML file that describes a run. Train it by its name, change single values with hiresnn train "
    '--set, or edit a copy. With extends = "NAME" it contains only what differs from that recipe.\n\n'
    "Example: hiresnn recipes copy vgg5-cifar10-cpu mine.toml, then hiresnn train mine.toml"
)


@recipes_app.callback(invoke_without_command=True)
@recipes_app.command("list", hidden=True)
def list_recipes(context: typer.Context) -> None:
    """List the recipes of the package, each with its description."""
    if context.invoked_subcommand is not None:
        return
    from hiresnn.app.recipe import shipped

    names = shipped()
    width = max(map(len, names))
    for name, description in names.items():
        print(f"{name:<{width}}   {description}")


@recipes_app.command()
def show(recipe: Recipe, resolved: Annotated[bool, typer.Option("--resolved")] = False) -> None:
    """Print a recipe with its comments, for example: hiresnn recipes show digits --resolved

    Options:
        resolved: Print every value, including those of the recipe that it extends.
    """
    from hiresnn.app.recipe import dump, read, text_of

    print(dump(read(recipe)) if resolved else text_of(recipe), end="")


@recipes_app.command()
def copy(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_recipe)],
    file: Annotated[Path, typer.Argument(metavar="FILE")],
) -> None:
    """Copy a recipe of the package to edit and train it: hiresnn recipes copy vgg5-cifar10-cpu mine.toml

    Options:
        name: A name that hiresnn recipes lists.
        file: The new file; it must not exist yet.
    """
    from hiresnn.app.recipe import shipped_text
    from hiresnn.files import write_atomically

    text = shipped_text(name)
    if file.exists():
        raise UsageError(f"{file} exists and is not replaced; choose another file name.")
    write_atomically(file, text.encode())
    print(f"Wrote {file}. Train it with: {command_line('train', file)}")


@recipes_app.command()
def check(file: Annotated[str, typer.Argument(metavar="FILE")]) -> None:
    """Check a recipe without training it, and print what it would train: hiresnn recipes check mine.toml

    Options:
        file: A recipe file, or a name that hiresnn recipes lists.
    """
    from hiresnn.app.recipe import read

    recipe = read(file)
    model = recipe.model
    network = f"{model.name} of width {model.width:g}" if model.source is None else f"the network {model.source}"
    timesteps = "" if recipe.method == "ann" else f", T = {recipe.snn.timesteps}"
    print(
        f"{file} is valid: {recipe.name}, {network} on {recipe.data.source}, "
        f"method {recipe.method}{timesteps}, seed {recipe.seed}."
    )


def events(
    source: Annotated[str, typer.Argument(metavar="SOURCE")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz")],
    bins: Annotated[int, typer.Option(min=1, metavar="T")] = 12,
    cells: Annotated[Literal["binary", "integer"], typer.Option()] = "binary",
    by: Annotated[Literal["time", "number"], typer.Option()] = "time",
    size: Annotated[int | None, typer.Option(min=1, metavar="N")] = None,
) -> None:
    """Make event grids of images, by simulated saccades, or of recordings of an event camera, for --data FILE.npz.

    - hiresnn events mnist -o saccade-mnist.npz
    - hiresnn events recordings --bins 10 --by number -o recordings.npz

    Options:
        source: Images, as for --data of hiresnn train, or a folder of recordings, train/CLASS/NAME.npz (or .npy) and
            test/CLASS/NAME.npz with x, y, t and p of each event.
        out: The archive to write or to replace.
        bins: Time bins, one for each timestep of the network; a divisor of 96 for images.
        cells: binary cells say whether there was an event, integer cells how many there were.
        by: Bins of recordings have equal time, or an equal number of events.
        size: Scale and crop images to this height and width first.
    """
    from hiresnn.data import load, load_recordings, save_archive, simulated

    if out.suffix != ".npz" or not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out} must end in .npz and lie in a folder that exists.")
    if next(Path(source).glob("train/*/*.np[yz]"), None) is not None:
        dataset = load_recordings(Path(source), bins=bins, by=by, events=cells)
    else:
        dataset = simulated(load(source, size=size), bins=bins, events=cells)
    save_archive(dataset, out)
    print(f"Wrote {out}: {dataset.summary}, {bins} bins, {cells} cells.")
