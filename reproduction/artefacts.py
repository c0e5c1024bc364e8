"""The tables and figures of the paper by name, and the command that makes them: train, measure, write each page."""

import csv
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from pathlib import Path

from joblib import Parallel, cpu_count, delayed, parallel_config

from hiresnn.app.folder import MODEL, environment
from hiresnn.errors import HiresnnError, RunError, UsageError, closest
from hiresnn.files import write_atomically
from hiresnn.process import keep_kernels, keep_memory
from reproduction import page
from reproduction.measure import measure
from reproduction.page import AGREES, DIFFERS, OPEN, UNCLEAR, Cell, Claim, Page, Table
from reproduction.paper import NotAtThisScaleError, Run, Scale, network_label, section, text
from reproduction.results import MissingValueError, Results
from reproduction.study import Measurement, StoredValue, Study

ALL, CLAIMS = "all", "claims"
NOT_IN_PAPER = ("bounds", "thresholds", "saturation")  # pages that `all` leaves out unless the scale lists them
STAGES = ("ann", "snn", "value", "alone")  # one after the other; tasks of a stage together, but each "alone" by itself
Task = Run | Measurement  # a training, or a value of trained networks


def claims_page(results: Results) -> Page:
    """Every claim of abstract, text and conclusion, collected from the pages that judge it."""
    claims: list[tuple[str, Claim]] = []
    missing, networks = [], []
    for name in every(results.scale):
        part = Results(results.scale, results.records)
        with suppress(NotAtThisScaleError):
            try:
                made = ARTEFACTS[name][1](part) if name != CLAIMS else Page([])
            except MissingValueError:
                made = Page([])
                missing.append(name)
            networks += made.networks
            claims += [(name, claim) for claim in made.claims if claim.source]
        results.asked |= part.asked
        results.intervals += part.intervals
    claims.sort(key=lambda pair: not pair[1].source.startswith("abstract"))
    counted = [claim for _, claim in claims if claim.counted]
    verdicts: dict[str, set[str]] = {}
    for claim in counted:
        verdicts.setdefault(claim.text, set()).add(claim.verdict)
    counts = Counter(map(summed, verdicts.values()))
    numbers = ", ".join(f"{counts[verdict]} {verdict}" for verdict in (AGREES, DIFFERS, UNCLEAR, OPEN))
    notes = [text("claims.verdicts"), text("claims.counts", distinct=len(verdicts), rows=len(counted), counted=numbers)]
    if left_out := sorted({name for name, claim in claims if not claim.counted}):
        legacy = [
            network_label(network) for network in results.scale.networks if not results.scale.counts_rate(network)
        ]
        notes.append(text("claims.legacy", pages=", ".join(left_out), networks=", ".join(legacy)))
    notes += [*results.interval_note(), *results.scale.setting_notes(dict.fromkeys(networks), rated=False)]
    notes += [f"Not measured at this scale: {', '.join(missing)}."] if missing else []
    columns = ["where", "claim", "page", "paper", "ours", "verdict", "numbers"]
    rows: list[list[Cell]] = [
        [claim.source, claim.title, name, claim.paper, claim.ours, claim.verdict, claim.numbers]
        for name, claim in claims
    ]
    return Page([Table(text("claims.caption"), columns, rows)], notes=notes, networks=tuple(dict.fromkeys(networks)))


def summed(verdicts: Collection[str]) -> str:
    """The verdict on a claim from those of its rows: rows that are not judged say nothing.

    >>> summed({AGREES, OPEN}), summed({AGREES, DIFFERS}), summed({OPEN})
    ('agrees', 'within error', 'not judged')
    """
    judged = {*verdicts} - {OPEN}
    return judged.pop() if len(judged) == 1 else UNCLEAR if judged else OPEN


MODULES = [import_module(f"reproduction.{path.stem}") for path in Path(__file__).parent.glob("pages_*.py")]
PAGES = {name: function for module in MODULES for name, function in vars(module).items()}
PAGES |= {"rate": PAGES["against_rate"], CLAIMS: claims_page}
PAGES |= {f"fig11{panel}": partial(PAGES["fig11"], price=price) for panel, price in (("a", "fp32"), ("b", "int32"))}
ARTEFACTS: dict[str, tuple[str, Callable[[Results], Page]]] = {
    name: (title, PAGES[name.replace("-", "")]) for name, title in section("titles").items()
}
"""Name -> title and page, a function of that name, in the paper's order.

A page raises NotAtThisScaleError where the scale has no network for it, and MissingValueError where a value is missing
that it cannot do without."""


def every(scale: Scale) -> list[str]:
    """What `all` means at a scale, in the paper's order."""
    return [name for name in ARTEFACTS if (name in scale.artefacts if scale.artefacts else name not in NOT_IN_PAPER)]


