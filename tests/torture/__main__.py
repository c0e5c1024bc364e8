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
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import torch
from tests.torture import disk, fuzz, kill, long
from tests.torture.harness import Outcome, run_cases
from tests.torture.workshop import trained

from hiresnn.app import analyze, audit, evaluate, train  # noqa: F401 (so that forked children need not import them)

CAMPAIGNS = {"kill": kill.cases, "fuzz": fuzz.cases, "disk": disk.cases, "long": long.cases}
GOALS = {"kill": 200, "fuzz": 2000, "disk": 100, "long": 2}
"""Cases that a campaign of 20 minutes should reach."""
SHARES = (("kill",), ("long", "disk", "fuzz"))
"""Campaigns of each process, in order, each up to its goal; the last takes all the time that is left."""


def main() -> int:
    """Run everything; the exit code is 1 where a case failed."""
    torch.set_num_threads(1)
    minutes, seed = float(os.environ.get("TORTURE_MINUTES", "20")), int(os.environ.get("TORTURE_SEED", "0"))
    until = time.monotonic() + 60 * minutes
    trained()  # once, before the processes are forked
    with (
        tempfile.TemporaryDirectory(prefix="hiresnn-torture-", ignore_cleanup_errors=True) as name,
        ProcessPoolExecutor(len(SHARES), get_context("fork")) as pool,
    ):
        shares = pool.map(partial(_share, seed=seed, folder=Path(name), until=until), SHARES)
        outcomes = [outcome for share in shares for outcome in share]
    total, failed = Counter(o.campaign for o in outcomes), Counter(o.campaign for o in outcomes if o.problem)
    print(f"\n{'campaign':<10}{'cases':>8}{'goal':>8}{'failed':>8}   ({minutes:g} minutes, seed {seed})")
    for name, goal in GOALS.items():
        print(f"{name:<10}{total[name]:>8}{goal:>8}{failed[name]:>8}")
    return 1 if failed or not outcomes else 0


def _share(share: tuple[str, ...], seed: int, folder: Path, until: float) -> list[Outcome]:
    outcomes = []
    for name in share:
        (folder / name).mkdir()
        cases = CAMPAIGNS[name](seed, folder / name)
        for outcome in run_cases(cases if name == share[-1] else islice(cases, GOALS[name]), until):
            outcomes.append(outcome)
            if outcome.problem:
                print(f"FAILED {outcome.campaign}: {outcome.name}: {outcome.problem}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
