"""`hiresnn audit`: the worst-case robust accuracy of a network; `hiresnn report` and `hiresnn board`: HTML pages."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from hiresnn.cli.common import Batch, Html, Quiet, complete_attack, complete_network, display, loaded, numbers_table
from hiresnn.errors import UsageError
from hiresnn.progress import Progress

if TYPE_CHECKING:
    from hiresnn.audit import Card


def audit(
    context: typer.Context,
    target: Annotated[str | None, typer.Argument(metavar="TARGET", autocompletion=complete_network)] = None,
    preset: Annotated[Literal["quick", "standard", "thorough"], typer.Option()] = "quick",
    source: Annotated[str | None, typer.Option("--data", metavar="SOURCE")] = None,
    size: Annotated[int | None, typer.Option(min=1, metavar="N")] = None,
    weights: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    timesteps: Annotated[int | None, typer.Option(min=1, metavar="T")] = None,
    images: Annotated[int | None, typer.Option("--images", "--limit", min=1, metavar="N")] = None,
    norm: Annotated[Literal["linf", "l2"], typer.Option()] = "linf",
    eps: Annotated[str | None, typer.Option(metavar="BOUND")] = None,
    bounds: Annotated[str | None, typer.Option(metavar="LIST")] = None,
    attacks: Annotated[
        list[str] | None, typer.Option("--attack", metavar="NAME", callback=loaded, autocompletion=complete_attack)
    ] = None,
    twins: Annotated[
        list[str] | None, typer.Option("--twin", metavar="TARGET2", autocompletion=complete_network)
    ] = None,
    views: Annotated[list[str] | None, typer.Option("--as", metavar="VIEW")] = None,
    corruptions: Annotated[bool, typer.Option("--corruptions")] = False,
    seed: Annotated[int, typer.Option(metavar="N", min=0)] = 0,
    batch: Batch = 200,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR")] = None,
    replace: Annotated[bool, typer.Option("--replace")] = False,
    verify: Annotated[Path | None, typer.Option(metavar="CARD")] = None,
    threat: Annotated[str, typer.Option(metavar="MODEL")] = "flips",
    budget: Annotated[int, typer.Option(metavar="K", min=1)] = 10,
    quiet: Quiet = False,
) -> None:
    """Run the full attack suite and report worst-case robust accuracy.

    An image counts as broken at the smallest bound at which any attack, gradient rule, loss or restart breaks it. The
    audit compares this with the PGD of the recipe (by default the paper's). It prints the number to report and why, and
    writes card.json (docs/audit.md), report.html and adversarial.npz. The same command continues an interrupted audit.

    - hiresnn audit runs/mine --preset standard --twin runs/mine-seed1 --as int8
    - hiresnn audit examples/snntorch_digits.py:network --data digits
    - hiresnn audit runs/mine --norm l2 --eps 0.5 --bounds 0.25,1.0
    - hiresnn audit --verify runs/mine/audit/card.json

    Options:
        target: A run folder, a name of hiresnn zoo, a .safetensors file that hiresnn wrote, or FILE.py:FUNCTION, which
            returns a network from images [B, C, H, W] in [0, 1] to logits [B, K]. This executes that file: use only
            files that you trust.
        preset: quick: 200 images, screens 4 gradient rules. standard: 1,000 images, screens 20, attacks with the best
            six. thorough: all rules, the most steps; takes hours. A larger preset continues a smaller one.
        source: Data set, as for hiresnn train; default: that of the run. Other targets need it.
        size: Scale and crop the images to squares of N pixels; default: as the recipe says, else they stay as they are.
        weights: File of weights for the network of FILE.py:FUNCTION: .safetensors, or a state_dict that torch saved. It
            is read without executing code.
        timesteps: T of a network of FILE.py:FUNCTION that takes one timestep per call. Networks that loop over time by
            themselves are recognised (docs/papers.md).
        images: Number of test images, balanced over classes; default: the preset's.
        norm: What a bound limits: linf the change of each pixel, l2 its Euclidean length over the image.
        eps: Bound at which the headline reports accuracy, for example 8/255; default: the recipe's, or 8/255; 0.5 in
            L2.
        bounds: Bounds of the table, separated by commas; inf means no bound; default: the preset's.
        attacks: An additional attack at every bound, without eps, such as mine.py:my_attack or 'apgd(loss=dlr,
            rule=arctan(alpha=4))'. A step is that at --eps and scales with the bound. May be repeated.
        twins: Another network, written like TARGET, whose adversarial images are tried on TARGET. May be repeated.
        views: Audit the network as deployed, too: int8, int4, 'int8(channel=True)', 'float(leak=1)' and others
            (docs/deploy.md). May be repeated.
        corruptions: Measure the accuracy on images with twelve corruptions at five severities, too (event grids: six).
        seed: Seed of all random numbers.
        out: Folder for the results; default: RUN/audit, or a folder in audits/; with -l2 at its end in L2.
        replace: Let a smaller audit replace the results of a larger one.
        verify: Run no attack. Check the adversarial images beside this card.json against the network and the card.
            TARGET may be left out if it is a run folder or a .safetensors file; --weights, --timesteps, --data and
            --size are those of the audit.
        threat: For event grids: 'flips(direction=add)', 'retiming(within=2)' and others (docs/events.md), audited over
            all budgets into events.json and events.html; or frames, for the bounds of images on every cell.
        budget: For event grids: the budget at which the headline reports accuracy.
    """
    if verify is not None:
        _verify(context, verify, target, weights=weights, timesteps=timesteps, source=source, size=size)
        return
    if target is None:
        raise UsageError("Missing argument 'TARGET': name a run folder, a .safetensors file or FILE.py:FUNCTION.")
    from hiresnn.app.audit import EVENT_PAGE, PAGE
    from hiresnn.app.audit import audit as run_audit
    from hiresnn.attacks import EVENT_ATTACKS
    from hiresnn.audit import AuditConfig
    from hiresnn.audit.events import CARD as EVENT_CARD
    from hiresnn.audit.events import EventCard, EventConfig
    from hiresnn.audit.run import CARD, DEPLOYED
    from hiresnn.calls import read_call
    from hiresnn.report.events import event_page
    from hiresnn.report.pages import audit_page
    from hiresnn.report.words import in_words

    curve = tuple(bounds.split(",")) if bounds else None
    unique = tuple(dict.fromkeys(views or ()))
    of_events = [text for text in attacks or () if read_call(text, "attack").name in EVENT_ATTACKS]
    added = tuple(text for text in attacks or () if text not in of_events)
    config = AuditConfig(preset, eps, curve, added, seed, batch, views=unique, corruptions=corruptions, norm=norm)
    events = None
    if threat != "frames":
        events = EventConfig(threat, preset=preset, headline=budget, attacks=tuple(of_events), seed=seed)
    options: dict[str, Any] = {"eps": eps, "source": source, "images": images, "out": out, "replace": replace}
    options |= {"weights": weights, "timesteps": timesteps, "size": size}
    options |= {"twins": twins or (), "command": shlex.join(["hiresnn", *(context.obj or [])]), "page": audit_page}
    options |= {"events": events, "event_page": event_page}
    card, folder = run_audit(target, config, progress=Progress(quiet=quiet), **options)
    if isinstance(card, EventCard):
        rows = numbers_table(f"{card.subject.name}: % right of {card.data.images:,} samples", "budget", "random")
        for name in ("gradient alone", "worst case", "95 %"):
            rows.add_column(name, justify="right")
        for at in card.curve:
            shares = (f"{share.percent:.1f}" for share in (at.random, at.topk, at.worst))
            style = "bold" if at.budget == card.headline else None
            rows.add_row(str(at.budget), *shares, f"{at.worst.low:.1f} - {at.worst.high:.1f}", style=style)
        display(rows)
        display(card.conclusion, soft_wrap=True, style="bold")
        reasons = "".join(f"- {reason}\n" for reason in card.reasons)
        print(f"{reasons}Written: {folder / EVENT_CARD} and {folder / EVENT_PAGE}")
        return
    conclusion = card.conclusion
    display(table(card))
    for name, reason in card.setting.replaced.items():
        print(f"{name} did not run: {reason}.")
    if card.corruptions:
        print(f"Accuracy on corrupted images, the mean over severities: {card.corruptions.mean:.1f} %")
    display(conclusion.headline, soft_wrap=True, style="bold")
    reasons = "".join(f"- {in_words(reason, card.attacks)}\n" for reason in card.remarks)
    random = f"{card.random.text}\n" if card.random else ""
    print(f"{_cost(card)}\n{random}{reasons}Next: {conclusion.next_step}\nWritten: {folder / CARD} and {folder / PAGE}")
    if views:
        deployed = json.loads((folder / DEPLOYED).read_bytes())
        rows = numbers_table(
            f"Worst case, % of {deployed['images']:,} images", "view", "clean", *deployed["bounds"][1:]
        )
        for name, view in deployed["views"].items():
            rows.add_row(name, *(f"{share:.1f}" for share in view["worst"]))
        rows.add_row("all views", *(f"{share:.1f}" for share in deployed["all views"]), style="bold")
        display(rows)
        print(f"Written: {folder / DEPLOYED}")


def _cost(card: "Card") -> str:
    """What the audit cost, and what a longer one would find."""
    budget = card.budget
    cost = f"Cost: {budget.gradients_per_image:,.0f} gradients and {budget.seconds_per_image:.2g} s per image."
    return f"{cost} {card.longer.text}" if card.longer else cost


def table(card: "Card") -> Table:
    """The curve: one row per bound, accuracies in percent with the 95 % interval of the worst case."""
    title = f"{card.subject.name}: % right of {card.data.images:,} images, preset {card.setting.preset}"
    rows = numbers_table(title, "bound", "noise", "paper's FGSM", "paper's PGD", "worst case", "95 %")
    for point in card.curve:
        attacked = (point.noise, point.fgsm, point.pgd)
        cells = [f"{share.percent:.1f}" if point.eps != 0 else "" for share in attacked]
        name, worst = "clean" if point.eps == 0 else point.bound, point.worst
        style = "bold" if point.bound == card.setting.headline else None
        rows.add_row(name, *cells, f"{worst.percent:.1f}", f"{worst.low:.1f} - {worst.high:.1f}", style=style)
    return rows


def _verify(context: typer.Context, path: Path, target: str | None, **options: Any) -> None:
    from hiresnn.app.audit import verify

    for parameter in context.command.params:
        origin = context.get_parameter_source(parameter.name or "")
        if origin and origin.name == "COMMANDLINE" and parameter.name not in ("verify", "target", *options):
            raise UsageError(f"{parameter.opts[0]} has no effect with --verify, which attacks nothing; leave it out.")
    verification = verify(path, target, **options)
    images, problems = verification.images, verification.problems
    for problem in problems:
        print(f"- {problem}")
    for text in verification.unchecked:
        print(f"Not checked: {text.rstrip('.')}.", file=sys.stderr)
    if problems:
        count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
        print(f"Not confirmed: {images} adversarial images checked, {count}.")
        raise typer.Exit(1)
    confirmed = "the clean accuracy is that of the card" if verification.complete else "the card's counts fit together"
    made = f"{images} adversarial images lie within their bounds and are misclassified as the card says"
    made = made if images else "there is no adversarial image to check, because no attack broke an image"
    print(f"Confirmed{' in part' * (not verification.complete)}: {confirmed}, and {made}.")


def report(runs: Annotated[list[Path], typer.Argument(metavar="RUN...")], out: Html) -> None:
    """Turn training runs, or an audit card, into one HTML file that opens offline.

    A page of runs compares losses, thresholds and leaks over epochs, accuracies under attack, recipes and audits. A
    page of a card.json shows everything that the audit measured. Example: hiresnn report runs/a runs/b -o runs.html

    Options:
        runs: Run folders that hiresnn train wrote, or the card.json of one audit.
    """
    from hiresnn.files import write_atomically
    from hiresnn.report.pages import page_of

    page, notes = page_of(runs)
    content = page.encode()
    write_atomically(out, content)
    for note in notes:
        print(f"Not in the page: {note}", file=sys.stderr)
    print(f"Wrote {out} ({len(content) / 1024:,.0f} KiB).")


def board(cards: Annotated[list[str], typer.Argument(metavar="CARD...")], out: Html) -> None:
    """Rank audited networks on one HTML page by their accuracy in the worst case.

    Each audit is checked again: its adversarial images must lie within their bound, its network must misclassify them,
    and they must give the counts of the card; else it has no rank. Only audits of the same data and bound are compared.

    - hiresnn board zoo runs/mine -o board.html
    - hiresnn board runs/*/audit/card.json mine.py:network=audits/mine-network/card.json -o board.html

    Options:
        cards: The card.json of audits, audited run folders, the word zoo (pretrained networks), or TARGET=CARD, where
            TARGET names the network as for hiresnn audit, which executes a Python file.
    """
    from hiresnn.app.zoo import folders
    from hiresnn.files import write_atomically
    from hiresnn.report.pages import board_page, read_entries

    zoo = [str(folder) for folder in folders().values()]
    entries = read_entries([path for card in cards for path in (zoo if card == "zoo" else [card])])
    write_atomically(out, board_page(entries).encode())
    verified = [entry for entry in entries if not entry.problem]
    for entry in entries:
        if entry.problem:
            print(f"Unverified: {entry.name}: {entry.problem}")
    for text in dict.fromkeys(text for entry in verified for text in entry.unchecked):
        names = ", ".join(entry.name for entry in verified if text in entry.unchecked)
        print(f"Not checked of {names}: {text.rstrip('.')}.", file=sys.stderr)
    print(f"Wrote {out}: {len(verified)} of {len(entries)} audits verified.")
    if not verified:
        raise typer.Exit(1)
