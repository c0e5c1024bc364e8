"""The tables and figures of the paper by name, and the command that makes them: measure, then write each page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from hiresnn.app.folder import environment
from hiresnn.errors import HiresnnError, RunError, UsageError, closest
from hiresnn.files import write_atomically
from reproduction import jobs, page
from reproduction import pages_accuracy as accuracy
from reproduction import pages_activity as activity
from reproduction import pages_distances as distances
from reproduction import pages_energy as energy
from reproduction import pages_sweeps as sweeps
from reproduction.page import AGREES, DIFFERS, OPEN, UNCLEAR, Page, Table
from reproduction.pages_checks import table4
from reproduction.pages_cost import fig7
from reproduction.paper import NotAtThisScaleError, Run, Scale, text
from reproduction.results import MissingValueError, Results
from reproduction.study import Measurement, StoredValue, Study

ALL, CLAIMS = "all", "claims"
NOT_IN_PAPER = ("bounds", "thresholds")  # pages that `all` leaves out unless the scale lists them


def claims_page(results: Results) -> Page:
    """Every claim of abstract, text and conclusion, collected from the pages that judge it."""
    rows, missing, networks = [], [], []
    for name in every(results.scale):
        if name == CLAIMS:
            continue
        part = Results(results.scale, results.records)
        try:
            made = ARTEFACTS[name][1](part)
        except NotAtThisScaleError:
            continue
        except MissingValueError:
            missing.append(name)
            continue
        finally:
            results.asked |= part.asked
        networks += made.networks
        for claim in made.claims:
            said = f"{claim.text} ({claim.of})" if claim.of else claim.text
            rows.append([claim.source, said, name, claim.paper, claim.ours, claim.verdict, claim.numbers])
    rows = sorted((row for row in rows if row[0]), key=lambda row: not str(row[0]).startswith("abstract"))
    counts = Counter(row[5] for row in rows)
    counted = ", ".join(f"{counts[verdict]} {verdict}" for verdict in (AGREES, DIFFERS, UNCLEAR, OPEN))
    notes = [text("claims.verdicts"), f"Of {len(rows)} claims: {counted}."]
    notes += [f"Not measured at this scale: {', '.join(missing)}."] if missing else []
    columns = ["where", "claim", "page", "paper", "ours", "verdict", "numbers"]
    return Page([Table(text("claims.caption"), columns, rows)], notes=notes, networks=tuple(dict.fromkeys(networks)))


ARTEFACTS: dict[str, tuple[str, Callable[[Results], Page]]] = {
    "table1": ("ANN, rate-coded SNN and low-latency SNN under attack", accuracy.table1),
    "table2": ("HIRE-SNN under white-box attacks", accuracy.table2),
    "table3": ("HIRE-SNN under black-box attacks", accuracy.table3),
    "table4": ("Five checks for obfuscated gradients", table4),
    "table5": ("Threshold and leak frozen", accuracy.table5),
    "table6": ("Operations of a layer", energy.table6),
    "table7": ("Energy of an operation and of an image", energy.table7),
    "rate": ("HIRE-SNN against the rate-coded SNN", accuracy.against_rate),
    "fig1a": ("An image as direct and as rate-coded input", activity.fig1a),
    "fig1b": ("Spikes of each layer", activity.fig1b),
    "fig1c": ("VGG11: SNN and ANN under attack", accuracy.fig1c),
    "fig3": ("Time-averaged spiking activity of each layer", activity.fig3),
    "fig4": ("Accuracy over timesteps T", sweeps.fig4),
    "fig5a": ("Distance behind a LIF layer over its leak", distances.fig5a),
    "fig5b": ("Spike distance layer by layer", distances.fig5b),
    "fig7": ("Memory and time of training", fig7),
    "fig8a": ("Accuracy over the bound of the attack", sweeps.fig8a),
    "fig8b": ("Accuracy over the iterations of the attack", sweeps.fig8b),
    "fig9": ("Gaussian and crafted noise", accuracy.fig9),
    "fig10a": ("Timesteps of rate-coded and direct input", activity.fig10a),
    "fig10b-e": ("Accuracy over the noise step", sweeps.fig10be),
    "fig11a": ("Energy of an image, FP32", partial(energy.fig11, price="fp32")),
    "fig11b": ("Energy of an image, INT32", partial(energy.fig11, price="int32")),
    "bounds": ("Accuracy at every bound in every box", accuracy.bounds),
    "thresholds": ("Threshold scales on held-out images", accuracy.thresholds),
    CLAIMS: ("The claims of the paper", claims_page),
}
"""Name -> title and page, in the paper's order.

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
        raise UsageError(
            f"{', '.join(asked)}: scale {scale.name} has no network or no black box for it; its networks are "
            f"{', '.join(scale.networks)}, its attackers {', '.join(scale.boxes)}."
        )
    return possible


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
    pages = chosen(names, study.scale)
    out.mkdir(parents=True, exist_ok=True)  # fails now rather than after a day of training
    for name in every(study.scale) if ALL in names else names:
        if name not in pages and name != ALL:
            study.progress.line(f"{name} is left out: this reproduction has no network or no black box for it")
    if not partial and (workers > 1 or scheduler is not None):
        measurements = [one for part in pages.values() for one in part]
        jobs.work_through(study, measurements, workers=workers, scheduler=scheduler)
    written: list[Path] = []
    failed: dict[str, HiresnnError] = {}
    for number, (name, measurements) in enumerate(pages.items(), start=1):
        study.progress.line(f"{name} ({number} of {len(pages)}): {ARTEFACTS[name][0]}")
        try:
            for job in [] if partial else jobs.plan(study, measurements):
                jobs.do(study, job.task)
            if made := finished(study, name, measurements):
                subtitle = study.scale.subtitle(made.networks, made.images)
                written += page.write(name, ARTEFACTS[name][0], subtitle, made, out)
        except HiresnnError as error:
            if len(pages) == 1:
                raise
            failed[name] = error
            study.progress.line(f"{name} failed: {error}")
    written += [page.write_runs(_runs(study, pages), out), _write_index(study, out, command)]
    if failed:
        first = next(iter(failed))
        raise RunError(f"{len(failed)} of {len(pages)} artefacts failed, {first} first: {failed[first]}")
    return written


