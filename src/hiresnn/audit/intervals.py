"""Confidence in a count of images: 95 % intervals, and whether one attack really breaks more than another."""

from __future__ import annotations

from scipy.stats import binomtest

from hiresnn.audit.card import Share

CONFIDENCE = 0.95


def share(count: int, of: int) -> Share:
    """`count` of `of` in percent with its Wilson interval; for no images the interval is 0 to 100.

    >>> share(5, 10).percent, share(5, 10).low < 30 < 70 < share(5, 10).high
    (50.0, True)
    """
    if not of:
        return Share(count=0, of=0, percent=0.0, low=0.0, high=100.0)
    interval = binomtest(count, of).proportion_ci(CONFIDENCE, method="wilson")
    return Share(
        count=count,
        of=of,
        percent=round(100 * count / of, 2),
        low=round(100 * interval.low, 2),
        high=round(100 * interval.high, 2),
    )


def significantly_more(more: int, fewer: int) -> bool:
    """Whether A breaks more than B beyond chance, where only A breaks `more` images and only B breaks `fewer`.

    The exact one-sided sign test at the 5 % level; five images against none are enough.

    >>> significantly_more(4, 0), significantly_more(5, 0), significantly_more(12, 8)
    (False, True, False)
    """
    return more > fewer and bool(binomtest(more, more + fewer, alternative="greater").pvalue < 1 - CONFIDENCE)