def needs(name: str, scale: Scale) -> list[Measurement]:
    """What a page asks for: it is made without any value, and everything that it reads is noted."""
    results = Results(scale)
    with suppress(MissingValueError, NotAtThisScaleError):
        ARTEFACTS[name][1](results)
    return list(results.asked)


def chosen(names: Sequence[str], scale: Scale) -> dict[str, list[Measurement]]:
    """The named artefacts that this scale can make, in the paper's order, and what they need."""
    for name in names:
        if name != ALL and name not in ARTEFACTS:
            raise UsageError(f"there is no table or figure {name!r}; {closest(name, [*ARTEFACTS, ALL])}.")
    asked = [name for name in ARTEFACTS if name in names or (ALL in names and name in every(scale))]
    possible = {name: measurements for name in asked if (measurements := needs(name, scale))}
    if not possible:
        has = f"networks are {', '.join(scale.networks)}, its attackers {', '.join(scale.boxes)}"
        raise UsageError(f"{', '.join(asked)}: scale {scale.name} has no network or no black box for it; its {has}.")
    return possible


def plan(study: Study, measurements: Iterable[Measurement]) -> list[Task]:
    """The trainings and measurements that are missing, each after those that it needs. Loads and trains nothing."""
    runs: dict[str, Run] = {}
    values: dict[str, Measurement] = {}

    def add_training(run: Run) -> None:
        if study.name(run) not in runs and not (study.path(run) / MODEL).is_file():
            if run.method != "ann":
                add_training(study.scale.ann_of(run))
            runs[study.name(run)] = run

    for measurement in dict.fromkeys(measurements):
        if study.find(measurement) is None:
            for run in measurement.runs():
                add_training(run)
            values[study.name(measurement)] = measurement
    return [*runs.values(), *values.values()]


def stage(task: Task) -> str:
    """Which of STAGES a task belongs to."""
    if isinstance(task, Run):
        return "ann" if task.method == "ann" else "snn"
    return "alone" if task.kind == "cost" else "value"


def plan_text(study: Study, pages: Mapping[str, Sequence[Measurement]]) -> str:
    """Numbers of trainings and values of each page, shared work with the first; then each training."""
    parts: dict[str, list[Task]] = {}
    total: dict[str, Task] = {}
    for page_name, measurements in pages.items():
        parts[page_name] = [task for task in plan(study, measurements) if study.name(task) not in total]
        total |= {study.name(task): task for task in parts[page_name]}
    lines = [f"{'':10} {'ANNs':>6} {'SNNs':>6} {'values':>8}"]
    for page_name, tasks in {**parts, "total": total.values()}.items():
        count = Counter(map(stage, tasks))
        lines.append(f"{page_name:10} {count['ann']:6} {count['snn']:6} {count['value'] + count['alone']:8}")
    runs = [name for name, task in total.items() if isinstance(task, Run)]
    return "\n".join([*lines, "", *runs, "", "Nothing was trained."])


def do(study: Study, task: Task) -> None:
    """Train a run or measure a value."""
    if isinstance(task, Run):
        study.train(task)
    else:
        measure(study, task)


def work_through(
    study: Study, measurements: Sequence[Measurement], workers: int = 1, scheduler: str | None = None
) -> None:
    """Do what is missing in workers, stage by stage, except what must run alone; what fails is left to the caller.

    Raises UsageError where no scheduler answers, or a worker of it has several threads.
    """
    with _backend(workers, scheduler):
        for current in STAGES[:-1]:
            ready = [task for task in plan(study, measurements) if stage(task) == current]
            with study.progress.task(f"{len(ready)} jobs ({current})", len(ready), "jobs") as bar:
                calls = (delayed(_attempt)(study, task) for task in ready)
                for name, error in Parallel(return_as="generator_unordered", batch_size=1)(calls):
                    bar.advance(note=name)
                    if error is not None:
                        study.progress.line(f"{name} failed: {error}")


