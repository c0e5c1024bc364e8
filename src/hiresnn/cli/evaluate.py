"""`hiresnn evaluate`: attack a run and print the table."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from hiresnn.cli import output
from hiresnn.cli.options import Attacks, Batch, Limit, Quiet, Run, Source


def evaluate(
    run: Run,
    attacks: Attacks = None,
    twins: Annotated[
        list[Path] | None,
        typer.Option(
            "--twin",
            metavar="RUN2",
            help="A run of the same architecture and method, trained with another seed. The black-box attack makes its "
            "images on this run. May be repeated. Without it, no black-box accuracy is measured.",
        ),
    ] = None,
    data: Source = None,
    limit: Limit = None,
    split: Annotated[
        Literal["test", "holdout"],
        typer.Option(
            help="test: the test images. holdout: training images kept out of training, for choosing hyperparameters."
        ),
    ] = "test",
    batch: Batch = 256,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Seed of the attacks' random numbers; default: the recipe's.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Write the accuracies to this JSON file and leave the run folder unchanged.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Attack a trained run and print its accuracy.

    A white-box attack makes its images on the run itself. With --twin, the command also measures black-box attacks,
    which make their images on another run. Without --attack, the attacks are FGSM and PGD at the bounds of the run's
    recipe. The command prints accuracies in percent and adds them to result.json in the run folder. Accuracies there
    that were measured on more images are not replaced: give --out for a try with fewer (--limit), also with a network
    of hiresnn zoo. hiresnn audit checks whether a stronger attack lowers the accuracies.

    Examples:

    hiresnn evaluate runs/mine --limit 2000

    hiresnn evaluate runs/mine --attack apgd --attack pgd:eps=2/255 --twin runs/mine-seed1

    hiresnn evaluate runs/mine --attack sa-pgd:rule=assg --limit 100 --out quick.json
    """
    from hiresnn.app.evaluate import evaluate as attack
    from hiresnn.progress import Progress

    result = attack(
        run, attacks=attacks, twins=twins, limit=limit, split=split, batch_size=batch, seed=seed, source=data, out=out,
        progress=Progress(quiet=quiet),
    )  # fmt: skip
    if layer := result.get("dead_layer"):
        print(
            f"Warning: layer {layer!r} never spikes, so the network is dead: its logits do not depend on the image. "
            "Its accuracies mean nothing; train it again with a lower learning rate or threshold_scale.",
            file=sys.stderr,
        )
    output.console().print(table(result))


def table(result: Mapping[str, Any]) -> Table:
    """Return an evaluation as a table: one row per attack, one column per box; accuracies in percent."""
    rows: Mapping[str, Mapping[str, Any]] = result["attacks"]
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row.get("twins", {})))
    black = any(row.get("black_box") is not None for row in rows.values()) and not kinds
    headings = ["white box", *(["black box"] if black else []), *(f"twin: {kind}" for kind in kinds)]
    title = f"Accuracy in percent on {result['images']:,} images, seed {result['seed']}"
    seeds = sorted({row["attack_seed"] for row in rows.values() if "attack_seed" in row})
    if set(seeds) - {result["seed"]}:
        title += f", seed of the attacks {' and '.join(map(str, seeds))}"
    shown = output.table(title, "attack", *headings)
    shown.add_row("none (clean)", _percent(result["clean"]), *([""] * (black + len(kinds))))
    for name, row in rows.items():
        boxes = [row.get("white_box"), *([row.get("black_box")] if black else [])]
        shown.add_row(name, *(_percent(value) for value in [*boxes, *(row.get("twins", {}).get(k) for k in kinds)]))
    return shown


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
