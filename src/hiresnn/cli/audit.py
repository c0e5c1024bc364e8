"""`hiresnn audit`: what the robustness of any network really is; the curve is printed, the evidence written."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from hiresnn.cli.interrupt import continued_by

if TYPE_CHECKING:
    from hiresnn.audit import Card
    from hiresnn.audit.card import Share

PAGE = "report.html"


class Preset(str, Enum):
    """How much is tried."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


def audit(
    context: typer.Context,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A run folder; a .safetensors file that hiresnn wrote; or FILE.py:FUNCTION, a function without "
            "arguments that returns any network, images [B, C, H, W] in [0, 1] -> logits.",
        ),
    ],
    preset: Annotated[
        Preset,
        typer.Option(
            help="quick: minutes, 200 images. standard: every rule, 1,000 images. thorough: nothing left out, hours. "
            "A larger one continues a smaller one."
        ),
    ] = Preset.QUICK,
    source: Annotated[
        str | None,
        typer.Option("--data", metavar="SOURCE", help="As for hiresnn train; default: the run's own."),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Test images, every class in turn; default: the preset's.")
    ] = None,
    eps: Annotated[
        str | None, typer.Option(metavar="BOUND", help="The headline's bound; default: the recipe's, or 8/255.")
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Bounds of the curve, with commas; default: 0.5/255,1/255,2/255,4/255,8/255,16/255,64/255,inf.",
        ),
    ] = None,
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="NAME",
            help="One more attack at every bound, written as for hiresnn evaluate but without eps: autoattack, "
            "apgd:loss=dlr,rule=arctan/alpha=4. What is not named is the attack's own default, not the recipe's; a "
            "step is that at the headline's bound, a quarter of each bound where none is named. May be repeated.",
        ),
    ] = None,
    twins: Annotated[
        list[str] | None,
        typer.Option(
            "--twin",
            metavar="TARGET2",
            help="A network whose adversarial images are shown to this one; may be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images a batch.")] = 200,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the evidence goes; default: RUN/audit, or audits/ and the way to the target for any other.",
        ),
    ] = None,
) -> None:
    """Attack a network with everything, and say what its robustness is worth.

    Every image counts as broken at the smallest bound at which any attack, gradient rule, loss or restart breaks it.
    Beside that stands what the paper's PGD-7 says with the network's own surrogate gradient, and a verdict on
    whether that gradient can be believed. An audit that was interrupted goes on when it is called again.

    Writes card.json (schema in docs/audit.md), report.html (opens offline) and adversarial.npz.

    Examples:

    hiresnn audit runs/quickstart/hire-seed0

    hiresnn audit runs/mine --preset standard --twin runs/mine-seed1

    hiresnn audit examples/snntorch_digits.py:network --data digits
    """
    with continued_by(context):
        from hiresnn.audit import CURVE
        from hiresnn.process import keep_kernels, keep_memory
        from hiresnn.progress import Progress
        from hiresnn.report.page import audit_page
        from hiresnn.runs.atomic import write_atomically
        from hiresnn.runs.audit import CARD, Request
        from hiresnn.runs.audit import audit as audited

        keep_memory()
        keep_kernels()
        request = Request(
            target,
            preset=preset.value,
            source=source,
            images=images,
            eps=eps,
            bounds=tuple(bounds.split(",")) if bounds else CURVE,
            attacks=tuple(attacks or ()),
            twins=tuple(twins or ()),
            seed=seed,
            batch_size=batch,
            out=out,
            command=shlex.join(["hiresnn", *(context.obj or [])]),
        )
        card, folder = audited(request, progress=Progress())
        write_atomically(folder / PAGE, audit_page(card).encode())
    console = Console(highlight=False)
    console.print(table(card))
    console.print(f"Own gradient: {card.conclusion.own}. This audit: {card.conclusion.audit}.", markup=False)
    for reason in card.conclusion.own_reasons + card.conclusion.audit_reasons:
        console.print(f"- {reason}", markup=False, soft_wrap=True)
    console.print(card.conclusion.sentence, markup=False, soft_wrap=True)
    console.print(f"Written: {folder / CARD} and {folder / PAGE}", markup=False, soft_wrap=True)


def table(card: Card) -> Table:
    """The curve: a row a bound, what each says is left right, in percent with the 95 % interval of the worst case."""
    shown = Table(title=f"{card.subject.name}: % right of {card.data.images:,} images, {card.setting.preset}")
    shown.add_column("bound")
    for heading in ("noise", "FGSM", "PGD", "worst case", "95 %"):
        shown.add_column(heading, justify="right")
    for point in card.curve:
        if point.bound == "0":
            cells = ["", "", "", _percent(card.clean)]
        else:
            cells = [_percent(share) for share in (point.noise, point.fgsm, point.pgd, point.worst)]
        style = "bold" if point.bound == card.setting.headline else None
        name = "clean" if point.bound == "0" else point.bound
        shown.add_row(name, *cells, f"{point.worst.low:.1f} - {point.worst.high:.1f}", style=style)
    return shown


def _percent(share: Share) -> str:
    return f"{share.percent:.1f}"
