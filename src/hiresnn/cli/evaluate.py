"""`hiresnn evaluate`: a run folder is attacked, and the table printed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hiresnn.cli.interrupt import continued_by


class Side(str, Enum):
    """Which images are attacked."""

    TEST = "test"
    HOLDOUT = "holdout"


def evaluate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that hiresnn train wrote.")],
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="NAME",
            help="fgsm, pgd, pgd-restarts, apgd, sa-pgd, greedy, square, noise or autoattack, with options as in "
            "pgd:eps=2/255,rule=arctan/alpha=4; may be repeated; default: fgsm and pgd at the recipe's "
            "bounds. What is not named is the recipe's, a step in proportion to the bound.",
        ),
    ] = None,
    twins: Annotated[
        list[Path] | None,
        typer.Option(
            "--twin",
            metavar="RUN2",
            help="A run of the same architecture and method with another seed, which makes the black-box "
            "images; may be repeated. Without one there is no black box.",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Attack only the first N images; default: all.")
    ] = None,
    split: Annotated[
        Side, typer.Option(help="test, or the holdout that training never saw, for choosing hyperparameters.")
    ] = Side.TEST,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images a batch.")] = 256,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Seed of what the attacks draw; default: the recipe's.")
    ] = None,
) -> None:
    """Attack a trained run in the white box and, with --twin, in the black box.

    Bounds and steps are those of the run's recipe (section attack). Prints accuracies in percent and writes
    them to result.json in the run folder.

    Examples:

    hiresnn evaluate runs/mine --limit 2000

    hiresnn evaluate runs/mine --attack pgd --twin runs/mine-seed1
    """
    with continued_by(context):
        from hiresnn.process import keep_kernels, keep_memory
        from hiresnn.progress import Progress
        from hiresnn.runs.evaluate import evaluate as attack

        keep_memory()
        keep_kernels()
        result = attack(
            run,
            attacks=attacks or [],
            twins=twins or [],
            limit=limit,
            split=split.value,
            batch_size=batch,
            seed=seed,
            progress=Progress(),
        )
    Console(highlight=False).print(table(result))


def table(result: Mapping[str, Any]) -> Table:
    """The result of an evaluation as a table: a row an attack, a column a box; accuracies in percent."""
    rows: Mapping[str, Mapping[str, Any]] = result["attacks"]
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row.get("twins", {})))
    shown = Table(title=f"Accuracy in percent on {result['images']:,} images, seed {result['seed']}")
    shown.add_column("attack")
    black = any(row.get("black_box") is not None for row in rows.values()) and not kinds
    for heading in ["white box", *(["black box"] if black else []), *(f"twin: {kind}" for kind in kinds)]:
        shown.add_column(heading, justify="right")
    empty = [""] * (black + len(kinds))
    shown.add_row("none (clean)", _percent(result["clean"]), *empty)
    for name, row in rows.items():
        boxes = [row.get("white_box"), *([row.get("black_box")] if black else [])]
        shown.add_row(name, *(_percent(value) for value in [*boxes, *(row.get("twins", {}).get(k) for k in kinds)]))
    return shown


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
