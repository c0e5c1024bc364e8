"""Contestants take turns, round by round, so that a ratio of medians holds when the machine drifts."""

import sys
import time
from collections.abc import Callable, Mapping

Contestants = Mapping[str, Callable[[], object]]


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def in_turns(
    contestants: Contestants, *, rounds: int, warmup: int, calls: int = 1, wait: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Seconds a call of every contestant, one number a round.

    Args:
        contestants: name -> what is timed, in the order in which they take turns.
        rounds: that count, after `warmup` rounds that do not: there kernels are compiled and memory is fetched.
        calls: made in a row in a turn, where a single one is too short for the clock.
        wait: returns once the device has done all that was asked of it; a GPU works on after a call has returned.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warmup + rounds):
        for name, run in contestants.items():
            wait()
            start = time.perf_counter()
            for _ in range(calls):
                run()
            wait()
            if turn >= warmup:
                seconds[name].append((time.perf_counter() - start) / calls)
        say(f"  warm-up {turn + 1} of {warmup}" if turn < warmup else f"  round {turn + 1 - warmup} of {rounds}")
    return seconds
