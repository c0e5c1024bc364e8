"""Progress of long work on standard error: bars on a terminal, plain lines elsewhere, nothing at all if quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

Clock = Callable[[], float]


def duration(seconds: float) -> str:
    """Return a time span as text: `9.4 s`, `12 min 03 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def rate(count: int, seconds: float, unit: str) -> str:
    """Return `count` units in `seconds` as text: `532 images/s`, `3.21 images/s`."""
    value = count / max(seconds, 1e-9)
    return f"{value:,.0f} {unit}/s" if value >= 100 else f"{value:.3g} {unit}/s"


class Task:
    """One piece of work of known size, opened by `Progress.task`: `done` of `total` units, with a remark in `note`."""

    def __init__(self, progress: Progress, title: str, total: int, unit: str, done: int) -> None:
        self.title, self.total, self.unit, self.done, self.note = title, total, unit, done, ""
        self._progress, self._done_before, self._bar = progress, done, None
        if not progress.quiet and progress.console.is_terminal:
            progress.bars.start()
            self._bar = progress.bars.add_task(title, total=total, completed=done, status="", note="")
        self._started = self._printed = progress.clock()
        self._first_step: tuple[float, int] | None = None  # when it ended, and `done` at that time

    def advance(self, count: int = 1, note: str = "") -> None:
        """Report that `count` more units are done. `note` stays until another replaces it."""
        self.done += count
        self.note = note or self.note
        now = self._progress.clock()
        self._first_step = self._first_step or (now, self.done)
        if self._bar is not None:
            self._progress.bars.update(self._bar, completed=self.done, status=self.status(), note=self.note)
        elif now - self._printed >= self._progress.every and self.done < self.total:
            self._printed = now
            status = f", {text}" if (text := self.status()) else ""
            self._line(f"{self.done:,} of {self.total:,} {self.unit}{status}")

    def status(self) -> str:
        """Return speed and time left, both without the first step, which may compile kernels."""
        if self._first_step is None or self.done == self._first_step[1]:
            return ""
        seconds, count = self._progress.clock() - self._first_step[0], self.done - self._first_step[1]
        left = seconds * (self.total - self.done) / count
        return rate(count, seconds, self.unit) + (f", {duration(left)} left" if self.done < self.total else "")

    def end(self, failed: bool) -> None:
        if self._bar is not None:
            self._progress.bars.remove_task(self._bar)
            if not self._progress.bars.tasks:
                self._progress.bars.stop()
        seconds, count = self._progress.clock() - self._started, self.done - self._done_before
        if failed:
            self._line(f"stopped after {self.done:,} of {self.total:,} {self.unit} and {duration(seconds)}")
        else:
            self._line(f"{count:,} {self.unit} in {duration(seconds)}, {rate(count, seconds, self.unit)}")

    def _line(self, text: str) -> None:
        self._progress.line(f"{self.title}: {text} ({self.note})" if self.note else f"{self.title}: {text}")


class Progress:
    """Shows the progress of long work.

    On a terminal an open task is a bar; elsewhere it prints a line at most every `every` seconds. Both leave one line
    when a task ends. If quiet, only warnings are printed; a pickled copy, in another process, is quiet too.
    """

    def __init__(
        self, *, quiet: bool = False, console: Console | None = None, every: float = 30.0, clock: Clock = time.monotonic
    ) -> None:
        self.quiet, self.every, self.clock = quiet, every, clock
        self.console = console or Console(stderr=True)
        status, note = (TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("status", "note"))
        title, percent = TextColumn("{task.description}", markup=False), TextColumn("{task.percentage:>3.0f}%")
        self.bars = Bars(title, BarColumn(), percent, status, note, console=self.console, transient=True)

    def __reduce__(self) -> tuple[Callable[[], Progress], tuple[()]]:
        return partial(Progress, quiet=True), ()

    @contextmanager
    def task(self, title: str, total: int, unit: str = "images", *, done: int = 0) -> Iterator[Task]:
        """Open a task of `total` units, `done` of which an earlier run has finished. Tasks may be nested."""
        task, failed = Task(self, title, total, unit, done), True
        try:
            yield task
            failed = False
        finally:
            task.end(failed)

    def line(self, text: str, *, warning: bool = False) -> None:
        """Print one line that stays, above the bars if there are any; a warning also if quiet."""
        if warning or not self.quiet:
            # A pipe has no width: a wrapped line would be two lines in a log.
            self.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
