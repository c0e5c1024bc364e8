"""`hiresnn reproduce`: the tables and figures of the paper."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from hiresnn.errors import UsageError


def reproduce(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="table1 to table7, fig1a to fig11b, claims, or all; docs/reproduce.md lists the names.",
        ),
    ],
    scale: Annotated[
        Literal["smoke", "cpu", "mid", "full", "paper"],
        typer.Option(
            help="smoke: tiny networks on the digits of the package; takes minutes. cpu: narrow networks on CIFAR; "
            "takes about a day on two cores. mid: VGG5 on CIFAR-10 at full width with fewer epochs; takes hours. full: "
            "the same with the paper's size and epochs; takes about 37 hours on two cores. paper: all networks of the "
            "paper; needs a GPU."
        ),
    ] = "smoke",
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Seeds 0 to N-1 for every network; default: the scale's.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network", metavar="NAME", help="Only this network, such as vgg5-cifar10. May be repeated; default: all."
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Folder for trained networks and measured values.")] = Path(
        "runs/paper"
    ),
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for the pages; default: a folder in --runs named after the scale.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="NAME=SOURCE",
            help="Use this file or folder instead of a download: cifar10=FILE.npz. May be repeated.",
        ),
    ] = None,
    parallel: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Train and measure in N processes, which share this machine's cores."),
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Train and measure on the workers of this dask scheduler; needs pip install 'hiresnn[cluster]'.",
        ),
    ] = None,
    partial: Annotated[
        bool,
        typer.Option(
            "--partial",
            help="Train nothing, and write pages from the values measured so far; a missing accuracy is shown as n/a.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Train nothing, and print what would be trained and measured, with estimated hours."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print only the path of the index page, and no progress.")
    ] = False,
) -> None:
    """Reproduce tables and figures of the paper, with the paper's number beside the measured one.

    The command trains, attacks and measures what the tables and figures need. Each of them becomes NAME.md and
    NAME.csv, and a figure also NAME.svg, NAME.png and NAME.pdf, which needs matplotlib (pip install 'hiresnn[paper]').
    Work that several pages share is done once. After an interruption, the same command continues.

    Examples:

    hiresnn reproduce all --scale smoke

    hiresnn reproduce table1 table2 --scale cpu --data cifar10=cifar10.npz --data cifar100=cifar100.npz --dry-run

    hiresnn reproduce table2 fig8a --scale cpu --network vgg5-cifar10

    hiresnn reproduce claims --scale cpu --partial

    hiresnn reproduce all --scale paper --scheduler tcp://10.0.0.7:8786 --runs /shared/paper
    """
    from hiresnn.paper import run_all
    from hiresnn.paper.artefacts import CLAIMS
    from hiresnn.paper.plan import plan_text
    from hiresnn.paper.study import Study
    from hiresnn.progress import Progress

    if parallel > 1 and scheduler is not None:
        raise UsageError("--parallel and --scheduler cannot be combined; give only one of them.")
    sources = dict(_source(text) for text in data or [])
    chosen = run_all.scale_of(scale, seeds=seeds, sources=sources, networks=network or ())
    study = Study(chosen, root=runs.resolve(), progress=Progress(quiet=quiet or dry_run))
    if dry_run:
        needs, _ = run_all.chosen(names, chosen)
        print(plan_text(run_all.plan_parts(study, needs), chosen.hardware))
        return
    command = shlex.join(["hiresnn", *(context.obj or [])])
    written = run_all.reproduce(
        study, names, out or runs / scale, command=command, workers=parallel, scheduler=scheduler, partial=partial
    )
    if CLAIMS in names and not quiet:
        print(run_all.claims_text(written[-1].parent))
    print(written[-1] if quiet else f"Written: {len(written)} files, listed in {written[-1]}")


def _source(text: str) -> tuple[str, str]:
    name, equals, source = text.partition("=")
    if not (name and equals and source):
        raise UsageError(f"--data {text} is not NAME=SOURCE; write for example --data cifar10=cifar10.npz.")
    return name, source
