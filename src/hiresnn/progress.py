"""Progress of long work: bars on a terminal, plain lines elsewhere, nothing at all if quiet.

Everything goes to standard error, so that standard output holds only results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars


def duration(seconds: float) -> str:
    """Return a time span as text: `9.4 s`, `12 min 03 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60:02d} min"


def rate(count: int, seconds: float, unit: str) -> str:
    """Return `count` units in `seconds` as text: `532 images/s`, `3.21 images/s`."""
    value = count / max(seconds, 1e-9)
    return f"{value:,.0f} {unit}/s" if value >= 100 else f"{value:.3g} {unit}/s"


class Task:
    """One piece of work of known size, opened by `Progress.task`.

    Attributes:
        done, total: units finished so far, and all units.
        note: the latest remark, for example a loss.
    """

    def __init__(self, progress: Progress, title: str, total: int, unit: str, done: int) -> None:
        self.title, self.total, self.unit, self.done, self.note = title, total, unit, done, ""
        self._progress, self._before = progress, done
        self._started = self._printed = progress.clock()
        self._first: tuple[float, int] | None = None  # when the first step ended, and `done` at that time
        self._bar: TaskID | None = None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Report that `count` more units are done. `note` stays until another replaces it."""
        self.done += count
        self.note = note or self.note
        if self._first is None:
            self._first = (self._progress.clock(), self.done)
        self._progress._show(self)

    def status(self) -> str:
        """Return speed and estimated time left, both without the first step, which may compile kernels."""
        if self._first is None or self.done == self._first[1]:
            return ""
        count, seconds = self.done - self._first[1], self._progress.clock() - self._first[0]
        left = seconds * (self.total - self.done) / count
        return rate(count, seconds, self.unit) + (f", {duration(left)} left" if self.done < self.total else "")

    def running(self) -> str:
        """Return the line of a task that has not ended."""
        status = f", {text}" if (text := self.status()) else ""
        return self._noted(f"{self.title}: {self.done:,} of {self.total:,} {self.unit}{status}")

    def ended(self, failed: bool) -> str:
        """Return the line of a task that has ended."""
        seconds, count = self._progress.clock() - self._started, self.done - self._before
        if failed:
            done = f"stopped after {self.done:,} of {self.total:,} {self.unit} and {duration(seconds)}"
        else:
            done = f"{count:,} {self.unit} in {duration(seconds)}, {rate(count, seconds, self.unit)}"
        return self._noted(f"{self.title}: {done}")

    def _noted(self, text: str) -> str:
        return f"{text} ({self.note})" if self.note else text


class Progress:
    """Shows the progress of long work.

    On a terminal every open task is a bar with its speed and the time left. Elsewhere (a pipe, a log file) a running
    task prints a line at most every `every` seconds. Both leave one line when a task ends. With `quiet=True` only
    warnings are printed; a pickled copy, in another process, is quiet too.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        console: Console | None = None,
        every: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.quiet, self.every, self.clock = quiet, every, clock
        self.console = console or Console(stderr=True)
        self._bars: Bars | None = None

    def __reduce__(self) -> tuple[Callable[[], Progress], tuple[()]]:
        return partial(Progress, quiet=True), ()

    @contextmanager
    def task(self, title: str, total: int, unit: str = "images", *, done: int = 0) -> Iterator[Task]:
        """Open a task of `total` units, `done` of which an earlier run has finished. Tasks may be nested.

        An exception passes through, after a line that says where the task stopped.
        """
        task, failed = Task(self, title, total, unit, done), True
        if self.console.is_terminal and not self.quiet:
            self._add_bar(task)
        try:
            yield task
            failed = False
        finally:
            if self._bars is not None and task._bar is not None:
                self._bars.remove_task(task._bar)
                if not self._bars.tasks:
                    self._bars.stop()
                    self._bars = None
            self.line(task.ended(failed))

    def line(self, text: str, *, warning: bool = False) -> None:
        """Print one line that stays, above the bars if there are any; a warning also if quiet."""
        if warning or not self.quiet:
            # A pipe has no width: a wrapped line would be two lines in a log.
            self.console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _add_bar(self, task: Task) -> None:
        if self._bars is None:
            title, status, note = (TextColumn(f"{{task.{name}}}", markup=False) for name in _COLUMNS)
            percent = TextColumn("{task.percentage:>3.0f}%")
            self._bars = Bars(title, BarColumn(), percent, status, note, console=self.console, transient=True)
            self._bars.start()
        task._bar = self._bars.add_task(task.title, total=task.total, completed=task.done, status="", note="")

    def _show(self, task: Task) -> None:
        if self._bars is not None and task._bar is not None:
            shown = {"total": task.total, "completed": task.done, "status": task.status(), "note": task.note}
            self._bars.update(task._bar, **shown)  # type: ignore[arg-type]
        elif not self.quiet and self.clock() - task._printed >= self.every and task.done < task.total:
            task._printed = self.clock()
            self.line(task.running())


_COLUMNS = ("description", "fields[status]", "fields[note]")
