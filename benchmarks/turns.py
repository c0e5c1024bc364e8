"""Candidates take turns, round by round, so that a drift of the machine does not change the ratio of medians."""

import sys
import time
from collections.abc import Callable, Mapping

Candidates = Mapping[str, Callable[[], object]]


def say(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def in_turns(
    candidates: Candidates, *, rounds: int, warmup: int, calls: int = 1, wait: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Return the seconds per call of every candidate, one number per round.

    Args:
        candidates: name -> what is timed, in the order in which they take turns.
        rounds: measured rounds, after `warmup` rounds in which kernels are compiled and memory is allocated.
        calls: calls per turn, for work that is too short for the clock.
        wait: waits for the device; on a GPU, work goes on after a call has returned.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, run in candidates.items():
            wait()
            start = time.perf_counter()
            for _ in range(calls):
                run()
            wait()
            if turn >= warmup:
                seconds[name].append((time.perf_counter() - start) / calls)
        say(f"  warm-up {turn + 1} of {warmup}" if turn < warmup else f"  round {turn + 1 - warmup} of {rounds}")
    return seconds
