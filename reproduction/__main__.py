"""`python -m reproduction NAMES`: the tables and figures of the paper, see docs/reproduce.md."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hiresnn.errors import HiresnnError, UsageError
from hiresnn.process import keep_kernels, keep_memory
from hiresnn.progress import Progress
from reproduction.artefacts import CLAIMS, chosen, claims_text, plan_text, reproduce
from reproduction.paper import SCALES
from reproduction.study import Study

EXAMPLES = """\
examples:
  python -m reproduction all --scale smoke
  python -m reproduction table2 fig8a --scale cpu --network vgg5-cifar10 --data cifar10=cifar10.npz --dry-run
  python -m reproduction claims --scale cpu --partial
  python -m reproduction all --scale paper --scheduler tcp://10.0.0.7:8786 --runs /shared/paper

Work that several pages share is done once. After an interruption, the same command continues.
"""


def options(words: Sequence[str]) -> argparse.Namespace:
    """The options of a command line."""
    about = "Reproduce tables and figures of the paper, with the paper's number beside the measured one."
    style = {"epilog": EXAMPLES, "formatter_class": argparse.RawDescriptionHelpFormatter}
    cli = argparse.ArgumentParser(prog="python -m reproduction", description=about, **style)
    add = cli.add_argument
    names = "table1 to table7, fig1a to fig11b, claims, bounds, thresholds, saturation, or all"
    add("names", nargs="+", metavar="NAME", help=names)
    add("--scale", choices=SCALES, default="smoke", help="networks, images and epochs (default: smoke, minutes)")
    add("--seeds", type=int, metavar="N", help="seeds 0 to N-1 for every network; default: the scale's")
    add("--network", action="append", default=[], metavar="NAME", help="only this network; may be repeated")
    add("--runs", type=Path, default=Path("runs/paper"), metavar="DIR", help="trained networks and measured values")
    add("--out", "-o", type=Path, metavar="DIR", help="the pages; default: a folder in --runs named after the scale")
    add("--data", action="append", default=[], metavar="NAME=SOURCE", help="a file or folder instead of a download")
    add("--parallel", type=int, default=1, metavar="N", help="train and measure in N processes of this machine")
    add("--scheduler", metavar="ADDRESS", help="train and measure on the workers of this dask scheduler")
    add("--partial", action="store_true", help="train nothing; write pages from the values measured so far")
    add("--dry-run", action="store_true", help="print what would be trained and measured")
    add("--quiet", action="store_true", help="print only the path of the index page, and no progress")
    return cli.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run one command line; returns the exit code."""
    command = shlex.join(["python", "-m", "reproduction", *words])
    try:
        _run(options(words), command)
    except HiresnnError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\nInterrupted. Continue with: {command}", file=sys.stderr)
        return 130
    return 0


def _run(asked: argparse.Namespace, command: str) -> None:
    if asked.parallel < 1:
        raise UsageError(f"--parallel is {asked.parallel}; it needs at least one process.")
    if asked.parallel > 1 and asked.scheduler is not None:
        raise UsageError("--parallel and --scheduler cannot be combined; give only one of them.")
    sources = {name: source for name, _, source in (text.partition("=") for text in asked.data)}
    if unclear := [text for text in asked.data if not all(text.partition("="))]:
        raise UsageError(f"--data {unclear[0]} is not NAME=SOURCE; write for example --data cifar10=cifar10.npz.")
    scale = SCALES[asked.scale].changed(seeds=asked.seeds, sources=sources, networks=asked.network)
    study = Study(scale, root=asked.runs.resolve(), progress=Progress(quiet=asked.quiet or asked.dry_run))
    if asked.dry_run:
        print(plan_text(study, chosen(asked.names, scale)))
        return
    keep_memory()
    keep_kernels()
    out, places = asked.out or asked.runs / asked.scale, {"workers": asked.parallel, "scheduler": asked.scheduler}
    written = reproduce(study, asked.names, out, command=command, partial=asked.partial, **places)
    if CLAIMS in asked.names and not asked.quiet:
        print(claims_text(out))
    print(written[-1] if asked.quiet else f"Written: {len(written)} files, listed in {written[-1]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
