"""Cases of the torture campaigns, and the child processes that they run in.

A case runs in a forked child, so that a crash, a hang or a greedy allocation ends the child and not the campaign.
Forking after torch has been imported saves the seconds that every new interpreter would need.
"""

import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

DEFECT = 70
"""Exit code of a child in which an exception escaped."""
MEMORY = 6 << 30
"""Bytes of address space that a child may take beyond what its parent has."""


@dataclass(frozen=True)
class Case:
    """One thing to try; `run` returns None, or one sentence on what went wrong."""

    campaign: str
    name: str
    run: Callable[[], str | None]


@dataclass(frozen=True)
class Outcome:
    """What a case came to; `problem` is None where it passed."""

    campaign: str
    name: str
    problem: str | None


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative for a signal), what it printed, whether it had to be stopped."""

    code: int
    output: str
    hung: bool = False

    def complaint(self, *expected: int) -> str | None:
        """What is wrong with this end: a hang, a traceback, or an exit code that was not expected."""
        if self.hung:
            return f"hangs; last output: {self.output[-300:]!r}"
        if "Traceback (most recent call last)" in self.output:
            return f"traceback: {self.output.strip().splitlines()[-1][:300]}"
        if expected and self.code not in expected:
            return f"exit code {self.code}, expected one of {expected}: {self.output[-300:]!r}"
        return None


def in_child(
    action: Callable[[], object], *, seconds: float = 60, kill_after: float | None = None, folder: Path | None = None
) -> Ended:
    """Fork, run `action` in the child in `folder`, and wait for its end.

    A SystemExit gives the exit code, any other exception prints a traceback. After `seconds` the child counts as
    hanging, after `kill_after` it gets SIGKILL.
    """
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if child == 0:
            _child(action, log.fileno(), folder)
        handle = os.pidfd_open(child)
        hung = not select.select([handle], [], [], seconds if kill_after is None else kill_after)[0]
        os.close(handle)
        if hung:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        log.seek(0)
        output = log.read().decode(errors="replace")
    return Ended(os.waitstatus_to_exitcode(status), output, hung and kill_after is None)


def command(
    *arguments: str,
    seconds: float = 120,
    kill_after: float | None = None,
    folder: Path | None = None,
    before: Callable[[], object] | None = None,
) -> Ended:
    """A `hiresnn` command line in a forked child; `before` installs a fault there."""

    def action() -> None:
        from hiresnn.cli import main

        if before is not None:
            before()
        main(list(arguments))

    return in_child(action, seconds=seconds, kill_after=kill_after, folder=folder)


def run_cases(cases: Iterable[Case], until: float) -> Iterator[Outcome]:
    """Run cases in order, at least one, until none is left or `until` (time.monotonic) has passed."""
    for case in cases:
        try:
            problem = case.run()
        except Exception as error:
            problem = f"the campaign itself failed: {type(error).__name__}: {error}"
        yield Outcome(case.campaign, case.name, problem)
        if time.monotonic() > until:
            return


def _child(action: Callable[[], object], log: int, folder: Path | None) -> None:
    code = 0
    try:
        os.setsid()  # no terminal: a signal to the group of the campaign does not reach it
        os.dup2(log, 1)
        os.dup2(log, 2)
        # Whatever stands in the place of these two, pytest's capture for example, writes elsewhere.
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace")
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        if folder is not None:
            os.chdir(folder)
        action()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        code = DEFECT
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
