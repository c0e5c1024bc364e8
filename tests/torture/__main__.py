"""`make torture`: every campaign, for TORTURE_MINUTES (20) minutes, from TORTURE_SEED (0); a table at the end.

Two processes share the time, as the machine has at least two cores: one kills, the other runs everything else, each
campaign for its part. `python -m tests.torture.mutations` shows that the campaigns find planted bugs.
"""

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
from tests.torture import answers, disk, fuzz, kill, long
from tests.torture.harness import Outcome, run_cases
from tests.torture.workshop import trained

from hiresnn.app import analyze, audit, evaluate, train  # noqa: F401 (so that forked children need not import them)

CAMPAIGNS = {
    "kill": kill.cases, "fuzz": fuzz.cases, "disk": disk.cases, "answers": answers.cases, "long": long.cases,
}  # fmt: skip
GOALS = {"kill": 200, "fuzz": 1000, "disk": 100, "answers": 60, "long": 2}
"""Cases that a campaign of 20 minutes should reach."""
SHARES = ({"kill": 1.0}, {"long": 0.25, "answers": 0.2, "disk": 0.25, "fuzz": 0.3})
"""Campaign -> its part of the time of each of two processes; time that one leaves is that of the next."""


def main() -> int:
    """Run all campaigns, or those named on the command line; exit code 1 where a case failed or a campaign had none."""
    torch.set_num_threads(1)
    minutes, seed = float(os.environ.get("TORTURE_MINUTES", "20")), int(os.environ.get("TORTURE_SEED", "0"))
    names = sys.argv[1:] or list(CAMPAIGNS)
    shares = [{name: part for name, part in share.items() if name in names} for share in SHARES]
    trained()  # once, before the processes are forked
    with (
        tempfile.TemporaryDirectory(prefix="hiresnn-torture-", ignore_cleanup_errors=True) as name,
        ProcessPoolExecutor(len(SHARES), get_context("fork")) as pool,
    ):
        run = partial(_share, seed=seed, folder=Path(name), seconds=60 * minutes)
        outcomes = [outcome for share in pool.map(run, shares) for outcome in share]
    total, failed = Counter(o.campaign for o in outcomes), Counter(o.campaign for o in outcomes if o.problem)
    print(f"\n{'campaign':<10}{'cases':>8}{'goal':>8}{'failed':>8}   ({minutes:g} minutes, seed {seed})")
    for name in names:
        print(f"{name:<10}{total[name]:>8}{GOALS[name]:>8}{failed[name]:>8}")
    if missing := [name for name in names if not total[name]]:
        print(f"No case was run of: {', '.join(missing)}")
    return 1 if failed or missing else 0


def _share(share: dict[str, float], seed: int, folder: Path, seconds: float) -> list[Outcome]:
    outcomes, start, whole, used = [], time.monotonic(), sum(share.values()), 0.0
    for name, part in share.items():
        used += part
        (folder / name).mkdir()
        cases = islice(CAMPAIGNS[name](seed, folder / name), GOALS[name] if name == "long" else None)
        for outcome in run_cases(cases, start + seconds * used / whole):
            outcomes.append(outcome)
            if outcome.problem:
                print(f"FAILED {outcome.campaign}: {outcome.name}: {outcome.problem}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