def finished(study: Study, name: str, measurements: Sequence[Measurement]) -> Page | None:
    """The page from the values that are there; None where it would be empty, or cannot do without the others."""
    stored = {one: study.find(one) for one in measurements}
    results = Results(study.scale, {one: record for one, record in stored.items() if record})
    files = {study.value_path(one): record for one, record in stored.items()}  # some measurements share a file
    known = [record for record in files.values() if record]
    missing = len(files) - len(known)
    try:
        made = ARTEFACTS[name][1](results) if known else None
    except MissingValueError:
        made = None
    if made is None:
        study.progress.line(
            f"{name} is left out: {missing} of its {len(files)} values are not measured yet; leave out --partial to "
            "measure them"
        )
        return None
    if missing:
        made.notes.insert(0, f"Not finished: {missing} of {len(files)} values are not measured yet, and left out here.")
    made.notes += [*_mixed(study, results.records), provenance(known)]
    return made


def _mixed(study: Study, records: Mapping[Measurement, StoredValue]) -> list[str]:
    """A sentence on networks whose values come from more than one training: of another processor or version."""
    origins: dict[str, set[str]] = {}
    for measurement, record in records.items():
        for run in measurement.runs():
            origins.setdefault(study.name(run), set()).add(record.origin)
    names = sorted(name for name, several in origins.items() if len(several) > 1)
    return [text("mixed", runs=", ".join(names))] if names else []


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


def _runs(study: Study, pages: Mapping[str, Sequence[Measurement]]) -> Iterator[dict[str, str]]:
    """A row of runs.csv for every network; all processors where its folder is gone and its values are of several."""
    values: dict[Run, list[StoredValue]] = {}
    for measurement in (one for measurements in pages.values() for one in measurements):
        record = study.find(measurement)
        for run in measurement.runs():
            values.setdefault(run, []).extend([record] if record else [])
    for run, records in values.items():
        first = min((record.where for record in records), key=lambda where: str(where["date"]), default={})
        trained = study.trained_on(run)
        origin = trained or first
        places = [trained] if trained else [record.where for record in records]
        processors = "; ".join(dict.fromkeys(str(where["cpu"]) for where in places if where.get("cpu")))
        row = {"run": study.name(run), "command": study.command(run), "processor": processors}
        row |= {name: str(origin.get(name, "")) for name in ("hiresnn", "torch")}
        row |= {"semantics": str(first.get("semantics", "")), "date": str(origin.get("date", ""))[:10]}
        yield row | {"read from": "training" if trained else "measurement" if first else ""}


def _write_index(study: Study, out: Path, command: str) -> Path:
    """The list of all pages of the folder; figures are shown."""
    here = environment()
    header = (
        f"`{command}`\n\nScale {study.scale.name}. Written on {here['date'][:10]} by hiresnn {here['hiresnn']}; each "
        "page says where and when its values were measured."
    )
    lines = ["# The paper, reproduced", "", header, ""]
    for name, (title, _) in ARTEFACTS.items():
        if (out / f"{name}.md").is_file():
            lines.append(f"- [{name}]({name}.md): {title}")
            if (out / f"{name}.svg").is_file():
                lines += ["", f'  [<img src="{name}.svg" alt="{title}" width="400">]({name}.md)', ""]
    write_atomically(out / "index.md", "\n".join([*lines, ""]).encode())
    return out / "index.md"


def claims_text(out: Path) -> str:
    """The verdicts on the claims of the paper in `out`, a paragraph each; empty where that page was not written."""
    paragraphs = []
    for row in page.read_csv(out / f"{CLAIMS}.csv"):
        numbers = f"paper {row['paper']}, here {row['numbers']}" if row["paper"] else f"here {row['numbers']}"
        paragraphs.append(
            f"{row['verdict'].upper():13} {row['where']}: {row['claim']}\n{'':13} {numbers} [{row['page']}]"
        )
    return "\n".join(paragraphs)
