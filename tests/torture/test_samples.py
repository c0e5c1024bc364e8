"""A sample of every torture campaign; `make torture` runs them all for twenty minutes."""

import itertools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.torture import answers, disk, fuzz, kill, mutations
from tests.torture.harness import Case, in_child, run_cases

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the campaigns need Linux")

SAMPLES: dict[str, tuple[Callable[[Path], Iterator[Case]], slice]] = {
    "kill": (lambda folder: kill.cases(0, folder), slice(3, 9, 3)),
    "disk": (lambda folder: disk.cases(0, folder), slice(36, 60, 11)),
    "answers": (lambda folder: answers.cases(0, folder), slice(0, 2)),
    "fuzz": (lambda folder: fuzz.cases(0, folder, kinds=4), slice(0, 24)),
}
"""Campaign -> its cases, and which of them run here."""


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_of_the_campaign_passes(name, tmp_path):
    cases, which = SAMPLES[name]
    chosen = itertools.islice(cases(tmp_path), which.start, which.stop, which.step)
    failed = [f"{outcome.name}: {outcome.problem}" for outcome in run_cases(chosen, math.inf) if outcome.problem]
    assert not failed


def test_the_bugs_that_the_campaigns_must_find_can_be_planted():
    for bug in mutations.BUGS:
        assert (mutations.ROOT / "src" / "hiresnn" / bug.file).read_text().count(bug.old) == 1, bug.what


def test_the_harness_notices_a_traceback_a_hang_a_greedy_allocation_and_a_wrong_exit_code():
    def fails():
        raise RuntimeError("a defect")

    def hangs():
        while True:
            pass

    def allocates():
        bytearray(1 << 40)

    assert "traceback" in str(in_child(fails).complaint())
    assert "hangs" in str(in_child(hangs, seconds=0.5).complaint())
    assert "MemoryError" in str(in_child(allocates).complaint())
    assert "exit code" in str(in_child(lambda: None).complaint(1))
    assert in_child(lambda: None).complaint(0) is None
