"""`hiresnn reproduce`: choose pages, do what is missing, and write each page as soon as its values are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from hiresnn.app.folder import environment
from hiresnn.errors import HiresnnError, RunError, UsageError, closest
from hiresnn.files import write_atomically
from reproduction.accuracy_page import MissingValueError, Values
from reproduction.artefacts import ARTEFACTS, CLAIMS, every
from reproduction.labels import subtitle, text
from reproduction.measurements import Measurement, Run
from reproduction.measuring import measure
from reproduction.parallel import work_through
from reproduction.plan import Job, plan
from reproduction.render import read_csv, write, write_runs
from reproduction.scales import SCALES, Scale
from reproduction.study import StoredValue, Study, provenance

ALL = "all"
INDEX = "index.md"


def scale_of(name: str, *, seeds: int | None, sources: Mapping[str, str], networks: Sequence[str] = ()) -> Scale:
    """The scale of that name, changed by the options of the command line. Raises UsageError for what it lacks."""
    if name not in SCALES:
        raise UsageError(f"scale is {name!r}; {closest(name, SCALES)}.")
    scale = SCALES[name].with_sources(sources)
    scale = scale.only(networks) if networks else scale
    return scale if seeds is None else scale.with_seeds(seeds)


def chosen(names: Sequence[str], scale: Scale) -> tuple[dict[str, list[Measurement]], list[str]]:
    """What the named artefacts need, in the paper's order, and those that this scale cannot make; not all of them."""
    for name in names:
        if name != ALL and name not in ARTEFACTS:
            raise UsageError(f"there is no table or figure {name!r}; {closest(name, [*ARTEFACTS, ALL])}.")
    asked = [name for name in ARTEFACTS if name in names or (ALL in names and name in every(scale))]
    every_seed = {name: [each for one in ARTEFACTS[name].needs(scale) for each in one.each(scale)] for name in asked}
    possible = {name: list(dict.fromkeys(each)) for name, each in every_seed.items() if each}
    if not possible:
        raise UsageError(
            f"{', '.join(asked)}: scale {scale.name} has no network or no black box for it; its networks are "
            f"{', '.join(scale.networks)}, its attackers {', '.join(scale.boxes)}."
        )
    return possible, [name for name in asked if name not in possible]


def plan_parts(study: Study, needs: Mapping[str, Sequence[Measurement]]) -> dict[str, list[Job]]:
    """Artefact -> the jobs that it adds; work that several share stands with the first."""
    seen: set[str] = set()
    parts = {}
    for name, measurements in needs.items():
        parts[name] = [job for job in plan(study, measurements) if job.name not in seen]
        seen |= {job.name for job in parts[name]}
    return parts


def do(study: Study, task: Run | Measurement) -> None:
    """Train a run or measure a value."""
    if isinstance(task, Run):
        study.train(task)
    else:
        measure(study, task)


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
    """Train, measure and write the artefacts into `out`; returns all files, the index last.

    If one of several fails, the others are still made, and a RunError names the first. `command` is for the index.
    `partial` trains and measures nothing; accuracies that are missing are n/a, and a page that cannot do without a
    missing value is left out.
    """
    needs, impossible = chosen(names, study.scale)
    if any(ARTEFACTS[name].has_figure for name in needs) and find_spec("matplotlib") is None:
        raise UsageError("figures need matplotlib, which is not installed; run pip install 'hiresnn[paper]'.")
    out.mkdir(parents=True, exist_ok=True)  # fails now rather than after a day of training
    for name in impossible:
        study.progress.line(f"{name} is left out: this reproduction has no network or no black box for it")
    if not partial and (workers > 1 or scheduler is not None):
        wanted = [each for measurements in needs.values() for each in measurements]
        work_through(study, lambda: plan(study, wanted), do, workers=workers, scheduler=scheduler)
    written: list[Path] = []
    failed: dict[str, HiresnnError] = {}
    for number, (name, measurements) in enumerate(needs.items(), start=1):
        study.progress.line(f"{name} ({number} of {len(needs)}): {ARTEFACTS[name].title}")
        try:
            for job in [] if partial else plan(study, measurements):
                do(study, job.task)
            written += _write(study, name, measurements, out)
        except HiresnnError as error:
            if len(needs) == 1:
                raise
            failed[name] = error
            study.progress.line(f"{name} failed: {error}")
    written += [write_runs(_runs(study, needs), out), _write_index(study, out, command)]
    if failed:
        first = next(iter(failed))
        raise RunError(f"{len(failed)} of {len(needs)} artefacts failed, {first} first: {failed[first]}")
    return written


