"""Artefacts as files: NAME.md, NAME.csv (NAME-2.csv for a second table), NAME.svg, .png, .pdf; index.md, runs.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path

from hiresnn.paper.artefact import Artefact, Cell, Table
from hiresnn.paper.stat import Stat
from hiresnn.runs.atomic import write_atomically

RUNS = "runs.csv"
NOTHING = "n/a"
"""What Markdown shows for a value that there is not; in CSV the cell is empty."""


def write(artefact: Artefact, out: Path) -> list[Path]:
    """Write the files of an artefact into `out`; returns their paths.

    Raises:
        HiresnnError: a file that cannot be written; a figure where matplotlib is not installed.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{artefact.name}.md"]
    for number, table in enumerate(artefact.tables, start=1):
        path = out / f"{artefact.name}{'' if number == 1 else f'-{number}'}.csv"
        write_atomically(path, csv_text(table).encode())
        written.append(path)
    if artefact.figure is not None:
        plotting = import_module("hiresnn.charts.print")
        written += plotting.save(artefact.figure(plotting), out / artefact.name, write=write_atomically)
    write_atomically(written[0], markdown(artefact).encode())
    return written


def markdown(artefact: Artefact) -> str:
    """The page of an artefact: title, figure, tables, notes."""
    lines = [f"# {artefact.name}: {artefact.title}", ""]
    if artefact.figure is not None:
        lines += [f"![{artefact.title}]({artefact.name}.svg)", ""]
    for table in artefact.tables:
        lines += [table.caption, "", *_rows(table), ""]
    if artefact.notes:
        lines += ["Notes:", "", *(f"- {note}" for note in artefact.notes), ""]
    return "\n".join(lines)


def index(entries: Iterable[tuple[str, str]], header: str) -> str:
    """The list of artefacts, (name, title) each, under `header`, a paragraph on how they were made."""
    lines = [f"- [{name}]({name}.md): {title}" for name, title in entries]
    return "\n".join(["# The paper, reproduced", "", header, "", *lines, ""])


def write_runs(commands: Mapping[str, str], out: Path) -> Path:
    """Put runs and the command lines that train them into `out`/runs.csv, beside those that it has; returns it."""
    path = out / RUNS
    known: dict[str, str] = {}
    if path.is_file():
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        known = {row["run"]: row["command"] for row in rows}
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([("run", "command"), *sorted({**known, **commands}.items())])
    write_atomically(path, buffer.getvalue().encode())
    return path


def csv_text(table: Table) -> str:
    """The table as CSV; a column with figures over seeds is followed by their deviation and the number of seeds."""
    over_seeds = [any(isinstance(row[at], Stat) for row in table.rows) for at in range(len(table.columns))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    headings = zip(table.columns, over_seeds, strict=True)
    writer.writerow(name for column, many in headings for name in (_expanded(column) if many else [column]))
    for row in table.rows:
        fields: list[str] = []
        for cell, many in zip(row, over_seeds, strict=True):
            if not many:
                fields.append(_plain(cell))
            elif isinstance(cell, Stat):
                fields += [_plain(cell.mean), _plain(cell.deviation), str(cell.seeds)]
            else:
                fields += [_plain(cell), "", ""]
        writer.writerow(fields)
    return buffer.getvalue()


def text_of(cell: Cell, *, signed: bool = False) -> str:
    """A cell as Markdown shows it: one decimal from 1 on, three digits below; a deviation is as exact as its mean."""
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell.replace("|", "\\|")
    if isinstance(cell, Stat):
        if cell.deviation is None or math.isnan(cell.mean):
            return _number(cell.mean, signed=signed)
        spread = f"{cell.deviation:,.1f}" if abs(cell.mean) >= 1 else _number(cell.deviation)
        return f"{_number(cell.mean, signed=signed)} ± {spread}"
    return _number(cell, signed=signed)


def _number(value: float, *, signed: bool = False) -> str:
    if math.isnan(value):
        return NOTHING
    if value == 0:
        return "0.0"
    digits = ",.1f" if abs(value) >= 1 else ".3g"
    return format(value, f"{'+' if signed else ''}{digits}")


def _plain(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return f"{cell:.6g}" if isinstance(cell, float | int) else str(cell)


def _expanded(column: str) -> list[str]:
    return [column, f"{column}, sd", f"{column}, seeds"]


def _rows(table: Table) -> list[str]:
    signed = [column.endswith("difference") for column in table.columns]
    right = [any(not isinstance(row[at], str) for row in table.rows) for at in range(len(table.columns))]
    lines = [list(table.columns), ["---:" if number else "---" for number in right]]
    lines += [[text_of(cell, signed=sign) for cell, sign in zip(row, signed, strict=True)] for row in table.rows]
    return [f"| {' | '.join(line)} |" for line in lines]
