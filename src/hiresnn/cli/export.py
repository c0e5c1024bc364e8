"""`hiresnn export`: write a run for another program, and print what that program changes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hiresnn.cli import output
from hiresnn.cli.options import Source

if TYPE_CHECKING:
    from rich.table import Table

    from hiresnn.exchange import Comparison


Format = Literal["nir", "onnx", "snntorch", "spikingjelly", "sinabs"]
Dialect = Literal["portable", "snntorch", "spikingjelly", "norse"]


def export(
    target: Annotated[str, typer.Argument(metavar="RUN", help=(
        "A run folder, a .safetensors file that hiresnn wrote, or FILE.py:FUNCTION, which executes that file."))],
    to: Annotated[Format, typer.Option("--to", help=(
        "nir: the exchange format of neuromorphic libraries and chips. onnx: for onnxruntime, with all timesteps "
        "unrolled and any batch size. snntorch, spikingjelly, sinabs: a Python file with that library's neurons, and "
        "its weights beside it."))],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The file to write.")],
    reader: Annotated[Dialect, typer.Option(help=(
        "The library that will read the NIR file; only for --to nir. portable is for snnTorch, SpikingJelly and norse, "
        "which read the same file; norse must read it with dt=1e-4."))] = "portable",
    data: Source = None,
    images: Annotated[int, typer.Option("--images", "--limit", min=2, metavar="N", help=(
        "Number of test images, balanced over classes, on which the file is compared with the run."))] = 200,
) -> None:  # fmt: skip
    """Write a trained run in the format of another program.

    Other programs do not always compute neurons as hiresnn does. So the command runs the written network on test images
    and compares it with the run. An ONNX file runs in onnxruntime. A NIR file runs in an interpreter that computes as
    each library does, and in snnTorch and norse if they can read it and are installed. A Python file runs in snnTorch
    or sinabs if that is installed. The command prints the accuracy of the run and of the file, the number of predicted
    classes that differ, and the first layer whose spikes differ.

    Examples:

    hiresnn export runs/mine --to onnx -o mine.onnx

    hiresnn export runs/mine --to nir -o mine.nir

    hiresnn export runs/mine --to spikingjelly -o mine.py
    """
    from hiresnn.app.export import export_run

    found = export_run(target, out, to=to, reader=reader, source=data, limit=images)
    for change in found.unsupported:
        print(f"Changed: {change}.")
    if found.comparisons:
        output.console().print(table(found.comparisons))
    elif to in ("snntorch", "spikingjelly", "sinabs"):
        print(f"Not compared here; to compare it with the run, run: {shlex.join(['python', str(out)])}")
    print(f"Written: {' and '.join(map(str, found.files))}")


def table(comparisons: list[Comparison]) -> Table:
    """Return one row per program; accuracies in percent."""
    count = comparisons[0].images
    rows = output.table(
        f"The run and what was written, on {count:,} images",
        "computed by", "accuracy", "decisions that differ", "first layer that differs",
    )  # fmt: skip
    rows.add_row("hiresnn", f"{comparisons[0].before.compute():.1f}", "", "")
    for each in comparisons:
        layer = each.first_layer or ("none" if each.spikes else "not visible")
        rows.add_row(each.name, f"{each.after.compute():.1f}", str(each.decisions), layer)
    return rows
