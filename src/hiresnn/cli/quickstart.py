"""`hiresnn quickstart`: training and attacks on the embedded digits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hiresnn.errors import command_line


def quickstart(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the run folders, one per method and seed.")
    ] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of all random numbers.")] = 0,
) -> None:
    """Train an ANN and three SNNs on handwritten digits, attack them, and print a table.

    One SNN is trained traditionally and one by HIRE-SNN; the third is converted from an ANN that was trained on
    adversarial examples. The data (8x8 digits) are part of the package, so nothing is downloaded; two cores need one to
    two minutes. The table shows the accuracy on clean images and under white-box and black-box FGSM and PGD. A second
    call with the same folder and seed does not train again.

    Example: hiresnn quickstart --out runs/first --seed 1
    """
    from hiresnn.app.quickstart import quickstart as run
    from hiresnn.progress import Progress

    text = run(out, seed=seed, progress=Progress())
    hire, robust = (out / f"{row}-seed{seed}" for row in ("hire", "robust"))
    print(f"{text}\nNext: {command_line('audit', hire)}\n      {command_line('audit', robust)}")
