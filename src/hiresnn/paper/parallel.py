"""Jobs of a reproduction at the same time: on the cores of this machine, or on the workers of a dask cluster.

The jobs that need nothing undone go out together, the longest first; when they are back the study is planned again.
Results are files, so nothing but names comes back, and what a dead worker had begun is taken up from its last epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from joblib import Parallel, cpu_count, delayed, parallel_config

from hiresnn.errors import BusyError, HiresnnError, RunError, UsageError
from hiresnn.paper.plan import Job, waves
from hiresnn.paper.study import Study
from hiresnn.process import keep_kernels, keep_memory

DEATHS = 3
"""Times in a row that a worker may die before anything is finished."""
WAIT = 10.0
"""Seconds until what another process holds is asked for again."""


def work_through(
    study: Study, artefacts: Iterable[Callable[[Study], object]], *, workers: int = 1, scheduler: str | None = None
) -> None:
    """Do all that `artefacts` need and that may be done at the same time; then making them only reads.

    What times itself is left to whoever makes the artefacts, and so is what failed: it fails again there, with its
    own words.

    Args:
        study: of the scale; on a cluster, every worker must see its root and its data under the same paths.
        artefacts: functions of a study.
        workers: processes on this machine, which share its cores; not used where a scheduler is named.
        scheduler: address of a dask scheduler, such as tcp://10.0.0.7:8786.

    Raises:
        UsageError: dask is missing, no scheduler answers, or a worker of it has several threads.
        RunError: workers die again and again, or write where this process does not read.
    """
    wanted = list(artefacts)
    failed: set[str] = set()
    done: set[str] = set()
    deaths = 0
    with _backend(workers, scheduler) as (jobs_at_once, killed):
        while ready := _ready(study, wanted, failed):
            if lost := done.intersection(job.name for job in ready):
                raise RunError(
                    f"{min(lost)} is done, but its result is not in {study.root}; on a cluster every worker must see "
                    "that folder under the same path."
                )
            busy = 0
            # A bar for each round: how many jobs follow shows only when runs are there to be measured.
            with study.progress.task(f"{len(ready)} jobs, {jobs_at_once} at a time", len(ready), "jobs") as task:
                outcomes = Parallel(return_as="generator_unordered", batch_size=1)(delayed(_do)(job) for job in ready)
                try:
                    for name, error in outcomes:
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
                            f"a worker died {DEATHS} times in a row before it had finished anything; most often memory "
                            "ran out: take fewer workers. What is finished is kept."
                        ) from error
                    study.progress.line("A worker died; its job is taken up again.")
            if busy:
                study.progress.line(f"{busy} runs are being written by another process; waiting for it.")
                time.sleep(WAIT)


def _ready(study: Study, artefacts: list[Callable[[Study], object]], failed: set[str]) -> list[Job]:
    """What can be done now, the longest first. What needs a failed job never can."""
    jobs = [job for job in study.plan(artefacts) if not job.alone]
    ready = [job for job in (waves(jobs)[0] if jobs else []) if job.name not in failed]
    return sorted(ready, key=lambda job: -job.seconds)


def _do(job: Job) -> tuple[str, HiresnnError | None]:
    """In a worker: the job's name, and what went wrong."""
    keep_memory()
    keep_kernels()  # a dask worker was not started from here
    try:
        job.do()
    except HiresnnError as error:
        return job.name, error
    except Exception as error:  # whatever it is, the others go on; it comes again, with its traceback, when alone
        return job.name, RunError(f"{type(error).__name__}: {error}")
    return job.name, None


@contextmanager
def _backend(workers: int, scheduler: str | None) -> Iterator[tuple[int, type[Exception]]]:
    """joblib's backend; gives the number of jobs at once, and what it raises when a worker has died."""
    if scheduler is None:
        threads = max(1, cpu_count() // workers)
        with parallel_config(backend="loky", n_jobs=workers, inner_max_num_threads=threads):
            yield workers, BrokenProcessPool
        return
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UsageError(
            "--scheduler needs dask, which is not installed; run pip install -e '.[cluster]' in the checkout."
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