def _write(study: Study, name: str, measurements: Sequence[Measurement], out: Path) -> list[Path]:
    """Write a page from the values that are there; nothing where it would be empty, or cannot do without the others."""
    found = {measurement: record for measurement in measurements if (record := study.find(measurement))}
    files = {study.file_name(each): found.get(each) for each in measurements}  # some measurements share a file
    known = [record for record in files.values() if record]
    missing, artefact = len(files) - len(known), ARTEFACTS[name]
    try:
        page = artefact.render(Values(study.scale, found)) if found else None
    except MissingValueError:
        page = None
    if page is None:
        study.progress.line(
            f"{name} is left out: {missing} of its {len(files)} values are not measured yet; leave out --partial to "
            "measure them"
        )
        return []
    if missing:
        page.notes.insert(0, f"Not finished: {missing} of {len(files)} values are not measured yet, and left out here.")
    page.notes += _mixed(study, found)
    page.notes.append(provenance(known))
    return write(name, artefact.title, subtitle(study.scale, page.networks, page.images), page, out)


def _mixed(study: Study, found: Mapping[Measurement, StoredValue]) -> list[str]:
    """A sentence on networks whose values come from more than one training: of another processor or version."""
    origins: dict[str, set[str]] = {}
    for measurement, record in found.items():
        for run in measurement.runs():
            origins.setdefault(study.name(run), set()).add(record.origin)
    names = sorted(name for name, each in origins.items() if len(each) > 1)
    return [text("mixed", runs=", ".join(names))] if names else []


def _runs(study: Study, needs: Mapping[str, Sequence[Measurement]]) -> Iterator[dict[str, str]]:
    """A row of runs.csv for every network; all processors where its folder is gone and its values are of several."""
    values: dict[Run, list[StoredValue]] = {}
    for measurement in (each for measurements in needs.values() for each in measurements):
        record = study.find(measurement)
        for run in measurement.runs():
            values.setdefault(run, []).extend([record] if record else [])
    for run, records in values.items():
        first = min((record.where for record in records), key=lambda where: str(where["date"]), default={})
        trained = study.trained_on(run)
        origin = trained or first
        places = [trained] if trained else [record.where for record in records]
        processors = "; ".join(dict.fromkeys(str(where["cpu"]) for where in places if where.get("cpu")))
        yield {
            "run": study.name(run), "command": study.command(run), "processor": processors,
            "hiresnn": str(origin.get("hiresnn", "")), "semantics": str(first.get("semantics", "")),
            "torch": str(origin.get("torch", "")), "date": str(origin.get("date", ""))[:10],
            "read from": "training" if trained else "measurement" if first else "",
        }  # fmt: skip


def _write_index(study: Study, out: Path, command: str) -> Path:
    """The list of all pages of the folder; figures are shown."""
    here = environment()
    header = (
        f"`{command}`\n\nScale {study.scale.name}. Written on {here['date'][:10]} by hiresnn {here['hiresnn']}; each "
        "page says where and when its values were measured."
    )
    lines = ["# The paper, reproduced", "", header, ""]
    for name, artefact in ARTEFACTS.items():
        if (out / f"{name}.md").is_file():
            lines.append(f"- [{name}]({name}.md): {artefact.title}")
            if artefact.has_figure:
                lines += ["", f'  [<img src="{name}.svg" alt="{artefact.title}" width="400">]({name}.md)', ""]
    write_atomically(out / INDEX, "\n".join([*lines, ""]).encode())
    return out / INDEX


def claims_text(out: Path) -> str:
    """The verdicts on the claims of the paper in `out`, a paragraph each; empty where that page was not written."""
    paragraphs = []
    for row in read_csv(out / f"{CLAIMS}.csv"):
        numbers = f"paper {row['paper']}, here {row['numbers']}" if row["paper"] else f"here {row['numbers']}"
        paragraphs.append(
            f"{row['verdict'].upper():13} {row['where']}: {row['claim']}\n{'':13} {numbers} [{row['page']}]"
        )
    return "\n".join(paragraphs)
