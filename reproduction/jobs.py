"""What is left to train and measure, what it takes, and doing it: here, in processes, or on a dask cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from joblib import Parallel, cpu_count, delayed, parallel_config

from hiresnn.app.folder import MODEL
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.process import keep_kernels, keep_memory
from hiresnn.progress import duration
from reproduction.measure import measure
from reproduction.paper import Run, Scale
from reproduction.study import Measurement, Study

STAGES = ("ann", "snn", "value", "alone")
"""Jobs of one stage may run at the same time, after those of the stages before; "alone" times a training (Fig. 7)."""


@dataclass(frozen=True)
class Job:
    """One training or measurement: the name of its folder or file, one of STAGES, its estimated seconds, its task."""

    name: str
    stage: str
    seconds: float
    task: Run | Measurement


def plan(study: Study, measurements: Iterable[Measurement]) -> list[Job]:
    """The trainings and measurements that are missing, each after those that it needs. Loads and trains nothing."""
    runs: dict[str, Job] = {}
    values: dict[str, Job] = {}

    def add_training(run: Run) -> None:
        name = study.name(run)
        if name not in runs and not (study.path(run) / MODEL).is_file():
            if run.method != "ann":
                add_training(Run(run.network, "ann", study.scale.recipe(run).ann_seed, None, run.changes))
            runs[name] = Job(name, "ann" if run.method == "ann" else "snn", training_seconds(study.scale, run), run)

    for measurement in dict.fromkeys(measurements):
        if study.find(measurement) is None:
            for run in measurement.runs():
                add_training(run)
            name, stage = study.value_path(measurement).stem, "alone" if measurement.kind == "cost" else "value"
            values[name] = Job(name, stage, measuring_seconds(study.scale, measurement), measurement)
    return [*runs.values(), *values.values()]


def training_seconds(scale: Scale, run: Run) -> float:
    """Estimated seconds to train a run; that of an SNN does not include its ANN."""
    recipe, setting = scale.recipe(run), scale.setting(run.network)
    images = recipe.data.train_images or setting.training_images
    if run.method == "ann":
        return recipe.ann.epochs * images * setting.ann_ms / 1000
    return recipe.snn.epochs * images * recipe.snn.timesteps * setting.step_ms / 1000


def measuring_seconds(scale: Scale, measurement: Measurement) -> float:
    """Estimated seconds to measure a value of trained networks."""
    recipe, setting, spec = scale.recipe(measurement.run), scale.setting(measurement.network), measurement.spec(scale)
    per_image = (setting.ann_ms if measurement.method == "ann" else setting.step_ms * recipe.snn.timesteps) / 1000
    if measurement.kind == "cost":
        return 8.0 + (scale.cost_batches + 10) * recipe.snn.batch_size * per_image
    if measurement.kind == "gradient-checks":
        return 200 * measurement.grid[0] * per_image
    options = {"iterations": 0} if spec is None else spec.resolved()
    gradients = options.get("iterations", 1) * options.get("draws", 1)
    return (measurement.images(scale) or 10_000) * per_image * (gradients + max(1, len(measurement.grid) / 2) / 3)


def plan_text(study: Study, needs: Mapping[str, Sequence[Measurement]]) -> str:
    """Trainings, measurements and estimated hours of each page, shared work with the first; then each training."""
    parts: dict[str, list[Job]] = {}
    total: dict[str, Job] = {}
    for name, measurements in needs.items():
        parts[name] = [job for job in plan(study, measurements) if job.name not in total]
        total |= {job.name: job for job in parts[name]}
    parts["total"] = list(total.values())
    lines = [f"{'':10} {'ANNs':>6} {'SNNs':>6} {'values':>8} {'hours':>8}"]
    for name, jobs in parts.items():
        count = Counter(job.stage for job in jobs)
        hours = sum(job.seconds for job in jobs) / 3600
        lines.append(f"{name:10} {count['ann']:6} {count['snn']:6} {count['value'] + count['alone']:8} {hours:8.2f}")
    lines += ["", *(f"{job.name}  {duration(job.seconds)}" for job in parts["total"] if isinstance(job.task, Run))]
    lines += ["", f"Estimated for {study.scale.hardware}, one job after the other. Nothing was trained."]
    return "\n".join(lines)


def do(study: Study, task: Run | Measurement) -> None:
    """Train a run or measure a value."""
    if isinstance(task, Run):
        study.train(task)
    else:
        measure(study, task)


def work_through(
    study: Study, measurements: Sequence[Measurement], *, workers: int = 1, scheduler: str | None = None
) -> None:
    """Do what is missing in workers, stage by stage, except what must run alone; what fails is left to the caller.

    Raises UsageError where no scheduler answers, or a worker of it has several threads.
    """
    with _backend(workers, scheduler):
        for stage in STAGES[:-1]:
            ready = [job for job in plan(study, measurements) if job.stage == stage]
            jobs = sorted(ready, key=lambda job: -job.seconds)
            with study.progress.task(f"{len(jobs)} jobs ({stage})", len(jobs), "jobs") as task:
                calls = (delayed(_attempt)(study, job) for job in jobs)
                for name, error in Parallel(return_as="generator_unordered", batch_size=1)(calls):
                    task.advance(note=name)
                    if error is not None:
                        study.progress.line(f"{name} failed: {error}")


def _attempt(study: Study, job: Job) -> tuple[str, str | None]:
    """In a worker: the job's name, and its error, so that the other jobs go on."""
    keep_memory()
    keep_kernels()
    try:
        do(study, job.task)
    except HiresnnError as error:
        return job.name, str(error)
    return job.name, None


@contextmanager
def _backend(workers: int, scheduler: str | None) -> Iterator[None]:
    if scheduler is None:
        # joblib's own 300 seconds until an idle worker ends are shorter than a training, and end with a warning
        options = {"inner_max_num_threads": max(1, cpu_count() // workers), "idle_worker_timeout": 7 * 24 * 3600}
        with parallel_config(backend="loky", n_jobs=workers, **options):
            yield
        return
    from distributed import Client  # the extra "cluster"

    try:
        client = Client(scheduler, timeout=20)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {scheduler}: no dask scheduler answers there ({error}).") from None
    with client, parallel_config(backend="dask", client=client):
        # torch's random numbers belong to a process: two trainings in one would mix them
        if set(client.nthreads().values()) != {1}:
            raise UsageError(f"--scheduler {scheduler} needs workers of one thread each: dask worker --nthreads 1.")
        yield
