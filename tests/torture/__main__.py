"""`make torture`: every campaign, for TORTURE_MINUTES (20) minutes, from TORTURE_SEED (0); a table at the end.

Two processes share the time, as the machine has at least two cores: one kills, the other runs everything else.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from itertools import islice
from pathlib import Path

from tests.torture import disk, fuzz, kill, long
from tests.torture.harness import Case, Outcome, run_cases
from tests.torture.workshop import tiny_recipe

CAMPAIGNS = {"kill": kill.cases, "disk": disk.cases, "fuzz": fuzz.cases, "long": long.cases}
GOALS = {"kill": 200, "fuzz": 2000, "disk": 100, "long": 6}
"""Cases that a campaign of 20 minutes should reach; the table says where one falls short."""
SHARES = (("kill",), ("fuzz", "disk", "long"))
"""Campaigns of each process, in order, each up to its goal; the first takes all the time that is left."""


def main() -> int:
    """Run everything; the exit code is 1 where a case failed."""
    import torch

    torch.set_num_threads(1)
    minutes, seed = float(os.environ.get("TORTURE_MINUTES", "20")), int(os.environ.get("TORTURE_SEED", "0"))
    until = time.monotonic() + 60 * minutes
    folder = Path(tempfile.mkdtemp(prefix="hiresnn-torture-"))
    _import_everything(folder)
    children = [_process(share, seed, folder, until) for share in SHARES]
    for child in children:
        os.waitpid(child, 0)
    outcomes = [outcome for path in sorted(folder.glob("outcomes-*")) for outcome in _read(path)]
    shutil.rmtree(folder, ignore_errors=True)
    return _table(outcomes, minutes, seed)


def _import_everything(folder: Path) -> None:
    """Run each command once, so that forked children find every module and do not spend their seconds on imports."""
    from hiresnn.cli import main as hiresnn

    warm = folder / "warm"
    warm.mkdir()
    tiny, run = str(tiny_recipe(warm / "tiny.toml")), str(warm / "run")
    for words in (
        ("train", tiny, "--out", run, "--quiet"),
        ("evaluate", run, "--limit", "20", "--quiet"),
        ("analyze", "activity", run, "--limit", "20", "--quiet"),
        ("audit", run, "--images", "2"),
        ("report", run, "-o", str(warm / "page.html")),
        ("recipes",),
    ):
        with suppress(SystemExit), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            hiresnn(list(words))


def _process(share: tuple[str, ...], seed: int, folder: Path, until: float) -> int:
    child = os.fork()
    if child:
        return child
    with (folder / f"outcomes-{share[0]}").open("wb") as file:
        started: dict[str, Iterator[Case]] = {}
        for name in share:
            (folder / name).mkdir()
            started[name] = CAMPAIGNS[name](seed, folder / name)
        planned = [islice(cases, GOALS[name]) for name, cases in started.items()]
        for cases in (*planned, started[share[0]]):
            for outcome in run_cases(cases, until):
                pickle.dump(outcome, file)
                file.flush()
                if outcome.problem:
                    print(f"FAILED {outcome.campaign}: {outcome.name}: {outcome.problem}", flush=True)
    os._exit(0)


def _read(path: Path) -> Iterator[Outcome]:
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except EOFError:
                return


def _table(outcomes: list[Outcome], minutes: float, seed: int) -> int:
    total, failed = Counter(o.campaign for o in outcomes), Counter(o.campaign for o in outcomes if o.problem)
    print(f"\n{'campaign':<10}{'cases':>8}{'goal':>8}{'failed':>8}   ({minutes:g} minutes, seed {seed})")
    for name, goal in GOALS.items():
        short = "" if total[name] >= goal or minutes < 20 else "   fewer than the goal"
        print(f"{name:<10}{total[name]:>8}{goal:>8}{failed[name]:>8}{short}")
    for outcome in outcomes:
        if outcome.problem:
            print(f"- {outcome.campaign}: {outcome.name}: {outcome.problem}")
    print(f"{sum(total.values()) - sum(failed.values())} passed, {sum(failed.values())} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
