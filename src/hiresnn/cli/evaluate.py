"""`hiresnn evaluate` attacks a run and prints a table; `hiresnn attacks` and `hiresnn rules` list what it can use."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Column, Table

from hiresnn.cli.common import Attacks, Batch, Limit, Quiet, Run, Source, display, numbers_table
from hiresnn.plugins import Kind, offered
from hiresnn.progress import Progress


def evaluate(
    run: Run,
    attacks: Attacks = None,
    twins: Annotated[list[Path] | None, typer.Option("--twin", metavar="RUN2")] = None,
    data: Source = None,
    limit: Limit = None,
    split: Annotated[Literal["test", "holdout"], typer.Option()] = "test",
    batch: Batch = 256,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE")] = None,
    quiet: Quiet = False,
) -> None:
    """Attack a trained run and print its accuracy in percent.

    A white-box attack makes its images on the run itself, a black-box attack on the run of --twin. Without --attack,
    the attacks are FGSM and PGD at the bounds of the run's recipe. The accuracies are added to result.json in the run
    folder, but replace none that was measured on more images: give --out for a try with fewer (--limit).

    - hiresnn evaluate runs/mine --attack apgd --attack 'pgd(eps=2/255)' --twin runs/mine-seed1
    - hiresnn evaluate runs/mine --attack 'sa-pgd(rule=assg)' --limit 100 --out quick.json

    Options:
        twins: A run of the same architecture and method with another seed, for the black-box attacks. May be repeated.
        split: test: the test images. holdout: training images kept out of training, for choosing hyperparameters.
        seed: Seed of the attacks' random numbers; default: the recipe's.
        out: Write the accuracies to this JSON file and leave the run folder unchanged.
    """
    from hiresnn.app.evaluate import evaluate as attack

    options: dict[str, Any] = {"attacks": attacks, "twins": twins, "limit": limit, "split": split, "batch_size": batch}
    result = attack(run, seed=seed, source=data, out=out, progress=Progress(quiet=quiet), **options)
    if layer := result.get("dead_layer"):
        print(
            f"Warning: layer {layer!r} never spikes, so the network is dead: its logits do not depend on the image. "
            "Its accuracies mean nothing; train it again with a lower learning rate or threshold_scale.",
            file=sys.stderr,
        )
    display(table(result))


def table(result: Mapping[str, Any]) -> Table:
    """Return an evaluation as a table: one row per attack, one column per box; accuracies in percent."""
    rows: Mapping[str, Mapping[str, Any]] = result["attacks"]
    twins = list(dict.fromkeys(twin for row in rows.values() for twin in row.get("twins", {})))
    title = f"Accuracy in percent on {result['images']:,} images, seed {result['seed']}"
    seeds = sorted({row["attack_seed"] for row in rows.values() if "attack_seed" in row})
    if set(seeds) - {result["seed"]}:
        title += f", seed of the attacks {' and '.join(map(str, seeds))}"
    black_box = not twins and any(row.get("black_box") is not None for row in rows.values())
    boxes = ["black box"] if black_box else [f"twin: {twin}" for twin in twins]
    printed = numbers_table(title, "attack", "white box", *boxes)
    printed.add_row("none (clean)", f"{result['clean']:.1f}", *([""] * len(boxes)))
    for name, row in rows.items():
        others = [row.get("black_box")] if black_box else [row.get("twins", {}).get(twin) for twin in twins]
        cells = ("-" if share is None else f"{share:.1f}" for share in (row.get("white_box"), *others))
        printed.add_row(name, *cells)
    return printed


def attacks() -> None:
    """List the attacks with their options and defaults.

    Give them to --attack of hiresnn evaluate, audit and analyze: --attack 'pgd(eps=2/255, iterations=20)'. The default
    step is 0.31875*eps. docs/attacks.md explains the options.
    """
    from hiresnn.attacks import ATTACKS

    _print("attacks", ("attack", "what it does"), ATTACKS)


def rules() -> None:
    """List the gradient rules: functions that an attack can use as the derivative of a spike, which has no useful one.

    A rule is an option of an attack and has options itself: --attack 'pgd(rule=arctan(alpha=4))'. In the formulas, z is
    the membrane potential relative to the threshold, and a spike occurs where z > 0.
    """
    from hiresnn.neurons.rules import RULES

    _print("rules", ("rule", "what it is"), RULES)


def _print(kind: Kind, headings: tuple[str, str], registry: Mapping[str, Any]) -> None:
    """Print a table of a registry and of what installed packages offer, which is not imported."""
    printed = Table(*(Column(heading, overflow="fold") for heading in (*headings, "options and defaults")))
    for name, info in registry.items():
        printed.add_row(name, info.summary, info.usage)
    for name, entry in offered(kind).items():
        printed.add_row(name, f"plug-in {entry.value}", "")
    display(printed)