def _attempt(study: Study, task: Task) -> tuple[str, str | None]:
    """In a worker: the task's name, and its error, so that the other tasks go on."""
    keep_memory()
    keep_kernels()
    try:
        do(study, task)
    except HiresnnError as error:
        return study.name(task), str(error)
    return study.name(task), None


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
    pages, say = chosen(names, study.scale), study.progress.line
    out.mkdir(parents=True, exist_ok=True)  # fails now rather than after a day of training
    for name in every(study.scale) if ALL in names else names:
        if name not in pages and name != ALL:
            say(f"{name} is left out: this reproduction has no network or no black box for it")
    everything = [one for measurements in pages.values() for one in measurements]
    if not partial and (workers > 1 or scheduler is not None):
        work_through(study, everything, workers, scheduler)
    written: list[Path] = []
    failed: dict[str, HiresnnError] = {}
    for number, (name, measurements) in enumerate(pages.items(), start=1):
        say(f"{name} ({number} of {len(pages)}): {ARTEFACTS[name][0]}")
        try:
            for task in [] if partial else plan(study, measurements):
                do(study, task)
            if made := finished(study, name, measurements):
                subtitle = study.scale.subtitle(made.networks, made.images)
                written += page.write(name, ARTEFACTS[name][0], subtitle, made, out)
        except HiresnnError as error:
            if len(pages) == 1:
                raise
            failed[name] = error
            say(f"{name} failed: {error}")
    written.append(_write_index(study, out, command))
    for first, error in failed.items():
        raise RunError(f"{len(failed)} of {len(pages)} artefacts failed, {first} first: {error}")
    return written


def finished(study: Study, name: str, measurements: Sequence[Measurement]) -> Page | None:
    """The page from the values that are there; None where it would be empty, or cannot do without the others."""
    stored = {one: study.find(one) for one in measurements}
    results = Results(study.scale, {one: record for one, record in stored.items() if record})
    files = {study.value_path(one): record for one, record in stored.items()}  # some measurements share a file
    known = [record for record in files.values() if record]
    missing = f"{len(files) - len(known)} of"
    made = None
    with suppress(MissingValueError):
        made = ARTEFACTS[name][1](results) if known else None
    if made is None:
        unmeasured = f"{missing} its {len(files)} values are not measured yet"
        study.progress.line(f"{name} is left out: {unmeasured}; leave out --partial to measure them")
        return None
    if len(known) < len(files):
        made.notes.insert(0, f"Not finished: {missing} {len(files)} values are not measured yet, and left out here.")
    origins: dict[str, set[str]] = {}
    for measurement, record in results.records.items():
        for run in measurement.runs():
            origins.setdefault(study.name(run), set()).add(record.origin)
    mixed = sorted(run for run, several in origins.items() if len(several) > 1)  # trained on several machines
    made.notes += [*([text("mixed", runs=", ".join(mixed))] if mixed else []), provenance(known)]
    return made


def provenance(records: Sequence[StoredValue]) -> str:
    """One sentence on where and when values were measured, the most frequent place first.

    >>> provenance([StoredValue(1.0, {"cpu": "A", "torch": "2.5", "date": "2026-11-24T09:00:00"})])
    'Measured: 1 value on A, torch 2.5, 2026-11-24.'
    """
    days: dict[str, list[str]] = {}  # place -> the day of each value
    for record in records:
        place = f"{record.where['cpu']}, torch {record.where['torch']}"
        days.setdefault(place, []).append(str(record.where["date"])[:10])
    clauses = [
        f"{len(dates)} value{'s' if len(dates) > 1 else ''} on {place}, {' to '.join(sorted({min(dates), max(dates)}))}"
        for place, dates in sorted(days.items(), key=lambda pair: -len(pair[1]))
    ]
    return f"Measured: {'; '.join(clauses)}."


def _write_index(study: Study, out: Path, command: str) -> Path:
    """The list of all pages of the folder, also of those written by hand; figures are shown."""
    here = environment()
    lines = ["# The paper, reproduced", "", f"`{command}`", ""]
    lines += [text("index", scale=study.scale.name, day=here["date"][:10], version=here["hiresnn"]), ""]
    for name, (title, _) in ARTEFACTS.items():
        if (out / f"{name}.md").is_file():
            lines.append(f"- [{name}]({name}.md): {title}")
            if (out / f"{name}.svg").is_file():
                lines += ["", f'  [<img src="{name}.svg" alt="{title}" width="400">]({name}.md)', ""]
    for path in sorted(out.glob("*.md")):  # what people wrote about the pages
        if path.stem not in (*ARTEFACTS, "index"):
            title = path.read_text(encoding="utf-8").partition("# ")[2].splitlines()[0]
            lines.append(f"- [{path.stem}]({path.name}): {title}")
    write_atomically(out / "index.md", "\n".join([*lines, ""]).encode())
    return out / "index.md"


def claims_text(out: Path) -> str:
    """The verdicts on the claims of the paper in `out`, a paragraph each; empty where that page was not written."""
    paragraphs, path = [], out / f"{CLAIMS}.csv"
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ():
        numbers = f"paper {row['paper']}, here {row['numbers']}" if row["paper"] else f"here {row['numbers']}"
        paragraphs += [
            f"{row['verdict'].upper():13} {row['where']}: {row['claim']}",
            f"{'':13} {numbers} [{row['page']}]",
        ]
    return "\n".join(paragraphs)
