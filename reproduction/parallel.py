"""Jobs at the same time: in processes on this machine, or on the workers of a dask cluster.

All jobs whose needs are met go out together, the longest first; when they are back the rest is planned again. Results
are files, so only names come back, and what a dead worker had begun continues from its last epoch.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from joblib import Parallel, cpu_count, delayed, parallel_config

from hiresnn.errors import BusyError, HiresnnError, RunError, UsageError
from hiresnn.process import keep_kernels, keep_memory

if TYPE_CHECKING:
    from reproduction.plan import Job
    from reproduction.study import Study

DEATHS = 3
"""Times in a row that a worker may die before anything is finished."""
WAIT = 10.0
"""Seconds before asking again for what another process has locked."""
IDLE = 7 * 24 * 3600
"""Seconds for which a worker may wait for a job; joblib's own 300 end with a warning, and a training takes longer."""

Do = Callable[["Study", Any], object]


def work_through(
    study: Study, planned: Callable[[], list[Job]], do: Do, *, workers: int = 1, scheduler: str | None = None
) -> None:
    """Do all planned jobs except those that must run alone and those that fail, which the caller then does again.

    `planned` gives the jobs that are left, and `do` does the task of one in a worker: a process on this machine, or a
    worker of the dask scheduler at an address such as tcp://10.0.0.7:8786.

    Raises:
        UsageError: dask is missing, no scheduler answers, or one of its workers has several threads.
        RunError: workers keep dying, or write where this process does not read.
    """
    failed, done, deaths = set[str](), set[str](), 0
    with _backend(workers, scheduler) as (at_once, killed):
        while ready := _ready(planned(), failed):
            if lost := done.intersection(job.name for job in ready):
                raise RunError(
                    f"{min(lost)} is done, but its result is not in {study.root}; on a cluster every worker must see "
                    "that folder under the same path."
                )
            busy = 0
            with study.progress.task(f"{len(ready)} jobs, {at_once} at a time", len(ready), "jobs") as task:
                calls = (delayed(_attempt)(study, job.name, job.task, do) for job in ready)
                try:
                    for name, error in Parallel(return_as="generator_unordered", batch_size=1)(calls):
                        deaths = 0
                        task.advance(note=name)
                        if error is None:
                            done.add(name)
                        elif isinstance(error, BusyError):
                            busy += 1
                        else:
                            failed.add(name)
                            study.progress.line(f"{name} failed: {error}")
                except killed as error:
                    deaths += 1
                    if deaths == DEATHS:
                        raise RunError(
                            f"a worker died {DEATHS} times in a row before it finished anything, most often because "
                            "memory ran out; use fewer workers. Finished results remain."
                        ) from error
                    study.progress.line("A worker died; its job starts again.")
            if busy:
                study.progress.line(f"{busy} runs are being written by another process; waiting for it.")
                time.sleep(WAIT)


def _ready(jobs: list[Job], failed: set[str]) -> list[Job]:
    """What can be done now, the longest first. A job that needs a failed one never can."""
    jobs = [job for job in jobs if not job.alone]
    left = {job.name for job in jobs}
    ready = [job for job in jobs if job.name not in failed and not left.intersection(job.needs)]
    return sorted(ready, key=lambda job: -job.seconds)


def _attempt(study: Study, name: str, task: Any, do: Do) -> tuple[str, HiresnnError | None]:
    """In a worker: the job's name, and its error."""
    keep_memory()
    keep_kernels()  # a dask worker was not started from here
    try:
        do(study, task)
    except HiresnnError as error:
        return name, error
    except Exception as error:  # the other jobs go on; the caller meets it again, with its traceback
        return name, RunError(f"{type(error).__name__}: {error}")
    return name, None


@contextmanager
def _backend(workers: int, scheduler: str | None) -> Iterator[tuple[int, type[Exception]]]:
    """joblib's backend: the number of jobs at once, and what it raises when a worker has died."""
    if scheduler is None:
        threads = max(1, cpu_count() // workers)
        options = {"inner_max_num_threads": threads, "idle_worker_timeout": IDLE}
        with parallel_config(backend="loky", n_jobs=workers, **options), warnings.catch_warnings():
            # joblib replaces a worker whose memory has grown, and says so as if something were wrong.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
            yield workers, BrokenProcessPool
        return
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UsageError(
            "--scheduler needs dask, which is not installed; run pip install 'hiresnn[cluster]'."
        ) from None
    try:
        client = Client(scheduler, timeout=20)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {scheduler}: no dask scheduler answers there ({error}).") from None
    with client, parallel_config(backend="dask", client=client):
        yield _one_thread_each(client, scheduler), KilledWorker


def _one_thread_each(client: Any, scheduler: str) -> int:
    """The number of workers. torch's random numbers belong to a process: two trainings in one would mix them."""
    threads = client.nthreads()
    if not threads:
        raise UsageError(f"--scheduler {scheduler} has no workers; start some: dask worker {scheduler} --nthreads 1.")
    if any(count > 1 for count in threads.values()):
        raise UsageError(f"--scheduler {scheduler} has workers of several threads; start them with --nthreads 1.")
    return len(threads)
