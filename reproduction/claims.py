"""Verdicts on claims about accuracies: from gains with 95 % intervals to agrees, differs, within error, not judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from reproduction.page import UNCLEAR, Claim, verdict
from reproduction.paper import ATTACKS
from reproduction.results import Gain
from reproduction.statistics import SeedStat, with_limits

Decision = tuple[bool | str | None, str]
"""Whether a claim holds (None: cannot be judged), or its verdict, and the numbers in words."""
InWords = Callable[[Sequence[SeedStat]], str]


def judge(
    claim: str,
    stats: Sequence[SeedStat],
    decide: Callable[[Sequence[SeedStat]], Decision],
    of: str = "",
    source: str = "",
    paper: float | None = None,
    shows: Callable[[Sequence[SeedStat]], SeedStat] | None = None,
    some: bool = False,
) -> Claim:
    """A claim of the paper that some statistics decide.

    Args:
        of, source, paper: as in `Claim`.
        shows: of several statistics, the one that then stands beside `paper`.
        some: whether `decide` and `shows` also take statistics of which some, not all, are unknown.
    """
    known = (any if some and stats else all)(stat.known for stat in stats)
    holds, numbers = decide(stats) if known else (None, "values are missing or may not be compared")
    ours = shows(stats) if known and stats and shows else None
    return Claim(claim, holds if isinstance(holds, str) else verdict(holds), numbers, of, source, paper, ours)


def each_attack(gains: Sequence[SeedStat]) -> str:
    """Gains under FGSM and PGD in words."""
    return (
        ", ".join(f"{name.upper()} {with_limits(gain)}" for name, gain in zip(ATTACKS, gains, strict=True)) + " points"
    )


def above(gains: Sequence[SeedStat], limit: float = 0.0, words: InWords = each_attack) -> Decision:
    """Whether all gains are above a limit: no if one is clearly not, unclear if an interval contains it.

    Where a gain is missing, the others can refute the claim, but nothing can confirm it.
    """
    lows, highs = zip(*(gain.limits for gain in gains if gain.known), strict=True)
    return _decided(gains, min(lows) > limit, min(highs) <= limit), words(gains)


def at_most(gains: Sequence[SeedStat], limit: float, words: InWords = each_attack) -> Decision:
    """In the same way whether all gains are at most a limit."""
    lows, highs = zip(*(gain.limits for gain in gains if gain.known), strict=True)
    return _decided(gains, max(highs) <= limit, max(lows) > limit), words(gains)


def _decided(gains: Sequence[SeedStat], holds: bool, refuted: bool) -> bool | str | None:
    if refuted:
        return False
    if not all(gain.known for gain in gains):
        return None
    return True if holds else UNCLEAR


def largest(gains: Sequence[SeedStat]) -> SeedStat:
    """The known one with the largest mean."""
    return max((gain for gain in gains if gain.known), key=lambda gain: gain.mean)


def largest_gain(claim: str, gains: Mapping[str, Gain], paper: float, source: str) -> Claim:
    """A claim of a gain "up to" a number: one of some named gains that is clearly above 0 is enough, the largest."""

    def decide(stats: Sequence[SeedStat]) -> Decision:
        clear = [gain for gain in stats if gain.known and gain.limits[0] > 0]
        best = largest(clear or stats)
        (low, high), words = best.limits, _named(best, gains)
        if low > 0:
            return True, words
        return _decided(stats, False, high <= 0 and all(gain.known for gain in stats)), words

    return judge(claim, [gain.ours for gain in gains.values()], decide, "", source, paper, largest, some=True)


def smallest_gain(
    claim: str, gains: Mapping[str, Gain], paper: float, source: str, of: str = "", limit: float = 0.0
) -> Claim:
    """A claim that all of some named gains are above a limit; the one that is least clearly so is shown."""

    def worst(stats: Sequence[SeedStat]) -> SeedStat:
        known = [gain for gain in stats if gain.known]
        refuting = [gain for gain in known if gain.limits[1] <= limit]
        return min(refuting or known, key=lambda gain: gain.limits[0])

    decide = partial(above, limit=limit, words=lambda stats: _named(worst(stats), gains))
    return judge(claim, [gain.ours for gain in gains.values()], decide, of, source, paper, worst, some=True)


def _named(chosen: SeedStat, gains: Mapping[str, Gain]) -> str:
    name = next(name for name, gain in gains.items() if gain.ours == chosen)
    missing = sum(not gain.ours.known for gain in gains.values())
    words = f"; {missing} of {len(gains)} values are missing or may not be compared" if missing else ""
    return f"{with_limits(chosen)} points ({name}){words}"
