"""Progress of long work: bars on a terminal, plain lines elsewhere, silence on request.

Everything goes to standard error, so that standard output holds only results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


def duration(seconds: float) -> str:
    """Text for a span of time in seconds: `9.4 s`, `12 min 03 s`, `2 h 05 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    return f"{minutes // 60} h {minutes % 60:02d} min"


def rate(count: int, seconds: float, unit: str) -> str:
    """Text for `count` units in `seconds`: `532 images/s`, `3.21 images/s`."""
    value = count / max(seconds, 1e-9)
    return f"{value:,.0f} {unit}/s" if value >= 100 else f"{value:.3g} {unit}/s"


class Task:
    """One piece of work of a known size. Made by `Progress.task`, never directly.

    `done` counts the units so far, `total` is the size, `note` the latest remark (a loss, an accuracy).
    """

    def __init__(self, progress: Progress, title: str, total: int, unit: str, done: int) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.note = done, ""
        self._before = done
        self._progress = progress
        self._started = self._spoke = progress.clock()
        self._bar: TaskID | None = None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Report that `count` more units are done; `note` stays until another replaces it."""
        self.done += count
        self.note = note or self.note
        self._progress._advanced(self)

    def expect(self, left: int) -> None:
        """Say that about `left` more units are to come, where the size shows only on the way."""
        self.total = self.done + max(left, 1)
        self._progress._resized(self)

    def elapsed(self) -> float:
        """Seconds since the task began."""
        return self._progress.clock() - self._started

    def speed(self) -> str:
        """The rate since the task began, with its unit."""
        return rate(self.done - self._before, self.elapsed(), self.unit)

    def _running(self) -> str:
        left = self.elapsed() * (self.total - self.done) / max(self.done - self._before, 1)
        left_text = f", {duration(left)} left" if self._before < self.done < self.total else ""
        return self._with_note(f"{self.title}: {self.done:,} of {self.total:,} {self.unit}, {self.speed()}{left_text}")

    def _ended(self) -> str:
        done = f"{self.done - self._before:,} {self.unit} in {duration(self.elapsed())}"
        return self._with_note(f"{self.title}: {done}, {self.speed()}")

    def _stopped(self) -> str:
        text = f"{self.title}: stopped after {self.done:,} of {self.total:,} {self.unit}"
        return self._with_note(f"{text} and {duration(self.elapsed())}")

    def _with_note(self, text: str) -> str:
        return f"{text} ({self.note})" if self.note else text


class Progress:
    """Shows how far long work has come.

    On a terminal every open task is a bar with its rate and the time left. Elsewhere (a pipe, a log file)
    a task prints a line at most every `every` seconds while it runs. Both leave one line when a task
    ends. `quiet=True` prints nothing at all, for use as a library; so does a pickled copy.
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
        self._open = 0

    def __reduce__(self) -> tuple[Callable[[], Progress], tuple[()]]:
        # A terminal belongs to one process: a copy in another is silent.
        return partial(Progress, quiet=True), ()

    @contextmanager
    def task(self, title: str, total: int, unit: str = "images", *, done: int = 0) -> Iterator[Task]:
        """Open a task of `total` units, of which an earlier run has `done` some; tasks may be nested.

        An exception passes through, after a line that says where the task stopped.
        """
        task = Task(self, title, total, unit, done)
        self._begin(task)
        try:
            yield task
        except BaseException:
            self._end(task, task._stopped())
            raise
        self._end(task, task._ended())

    def line(self, text: str) -> None:
        """Print one line that stays, above the bars where there are any."""
        if not self.quiet:
            # A pipe has no width: a wrapped line would be two lines in a log.
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _begin(self, task: Task) -> None:
        self._open += 1
        if self.quiet or not self.console.is_terminal:
            return
        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[speed]}", markup=False),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        task._bar = self._bars.add_task(task.title, total=task.total, completed=task.done, speed="", note="")

    def _resized(self, task: Task) -> None:
        if self._bars is not None and task._bar is not None:
            self._bars.update(task._bar, total=task.total)

    def _advanced(self, task: Task) -> None:
        if self.quiet:
            return
        if self._bars is not None and task._bar is not None:
            self._bars.update(task._bar, completed=task.done, speed=task.speed(), note=task.note)
        elif self.clock() - task._spoke >= self.every and task.done < task.total:
            task._spoke = self.clock()
            self.line(task._running())

    def _end(self, task: Task, text: str) -> None:
        self._open -= 1
        if self._bars is not None and task._bar is not None:
            self._bars.remove_task(task._bar)
            if self._open == 0:
                self._bars.stop()
                self._bars = None
        self.line(text)
