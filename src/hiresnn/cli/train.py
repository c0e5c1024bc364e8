"""`hiresnn train`: a recipe becomes a run folder. `hiresnn resume`: an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hiresnn.cli.interrupt import Interruption, continued_by
from hiresnn.cli.options import Quiet, Run, Source
from hiresnn.errors import UsageError, quoted

if TYPE_CHECKING:
    from hiresnn.progress import Progress
    from hiresnn.runs.recipe import Recipe
    from hiresnn.training import Ranks


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped name or a TOML file.")],
    method: Annotated[
        str | None,
        typer.Option(help="ann, traditional, hire, gaussian, noise-free or rate; default: the recipe's."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the recipe; may be repeated."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random; default: the recipe's.")] = None,
    data: Source = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run folder; default: a folder in runs/ named after the run."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted run, to the same weights, or start it.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Train what a recipe describes: the ANN, its conversion, then the SNN by the chosen method.

    An ANN that several methods share is trained once and used again. The run folder holds recipe.toml (every value
    resolved), environment.json, metrics.jsonl (one line per epoch), model.safetensors and result.json, and the state
    from which hiresnn resume continues. Under torchrun all processes share every batch; batch_size is their total.

    Examples:

    hiresnn train digits --method traditional

    hiresnn train vgg5-cifar10-cpu --data cifar10.npz --seed 1 --set noise.step=0.02 --out runs/mine

    torchrun --nproc-per-node 4 -m hiresnn train vgg11-cifar100
    """
    with continued_by(context) as interruption:
        from hiresnn.runs.recipe import override, read, stated_keys

        pairs = _pairs(assignments or [])
        chosen = override(read(recipe), pairs)
        if method is not None:
            chosen = override(chosen, {"method": _quoted(method)}, "--method")
        if seed is not None:
            chosen = override(chosen, {"seed": str(seed)}, "--seed")
        if data is not None:
            chosen = override(chosen, {"data.source": _quoted(data)}, "--data")
        stated = stated_keys(recipe) | pairs.keys()
        with _processes(chosen, out, quiet, interruption) as (ranks, progress):
            from hiresnn.runs.context import COUNTS
            from hiresnn.runs.train import train as run

            clamp = [key for key in COUNTS if key not in stated]
            folder = run(chosen, out=out, resume=resume, progress=progress, ranks=ranks, clamp=clamp)
    if ranks.lead:
        print(folder if quiet else f"Run folder: {folder}\nNext: hiresnn evaluate {folder}")


def resume(context: typer.Context, run: Run, quiet: Quiet = False) -> None:
    """Continue an interrupted training with the recipe in its folder, to the weights that it would have reached.

    Under torchrun, start as many processes as before.

    Example: hiresnn resume runs/digits-hire-seed0
    """
    with continued_by(context) as interruption:
        from hiresnn.runs.folder import RunFolder

        recipe = RunFolder.open(run).recipe
        with _processes(recipe, run, quiet, interruption) as (ranks, progress):
            from hiresnn.runs.train import train

            train(recipe, out=run, resume=True, progress=progress, ranks=ranks)
    if ranks.lead:
        print(run if quiet else f"Run folder: {run}\nNext: hiresnn evaluate {run}")


@contextmanager
def _processes(
    recipe: Recipe, out: Path | None, quiet: bool, interruption: Interruption
) -> Iterator[tuple[Ranks, Progress]]:
    """Prepare this process for training, alone or with the others that torchrun started."""
    from hiresnn.process import keep_kernels, keep_memory
    from hiresnn.progress import Progress
    from hiresnn.runs.folder import default_folder
    from hiresnn.training import joined

    keep_memory()
    keep_kernels()
    interruption.run = out or default_folder(recipe)
    with joined() as ranks:
        yield ranks, Progress(quiet=quiet or not ranks.lead)


def _pairs(assignments: list[str]) -> dict[str, str]:
    pairs = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {quoted(assignment)} is not KEY=VALUE; write for example --set snn.lr=1e-3.")
        pairs[key.strip()] = value.strip()
    return pairs


def _quoted(text: str) -> str:
    # Names and paths stay text, even if they look like a TOML number.
    return json.dumps(text, ensure_ascii=False)
