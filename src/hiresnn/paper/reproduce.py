"""`hiresnn reproduce`: artefacts made one after the other, written as they come, and the plan of a dry run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.paper.artefact import ARTEFACTS, Artefact
from hiresnn.paper.parallel import work_through
from hiresnn.paper.plan import Job
from hiresnn.paper.provenance import note
from hiresnn.paper.scales import SCALES
from hiresnn.paper.study import Study
from hiresnn.paper.writing import index, write, write_runs
from hiresnn.progress import Progress, duration
from hiresnn.runs.atomic import write_atomically
from hiresnn.runs.environment import environment
from hiresnn.runs.faults import closest

ALL = "all"
INDEX = "index.md"


def chosen(names: Sequence[str]) -> list[str]:
    """The artefacts that `names` ask for, in the paper's order; "all" is every one. Raises UsageError."""
    for name in names:
        if name != ALL and name not in ARTEFACTS:
            raise UsageError(f"there is no table or figure {name!r}; {closest(name, [*ARTEFACTS, ALL])}.")
    return [name for name in ARTEFACTS if ALL in names or name in names]


def study_of(
    scale: str,
    *,
    root: Path,
    seeds: int | None,
    sources: Mapping[str, str],
    progress: Progress,
    networks: Sequence[str] = (),
) -> Study:
    """A study at the scale of that name.

    Args:
        scale: name of a scale.
        root, sources, progress: as `Study` takes them.
        seeds: the first so many for every network; None are the scale's.
        networks: these alone, such as "vgg5-cifar10"; none are all of the scale.

    Raises:
        UsageError: an unknown scale or network, or no seeds.
    """
    if scale not in SCALES:
        raise UsageError(f"scale is {scale!r}; choose one of {', '.join(SCALES)}.")
    chosen_scale = SCALES[scale].only(networks) if networks else SCALES[scale]
    if seeds is not None:
        chosen_scale = chosen_scale.with_seeds(seeds)
    return Study(chosen_scale, root=root, seeds=tuple(range(chosen_scale.seeds)), sources=sources, progress=progress)


def plan(study: Study, names: Sequence[str]) -> dict[str, list[Job]]:
    """Artefact -> what it adds to be done; work that several share stands with the first."""
    seen: set[str] = set()
    parts = {}
    for name in chosen(names):
        jobs = [job for job in study.plan([ARTEFACTS[name]]) if job.name not in seen]
        seen |= {job.name for job in jobs}
        parts[name] = jobs
    return parts


def reproduce(
    study: Study,
    names: Sequence[str],
    out: Path,
    *,
    command: str,
    workers: int = 1,
    scheduler: str | None = None,
    partial: bool = False,
) -> list[Path]:
    """Make the artefacts and write them into `out`; returns all files, the index last.

    Where one of several fails, the others are still made.

    Args:
        names: of artefacts, or "all".
        command: the command line, for the index.
        workers, scheduler: who trains and measures at the same time, as `parallel.work_through` takes them.
        partial: train and measure nothing; accuracies that are not measured yet are n/a. Left out is an artefact
            that has none yet, or that shows more than accuracies and is not whole.

    Raises:
        UsageError: an unknown name; a figure is asked for and matplotlib is not installed; no such scheduler.
        RunError: some failed; the sentence names the first. Or workers die again and again.
    """
    asked = chosen(names)
    if any(ARTEFACTS[name].drawn for name in asked) and find_spec("matplotlib") is None:
        raise UsageError("figures need matplotlib, which is not installed: pip install -e '.[paper]' in the checkout.")
    out.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is told now, not after a day's work
    if not partial and (workers > 1 or scheduler is not None):
        work_through(study, [ARTEFACTS[name] for name in asked], workers=workers, scheduler=scheduler)
    written: list[Path] = []
    failed: dict[str, HiresnnError] = {}
    for number, name in enumerate(asked, start=1):
        study.progress.line(f"{name} ({number} of {len(asked)}): {ARTEFACTS[name].title}")
        try:
            if not partial:
                ARTEFACTS[name](study)  # trains and measures; then there is all that is read below
            if (made := _read(study, name)) is not None:
                written += write(made, out)
        except HiresnnError as error:
            if len(asked) == 1:
                raise
            failed[name] = error
            study.progress.line(f"{name} failed: {error}")
    written += [write_runs(study.commands, out), out / INDEX]
    pages = [(name, ARTEFACTS[name].title) for name in ARTEFACTS if (out / f"{name}.md").is_file()]
    write_atomically(written[-1], index(pages, _header(study, command)).encode())
    if failed:
        first = next(iter(failed))
        raise RunError(f"{len(failed)} of {len(asked)} artefacts failed, {first} first: {failed[first]}")
    return written


def _read(study: Study, name: str) -> Artefact | None:
    """The artefact of what there is and where that was measured; None where it would say nothing, or what is false."""
    made, plan = study.partly(ARTEFACTS[name])
    left, found = sum(job.kind == "measure" for job in plan.jobs.values()), len(plan.found)
    if left and not (found and ARTEFACTS[name].partly):
        study.progress.line(f"{name} is left out: {left} of its {left + found} figures are not measured yet")
        return None
    if left:
        made.notes.insert(0, f"Not finished: {left} of {left + found} figures are not measured yet, and n/a here.")
    if found:
        made.notes.append(note(plan.found.values()))
    return made


def plan_text(parts: Mapping[str, Sequence[Job]], hardware: str) -> str:
    """The plan as lines: a row an artefact with its trainings, figures and estimated hours; then each training."""
    lines = [f"{'':10} {'ANNs':>6} {'SNNs':>6} {'figures':>8} {'hours':>8}"]
    rows = {**parts, "total": [job for jobs in parts.values() for job in jobs]}
    for name, jobs in rows.items():
        kinds = Counter(job.kind for job in jobs)
        anns, figures = kinds["ann"], kinds["measure"]
        snns = len(jobs) - anns - figures - kinds["copy"]
        hours = sum(job.seconds for job in jobs) / 3600
        lines.append(f"{name:10} {anns:6} {snns:6} {figures:8} {hours:8.2f}")
    lines += [
        "",
        *(f"{job.name}  {duration(job.seconds)}" for job in rows["total"] if job.kind not in ("copy", "measure")),
    ]
    lines += ["", f"Estimated for {hardware}, one job after the other. Nothing was trained."]
    return "\n".join(lines)


def _header(study: Study, command: str) -> str:
    where = environment()
    return (
        f"`{command}`\n\nScale {study.scale.name}. Written on {where['date'][:10]} by hiresnn {where['hiresnn']}; each "
        "page says where and when its figures were measured."
    )
