"""`hiresnn audit`: worst-case robust accuracy of any network. Prints the curve and writes the evidence."""

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
    """How much the audit tries."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


def audit(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="The network: a run folder, a .safetensors file that hiresnn wrote, or FILE.py:FUNCTION. The function "
            "takes no arguments and returns a network that maps images [B, C, H, W] in [0, 1] to logits [B, K]. "
            "FILE.py:FUNCTION executes that file on this computer, so use only files that you trust.",
        ),
    ] = None,
    preset: Annotated[
        Preset,
        typer.Option(
            help="quick: 200 images. standard: 1,000 images, every gradient rule, more steps and restarts. thorough: "
            "1,000 images, the most steps and restarts; takes hours. A larger preset continues a smaller one."
        ),
    ] = Preset.QUICK,
    source: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="SOURCE", help="Data set, as for hiresnn train; default: the data set of the run."
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Number of test images, balanced over classes; default: the preset's."),
    ] = None,
    eps: Annotated[
        str | None,
        typer.Option(
            metavar="BOUND",
            help="Bound at which the headline reports accuracy, for example 8/255; default: the recipe's, or 8/255.",
        ),
    ] = None,
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Bounds of the table, separated by commas; default: 0.5/255,1/255,2/255,4/255,8/255,16/255,64/255,"
            "inf.",
        ),
    ] = None,
    attacks: Annotated[
        list[str] | None,
        typer.Option(
            "--attack",
            metavar="NAME",
            help="An additional attack at every bound, written as for hiresnn evaluate but without eps, for example "
            "autoattack or apgd:loss=dlr,rule=arctan/alpha=4. Options that you leave out have the attack's own "
            "defaults. A step that you give holds at the headline bound and scales with the bound. May be repeated.",
        ),
    ] = None,
    twins: Annotated[
        list[str] | None,
        typer.Option(
            "--twin",
            metavar="TARGET2",
            help="Another network, written like TARGET. The audit makes adversarial images on it and tries them on "
            "TARGET. May be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Images per batch.")] = 200,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the results; default: RUN/audit, or a folder in audits/."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let a smaller audit replace the results of a larger one.")
    ] = False,
    verify: Annotated[
        Path | None,
        typer.Option(
            metavar="CARD",
            help="Run no attack. Check the adversarial images in the folder of this card.json against the network and "
            "the card. You may leave out TARGET if it is a run folder or a .safetensors file.",
        ),
    ] = None,
) -> None:
    """Run the full attack suite and report worst-case robust accuracy.

    Every image counts as broken at the smallest bound at which any attack, gradient rule, loss or restart breaks it.
    The command prints the number to report, the reasons, and the next command. For comparison it also runs the PGD of
    the recipe (by default that of the paper, seven steps) with the network's own surrogate gradient. If you interrupt
    an audit, the same command continues it.

    The results are card.json (docs/audit.md), report.html (opens without a network connection) and adversarial.npz.

    Examples:

    hiresnn audit runs/quickstart/hire-seed0

    hiresnn audit runs/mine --preset standard --twin runs/mine-seed1

    hiresnn audit examples/snntorch_digits.py:network --data digits

    hiresnn audit --verify runs/mine/audit/card.json
    """
    if verify is not None:
        _verify(verify, target)
        return
    if target is None:
        raise typer.BadParameter(
            "Missing argument 'TARGET': name a run folder, a .safetensors file or FILE.py:FUNCTION."
        )
    with continued_by(context):
        from hiresnn.audit import CURVE, AuditConfig
        from hiresnn.process import keep_kernels, keep_memory
        from hiresnn.progress import Progress
        from hiresnn.report.page import audit_page
        from hiresnn.runs.atomic import write_atomically
        from hiresnn.runs.audit import CARD, AuditRequest
        from hiresnn.runs.audit import audit as run_audit

        keep_memory()
        keep_kernels()
        config = AuditConfig(
            preset=preset.value,
            bounds=tuple(bounds.split(",")) if bounds else CURVE,
            attacks=tuple(attacks or ()),
            seed=seed,
            batch_size=batch,
            eps=eps or "8/255",
        )
        request = AuditRequest(
            target,
            config,
            twins=tuple(twins or ()),
            source=source,
            images=images,
            eps=eps,
            out=out,
            replace=replace,
            command=shlex.join(["hiresnn", *(context.obj or [])]),
        )
        card, folder = run_audit(request, progress=Progress())
        write_atomically(folder / PAGE, audit_page(card).encode())
    console = Console(highlight=False)
    console.print(table(card))
    print_conclusion(card, console)
    console.print(f"Written: {folder / CARD} and {folder / PAGE}", markup=False, soft_wrap=True)


def print_conclusion(card: Card, console: Console) -> None:
    """The headline, the reasons and the next command."""
    conclusion = card.conclusion
    console.print(conclusion.headline, markup=False, soft_wrap=True, style="bold")
    for reason in conclusion.reasons:
        console.print(f"- {reason}", markup=False, soft_wrap=True)
    console.print(f"Next: {conclusion.next_step}", markup=False, soft_wrap=True)


def table(card: Card) -> Table:
    """The curve: one row per bound, accuracies in percent with the 95 % interval of the worst case."""
    rows = Table(title=f"{card.subject.name}: % right of {card.data.images:,} images, preset {card.setting.preset}")
    rows.add_column("bound")
    for heading in ("noise", "FGSM", "PGD", "worst case", "95 %"):
        rows.add_column(heading, justify="right")
    for point in card.curve:
        if point.bound == "0":
            cells = ["", "", "", _percent(card.clean)]
        else:
            cells = [_percent(share) for share in (point.noise, point.fgsm, point.pgd, point.worst)]
        style = "bold" if point.bound == card.setting.headline else None
        name = "clean" if point.bound == "0" else point.bound
        rows.add_row(name, *cells, f"{point.worst.low:.1f} - {point.worst.high:.1f}", style=style)
    return rows


def _verify(path: Path, target: str | None) -> None:
    from hiresnn.runs.audit import verify as verify_card

    found = verify_card(path, target)
    for problem in found.problems:
        print(f"- {problem}")
    if found.problems:
        print(f"Not confirmed: {found.images} adversarial images checked, {len(found.problems)} problems.")
        raise typer.Exit(1)
    print(
        f"Confirmed: {found.images} adversarial images lie within their bounds and are misclassified as the card says."
    )


def _percent(share: Share) -> str:
    return f"{share.percent:.1f}"
