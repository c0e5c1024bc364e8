"""`make torture`: every campaign, for TORTURE_MINUTES (20) minutes, from TORTURE_SEED (0); a table at the end.

Two processes share the time, as the machine has at least two cores: one kills, the other runs everything else.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from io import StringIO
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from tests.torture import disk, fuzz, kill, long
from tests.torture.harness import Outcome, run_cases
from tests.torture.workshop import tiny_recipe

CAMPAIGNS = {"kill": kill.cases, "disk": disk.cases, "fuzz": fuzz.cases, "long": long.cases}
GOALS = {"kill": 200, "fuzz": 2000, "disk": 100, "long": 2}
"""Cases that a campaign of 20 minutes should reach; the table says where one falls short."""
SHARES = (("kill",), ("fuzz", "disk", "long"))
"""Campaigns of each process, in order, each up to its goal; the first takes all the time that is left."""


def main() -> int:
    """Run everything; the exit code is 1 where a case failed."""
    import torch

    torch.set_num_threads(1)
    minutes, seed = float(os.environ.get("TORTURE_MINUTES", "20")), int(os.environ.get("TORTURE_SEED", "0"))
    until = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="hiresnn-torture-", ignore_cleanup_errors=True) as name:
        _import_everything(Path(name))
        with ProcessPoolExecutor(len(SHARES), get_context("fork")) as pool:
            shares = pool.map(partial(_share, seed=seed, folder=Path(name), until=until), SHARES)
            outcomes = [outcome for share in shares for outcome in share]
    total, failed = Counter(o.campaign for o in outcomes), Counter(o.campaign for o in outcomes if o.problem)
    print(f"\n{'campaign':<10}{'cases':>8}{'goal':>8}{'failed':>8}   ({minutes:g} minutes, seed {seed})")
    for name, goal in GOALS.items():
        short = "" if total[name] >= goal or minutes < 20 else "   fewer than the goal"
        print(f"{name:<10}{total[name]:>8}{goal:>8}{failed[name]:>8}{short}")
    print(f"{total.total() - failed.total()} passed, {failed.total()} failed")
    return 1 if failed or not outcomes else 0


def _import_everything(folder: Path) -> None:
    """Run each command once, so that forked children find every module and do not spend their seconds on imports."""
    from hiresnn.cli import main as hiresnn

    tiny_recipe(folder / "tiny.toml")
    run = folder / "warm"
    commands = ("train {0}/tiny.toml --out {1} --quiet", "evaluate {1} --limit 20", "analyze activity {1} --limit 20")
    for command in (*commands, "audit {1} --images 2", "report {1} -o {0}/page.html", "recipes"):
        with suppress(SystemExit), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            hiresnn(command.format(folder, run).split())


def _share(share: tuple[str, ...], seed: int, folder: Path, until: float) -> list[Outcome]:
    outcomes, started = [], {}
    for name in share:
        (folder / name).mkdir()
        started[name] = CAMPAIGNS[name](seed, folder / name)
    planned = [islice(cases, GOALS[name]) for name, cases in started.items()]
    for outcome in (outcome for cases in (*planned, started[share[0]]) for outcome in run_cases(cases, until)):
        outcomes.append(outcome)
        if outcome.problem:
            print(f"FAILED {outcome.campaign}: {outcome.name}: {outcome.problem}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
