"""`hiresnn certify`: how far the class of an image provably cannot change, beside what attacks found."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hiresnn.cli.common import Batch, Limit, Quiet, Source, display, numbers_table
from hiresnn.progress import Progress


def certify(
    target: Annotated[str, typer.Argument(metavar="TARGET")],
    smoothings: Annotated[list[str] | None, typer.Option("--smoothing", metavar="TEXT")] = None,
    attack: Annotated[bool, typer.Option("--attack/--no-attack")] = True,
    data: Source = None,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N")] = 0,
    batch: Batch = 500,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR")] = None,
    quiet: Quiet = False,
) -> None:
    """Print certified accuracy, a lower limit of robustness, beside the upper limit that attacks give.

    Randomised smoothing certifies the most frequent answer of any network under noise, in L2. Networks of
    integrate-and-fire neurons (leak 1, reset by subtraction) also get interval bounds in L-infinity, the norm of the
    audit. The results are written beside the audit: certify.json and the page certify.html. See docs/certify.md.

    - hiresnn certify runs/mine --smoothing sigma=0.12 --smoothing 'sigma=0.25, n=10000'
    - hiresnn certify examples/certified_digits.py:network --data digits

    Options:
        target: A run folder, a .safetensors file that hiresnn wrote, or FILE.py:FUNCTION, which this executes.
        smoothings: Noise and numbers of noisy copies: 'sigma=0.25, n0=100, n=1000, alpha=0.001', or rate for a network
            with Poisson input. May be repeated. Default: sigma=0.25, or rate.
        attack: Also look for the nearest image that changes the answer of each smoothed network.
        seed: Seed of the noise.
        out: Folder for the results; default: that of the audit.
    """
    from hiresnn.app.certify import RESULT
    from hiresnn.app.certify import certify as run
    from hiresnn.files import write_atomically
    from hiresnn.report.pages import certify_page

    options: dict[str, Any] = {"smoothings": smoothings or (), "attack": attack, "source": data, "images": limit}
    options |= {"seed": seed, "batch_size": batch, "out": out}
    result, folder = run(target, **options, progress=Progress(quiet=quiet))
    page = folder / "certify.html"
    write_atomically(page, certify_page(result).encode())
    share = f"% of {result['images']:,} images"
    for entry in result["smoothed"]:
        title = f"Smoothed network, {entry['smoothing']}: {share}, n = {entry['n']:,}, alpha = {entry['alpha']:g}"
        rows = numbers_table(title, f"{entry['norm']} radius", "certified", "attacked")
        attacked = entry["attacked"] or [None] * len(entry["radii"])
        for radius, low, high in zip(entry["radii"], entry["certified"], attacked, strict=True):
            rows.add_row(f"{radius:.3f}", f"{low:.1f}", "" if high is None else f"{high:.1f}")
        display(rows)
        print(f"It abstains on {entry['abstains']:.1f} % of the images.")
        if entry.get("contradictions"):
            print(f"{entry['contradictions']} images were broken inside their radius, which {entry['alpha']:g} allows.")
    linf = result["linf"]
    rows = numbers_table(f"The network itself: {share}", "L-inf bound", "certified", "audit")
    for bound, low, high in zip(linf["bounds"], linf["certified"] or linf["bounds"], linf["worst"], strict=True):
        rows.add_row(bound, f"{low:.1f}" if linf["certified"] else "", "" if high is None else f"{high:.1f}")
    if linf["certified"] or result["audit"]:
        display(rows)
    if result["audit"] not in (None, result["images"]):
        print(f"The audit saw {result['audit']:,} images, so its column may lie below that of the certificates.")
    if linf["reason"]:
        print(f"No interval bounds: {linf['reason']}")
    print(f"Written: {folder / RESULT} and {page}")
