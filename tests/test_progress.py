"""Progress says how far work has come, in lines that a log can hold."""

import io
import pickle

import pytest
from rich.console import Console

from hiresnn.progress import Progress, duration, rate


class Clock:
    """A clock that moves only when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain(clock: Clock) -> tuple[Progress, io.StringIO]:
    text = io.StringIO()
    return Progress(console=Console(file=text, width=20), clock=clock, every=30.0), text


def test_a_task_that_ends_leaves_one_line_with_duration_rate_and_note() -> None:
    clock = Clock()
    progress, text = plain(clock)
    with progress.task("epoch 1", total=5000) as task:
        clock.now = 9.4
        task.advance(5000, note="loss 1.23")
    assert text.getvalue() == "epoch 1: 5,000 images in 9.4 s, 532 images/s (loss 1.23)\n"


def test_a_running_task_speaks_at_most_every_thirty_seconds() -> None:
    clock = Clock()
    progress, text = plain(clock)
    with progress.task("epoch 1", total=100) as task:
        for second in range(1, 71):
            clock.now = float(second)
            task.advance(1)
        lines = text.getvalue().splitlines()
    # 30 images in 30 s leave 70 s of work, 60 in 60 s leave 40 s.
    assert lines == [
        "epoch 1: 30 of 100 images, 1 images/s, 1 min 10 s left",
        "epoch 1: 60 of 100 images, 1 images/s, 40.0 s left",
    ]


def test_what_an_earlier_run_has_done_does_not_count_in_the_rate() -> None:
    clock = Clock()
    progress, text = plain(clock)
    with progress.task("ANN", total=100, done=60) as task:
        clock.now = 30.0
        task.advance(20)
        clock.now = 50.0
        task.advance(20)
    assert text.getvalue().splitlines() == [
        "ANN: 80 of 100 images, 0.667 images/s, 30.0 s left",
        "ANN: 40 images in 50.0 s, 0.8 images/s",
    ]


def test_what_is_expected_on_the_way_becomes_the_size_of_the_task() -> None:
    clock = Clock()
    progress, text = plain(clock)
    with progress.task("audit", total=1, unit="passes") as task:
        clock.now = 30.0
        task.expect(200)
        task.advance(100)  # 100 in 30 s leave 30 s for the other 100
        clock.now = 60.0
        task.expect(150)  # more is to come than it seemed
        task.advance(50)
        task.expect(0)  # a task is never done before it ends
        assert (task.done, task.total) == (150, 151)
    assert text.getvalue().splitlines() == [
        "audit: 100 of 200 passes, 3.33 passes/s, 30.0 s left",
        "audit: 150 of 250 passes, 2.5 passes/s, 40.0 s left",
        "audit: 150 passes in 1 min 00 s, 2.5 passes/s",
    ]


def test_a_bar_on_a_terminal_gets_the_expected_size() -> None:
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True, width=120), clock=Clock())
    with progress.task("audit", total=1) as task:
        task.advance(10)
        task.expect(30)
        assert progress._bars is not None
        (bar,) = progress._bars.tasks
        assert (bar.completed, bar.total) == (10, 40)


def test_a_task_that_fails_says_where_it_stopped_and_lets_the_error_through() -> None:
    clock = Clock()
    progress, text = plain(clock)

    def work() -> None:
        with progress.task("epoch 1", total=10, unit="batches") as task:
            clock.now = 2.0
            task.advance(3)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert text.getvalue() == "epoch 1: stopped after 3 of 10 batches and 2.0 s\n"


def test_quiet_progress_prints_nothing_and_still_counts() -> None:
    text = io.StringIO()
    progress = Progress(quiet=True, console=Console(file=text, force_terminal=True))
    with progress.task("epoch", total=2) as task:
        task.advance()
        progress.line("a line")
        assert task.done == 1
    assert text.getvalue() == ""


def test_a_line_is_printed_as_it_is_even_if_it_looks_like_markup() -> None:
    progress, text = plain(Clock())
    progress.line("a long path [bold]/with/brackets[/bold] that no console width breaks")
    assert text.getvalue() == "a long path [bold]/with/brackets[/bold] that no console width breaks\n"


def test_on_a_terminal_nested_tasks_show_bars_and_leave_a_line_each() -> None:
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
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_rates_keep_three_digits_where_they_are_small() -> None:
    assert rate(1, 0.3, "images") == "3.33 images/s"
    assert rate(12345, 1.0, "images") == "12,345 images/s"


def test_a_copy_in_another_process_is_silent() -> None:
    progress, text = plain(Clock())
    copy = pickle.loads(pickle.dumps(progress))
    with copy.task("epoch 1", total=1):
        copy.line("said")
    assert copy.quiet
    assert text.getvalue() == ""
