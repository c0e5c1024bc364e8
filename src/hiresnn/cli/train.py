"""`hiresnn train`: a recipe becomes a run folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hiresnn.cli.interrupt import continued_by
from hiresnn.errors import UsageError


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
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Seed of everything random; default: the recipe's."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="digits, cifar10, cifar100, mnist, fashion-mnist, svhn, an .npz file, or a folder with "
            "train/CLASS/NAME.png and test/CLASS/NAME.png; default: the recipe's.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run folder; default: a folder in runs/ named after the run."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was interrupted, to the same weights.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; print only the run folder.")] = False,
) -> None:
    """Train what a recipe describes: the ANN, its conversion, then the SNN by the chosen method.

    An ANN that several methods share is trained once and found again. The run folder holds recipe.toml
    (every value resolved), environment.json, metrics.jsonl (a line an epoch), model.safetensors, and what
    --resume needs. Under torchrun its processes share every batch; batch_size is that of all together.

    Examples:

    hiresnn train digits --method traditional

    hiresnn train vgg5-cifar10-cpu --data cifar10.npz --seed 1 --set noise.step=0.02 --out runs/mine

    torchrun --nproc-per-node 4 -m hiresnn train vgg11-cifar100
    """
    with continued_by(context, "--resume"):
        from hiresnn.process import keep_kernels, keep_memory
        from hiresnn.progress import Progress
        from hiresnn.runs.recipe import override, read

        chosen = override(read(recipe), _pairs(assignments or []))
        if method is not None:
            chosen = override(chosen, {"method": _quoted(method)}, "--method")
        if seed is not None:
            chosen = override(chosen, {"seed": str(seed)}, "--seed")
        if data is not None:
            chosen = override(chosen, {"data.source": _quoted(data)}, "--data")

        from hiresnn.runs.train import train as run
        from hiresnn.training import joined

        keep_memory()
        keep_kernels()
        with joined() as ranks:
            silent = quiet or not ranks.lead
            folder = run(chosen, out=out, resume=resume, progress=Progress(quiet=silent), ranks=ranks)
    if ranks.lead:
        print(folder if quiet else f"Run folder: {folder}\nNext: hiresnn evaluate {folder}")


def _pairs(assignments: list[str]) -> dict[str, str]:
    pairs = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {assignment} is not KEY=VALUE; write for example --set snn.lr=1e-3.")
        pairs[key.strip()] = value.strip()
    return pairs


def _quoted(text: str) -> str:
    # Names and paths stay text, also those that would read as a TOML number.
    return json.dumps(text, ensure_ascii=False)
