"""Progress of long work: lines for a log, bars on a terminal, nothing if quiet."""

import io
import pickle

import pytest
from rich.console import Console

from hiresnn.progress import Progress, duration


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def plain(clock):
    text = io.StringIO()
    return Progress(console=Console(file=text, width=20), clock=clock, every=30.0), text


def test_a_task_that_ends_leaves_one_line_with_duration_rate_and_note():
    clock = Clock()
    progress, text = plain(clock)
    with progress.task("epoch [1]", total=5000) as task:  # not markup
        clock.now = 9.4
        task.advance(5000, note="loss 1.23")
    with progress.task("ANN", total=100, done=60) as task:
        clock.now += 60
        task.advance(40)
    assert text.getvalue().splitlines() == [
        "epoch [1]: 5,000 images in 9.4 s, 532 images/s (loss 1.23)",
        "ANN: 40 images in 1 min 00 s, 0.667 images/s",
    ]


@pytest.mark.parametrize(
    ("total", "done", "steps", "lines"),
    [
        (  # one image per second: after 30 images 70 s of work are left, after 60 images 40 s
            *(100, 0, [(second, 1) for second in range(1, 71)]),
            ["30 of 100 images, 1 images/s, 1 min 10 s left", "60 of 100 images, 1 images/s, 40.0 s left"],
        ),
        (  # the first step compiles: 32 images take 40 s, then 1,280 take 40 s
            *(3200, 0, [(40, 32), (41, 32), (80, 1248)]),
            ["32 of 3,200 images", "1,312 of 3,200 images, 32 images/s, 59.0 s left"],
        ),
        (  # units of an earlier run do not count in the speed
            *(100, 60, [(10, 10), (30, 10), (50, 10), (60, 10)]),
            ["80 of 100 images, 0.5 images/s, 40.0 s left"],
        ),
    ],
)
def test_a_running_task_prints_speed_and_time_left_at_most_every_thirty_seconds(total, done, steps, lines):
    clock = Clock()
    progress, text = plain(clock)
    with progress.task("SNN", total=total, done=done) as task:
        for clock.now, count in steps:
            task.advance(count)
        printed = text.getvalue().splitlines()
    assert printed == [f"SNN: {line}" for line in lines]


def test_a_task_that_fails_prints_where_it_stopped_and_passes_the_error_on():
    clock = Clock()
    progress, text = plain(clock)

    def work():
        with progress.task("epoch 1", total=10, unit="batches") as task:
            clock.now = 2.0
            task.advance(3)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert text.getvalue() == "epoch 1: stopped after 3 of 10 batches and 2.0 s\n"


def test_on_a_terminal_nested_tasks_show_bars_and_leave_a_line_each():
    text = io.StringIO()
    clock = Clock()
    progress = Progress(console=Console(file=text, force_terminal=True, width=120), clock=clock)
    with progress.task("run", total=1, unit="epochs") as outer:
        with progress.task("epoch [1]", total=4) as inner:
            clock.now = 1.0
            inner.advance(4, note="loss 0.5")
        outer.advance()
    shown = text.getvalue()
    assert "━" in shown
    assert "epoch [1]: 4 images in 1.0 s, 4 images/s (loss 0.5)" in shown
    assert "run: 1 epochs in 1.0 s, 1 epochs/s" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (723, "12 min 03 s"), (7500, "2 h 05 min")],
)
def test_a_duration_is_written_in_seconds_minutes_or_hours(seconds, text):
    assert duration(seconds) == text


def test_a_copy_in_another_process_is_quiet_but_for_warnings():
    progress, text = plain(Clock())
    copy = pickle.loads(pickle.dumps(progress))
    copy.console = progress.console
    with copy.task("epoch 1", total=1):
        copy.line("said")
        copy.line("a warning", warning=True)
    assert text.getvalue() == "a warning\n"
