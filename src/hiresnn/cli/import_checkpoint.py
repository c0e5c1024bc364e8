"""`hiresnn import-checkpoint`: a checkpoint of the authors' code as a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hiresnn.cli import output
from hiresnn.errors import command_line


def import_checkpoint(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint: a state_dict of the authors' class VGG_SNN.")
    ],
    model: Annotated[Literal["vgg5", "vgg11", "vgg16"], typer.Option(help="The architecture.")],
    data: Annotated[str, typer.Option("--data", metavar="SOURCE", help="The images: cifar10, cifar100, or a file.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The run folder.")],
    method: Annotated[Literal["hire", "traditional"], typer.Option(help="How the network was trained.")] = "hire",
    timesteps: Annotated[int | None, typer.Option(min=1, metavar="T", help="Timesteps; default: the paper's.")] = None,
    twin: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Compare the weights with those of this run, to see whether both have the same ANN."
        ),
    ] = None,
) -> None:
    """Make a run folder from a checkpoint of the paper's authors, for evaluate, analyze and audit.

    The file must hold a state_dict of their VGG_SNN (VGG5, VGG11 or VGG16) with thresholds and leaks. No code in it is
    run, and every shape is checked. Images are normalised as in the authors' scripts.

    Examples:

    hiresnn import-checkpoint vgg11_cifar100_hiresnn_tstep8_model.pt --model vgg11 --data cifar100 -o runs/authors

    hiresnn import-checkpoint vgg11_cifar100_hiresnn_tstep8_bb_test_model.pt --model vgg11 --data cifar100
    -o runs/authors-twin --twin runs/authors
    """
    from hiresnn.app.import_checkpoint import import_checkpoint as run

    found = run(checkpoint, model, out, source=data, method=method, timesteps=timesteps, twin=twin)
    layers = output.table(f"{model} in {checkpoint.name}", "layer", "shape", "threshold", "leak", "cosine")
    neurons = [*zip(found.thresholds, found.leaks, strict=True), None]  # the last layer has no neurons
    for (name, (_, shape)), neuron in zip(found.layers.items(), neurons, strict=True):
        numbers = ["", ""] if neuron is None else [f"{value:.4g}" for value in neuron]
        cosine = f"{found.cosines[name]:.3f}" if name in found.cosines else ""
        layers.add_row(name, "x".join(map(str, shape)), *numbers, cosine)
    output.console().print(layers)
    if found.ignored:
        print(f"Ignored entries: {', '.join(found.ignored)}")
    if found.same_ann is not None:
        print(f"Both networks started from {'the same ANN' if found.same_ann else 'independent ANNs'}.")
    print(f"Run folder: {out}\nNext: {command_line('evaluate', out)}")
