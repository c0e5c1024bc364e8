"""What is left to do for a set of measurements: jobs, found by subtracting what is stored from what is needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hiresnn.progress import duration
from reproduction.measurements import Measurement, Run
from reproduction.scales import Scale
from reproduction.study import Study


@dataclass(frozen=True)
class Job:
    """One training or measurement, named after the run's folder or the value's file.

    Attributes:
        kind: the method of a training, or "measure".
        seconds: estimated time on the scale's hardware.
        needs: names of jobs of the same plan that must be done before. All others may run at the same time.
        alone: it measures time, so nothing else may run beside it.
    """

    name: str
    kind: str
    seconds: float
    task: Run | Measurement
    needs: tuple[str, ...] = ()
    alone: bool = False


def plan(study: Study, measurements: Iterable[Measurement]) -> list[Job]:
    """The trainings and measurements that are missing, each after those that it needs. Loads and trains nothing."""
    jobs: dict[str, Job] = {}

    def add_training(run: Run) -> tuple[str, ...]:
        if study.is_trained(run):
            return ()
        name = study.name(run)
        if name not in jobs:
            needs = () if run.method == "ann" else add_training(study.ann_of(run))
            jobs[name] = Job(name, run.method, training_seconds(study.scale, run), run, needs)
        return (name,)

    for measurement in dict.fromkeys(measurements):
        if study.find(measurement) is None:
            needs = [name for run in measurement.runs() for name in add_training(run)]
            name = study.file_name(measurement)
            seconds, alone = measurement.seconds(study.scale), measurement.kind == "cost"
            jobs[name] = Job(name, "measure", seconds, measurement, tuple(needs), alone)
    return list(jobs.values())


def training_seconds(scale: Scale, run: Run) -> float:
    """Estimated seconds to train a run; that of an SNN does not include its ANN."""
    recipe, setting = scale.recipe(run), scale.setting(run.network)
    images = recipe.data.train_images or setting.training_images
    if run.method == "ann":
        return recipe.ann.epochs * images * setting.ann_ms / 1000
    return recipe.snn.epochs * images * recipe.snn.timesteps * setting.step_ms / 1000


def plan_text(parts: Mapping[str, Sequence[Job]], hardware: str) -> str:
    """The plan as lines: a row per page with its trainings, measurements and estimated hours; then each training."""
    lines = [f"{'':10} {'ANNs':>6} {'SNNs':>6} {'values':>8} {'hours':>8}"]
    rows = {**parts, "total": [job for jobs in parts.values() for job in jobs]}
    for name, jobs in rows.items():
        kinds = Counter(job.kind for job in jobs)
        anns, values = kinds["ann"], kinds["measure"]
        hours = sum(job.seconds for job in jobs) / 3600
        lines.append(f"{name:10} {anns:6} {len(jobs) - anns - values:6} {values:8} {hours:8.2f}")
    lines += ["", *(f"{job.name}  {duration(job.seconds)}" for job in rows["total"] if job.kind != "measure")]
    lines += ["", f"Estimated for {hardware}, one job after the other. Nothing was trained."]
    return "\n".join(lines)
