"""Jobs at the same time: the same values as one after the other, dead workers replaced, failures left to the caller."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from joblib.parallel import get_active_backend

from hiresnn.errors import BusyError, NotFiniteError, RunError, UsageError
from reproduction import parallel
from reproduction.measurements import accuracy
from reproduction.parallel import work_through
from reproduction.plan import plan
from reproduction.run_all import do
from reproduction.scales import Scale

from .conftest import study_in
from .jobs import Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a dask scheduler with two workers of one thread on this machine."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["processes", "cluster"])
def where(request: pytest.FixtureRequest) -> dict[str, object]:
    """Both places to work at, as arguments."""
    return {"workers": 2} if request.param == "processes" else {"scheduler": request.getfixturevalue("address")}


def test_two_at_a_time_give_the_values_of_one_after_the_other(tiny: Scale, tmp_path: Path, address: str) -> None:
    wanted = [
        each
        for method, attack in (("ann", None), ("hire", None), ("hire", "fgsm"))
        for each in accuracy("vgg5-cifar10", method, attack).each(tiny)
    ]
    one, two, cluster = (study_in(tmp_path / name, tiny) for name in ("one", "two", "cluster"))
    for job in plan(one, wanted):
        do(one, job.task)
    work_through(two, lambda: plan(two, wanted), do, workers=2)
    work_through(cluster, lambda: plan(cluster, wanted), do, scheduler=address)
    values = [[(each and each.value) for each in map(study.find, wanted)] for study in (one, two, cluster)]
    assert None not in values[0]
    assert values[0] == values[1] == values[2]


def test_a_job_waits_for_those_it_needs(files: Files, where: dict[str, object]) -> None:
    def needs_first(path: Path) -> None:
        assert (path.parent / "first").exists()

    files.add("second", "first", does=needs_first)
    files.add("first")
    files.work(**where)
    assert files.left() == []


def test_the_job_of_a_dead_worker_starts_again(files: Files, where: dict[str, object]) -> None:
    def dies_once(path: Path) -> None:
        # The mark stands for the checkpoint that a run leaves.
        mark = path.with_suffix(".mark")
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    files.add("dies", does=dies_once)
    files.add("other")
    files.work(**where)
    assert files.left() == []
    assert files.begun("dies") == 2


def test_workers_that_keep_dying_end_in_an_error_and_results_remain(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert parallel.DEATHS == 3  # as docs/reproduce.md says
    monkeypatch.setattr(parallel, "DEATHS", 2)  # each death starts two processes
    files.add("dies", "fine", does=lambda path: os.kill(os.getpid(), signal.SIGKILL))
    files.add("fine")
    with pytest.raises(RunError, match="a worker died 2 times in a row"):
        files.work(workers=2)
    assert files.left() == ["dies"]
    assert files.begun("dies") == 2


def test_a_failure_is_left_to_the_caller_and_stops_nothing_else(files: Files, where: dict[str, object]) -> None:
    def fails(path: Path) -> None:
        raise NotFiniteError("the loss is nan.")

    files.add("fails", does=fails)
    files.add("needs it", "fails")
    files.add("other")
    files.work(**where)
    assert files.left() == ["fails", "needs it"]
    assert files.begun("fails") == 1


def test_an_unexpected_error_of_one_job_spares_the_others(files: Files) -> None:
    def fails(path: Path) -> None:
        raise MemoryError("no more")

    files.add("fails", does=fails)
    files.add("other")
    files.work(workers=2)
    assert files.left() == ["fails"]


def test_a_run_that_another_process_writes_is_waited_for(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "WAIT", 0.01)

    def busy_twice(path: Path) -> None:
        if (path.parent / "log").read_text().split().count("busy") < 3:
            raise BusyError("another process writes it.")

    files.add("busy", does=busy_twice)
    files.work(workers=2)
    assert files.left() == []
    assert files.begun("busy") == 3


def test_results_that_do_not_arrive_end_in_an_error(files: Files) -> None:
    files.add("elsewhere", does=lambda path: path.with_name("other").touch())
    left = files.plan
    files.plan = lambda: files.jobs  # type: ignore[method-assign]
    with pytest.raises(RunError, match="elsewhere is done, but its result is not in"):
        files.work(workers=2)
    assert left() == []


def test_a_job_that_measures_time_is_left_to_the_caller(files: Files) -> None:
    files.add("clock", alone=True)
    files.add("other")
    files.work(workers=2)
    assert files.left() == ["clock"]


def test_a_missing_scheduler_is_a_usage_error(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--scheduler nowhere://: no dask scheduler answers there"):
        files.work(scheduler="nowhere://")


def test_workers_of_several_threads_are_refused(files: Files) -> None:
    cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with cluster, pytest.raises(UsageError, match="start them with --nthreads 1"):
        files.work(scheduler=cluster.scheduler_address)


def test_a_scheduler_without_workers_is_refused(files: Files) -> None:
    cluster = LocalCluster(n_workers=0, processes=False, dashboard_address=":0")
    with cluster, pytest.raises(UsageError, match="has no workers; start some"):
        files.work(scheduler=cluster.scheduler_address)


def test_a_worker_waits_for_as_long_as_a_training_takes() -> None:
    """joblib warns where a worker with nothing to do has ended after five minutes."""
    with parallel._backend(2, None):
        backend, _ = get_active_backend()
        assert backend.backend_kwargs["idle_worker_timeout"] == parallel.IDLE
