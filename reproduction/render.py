"""Pages as files: NAME.md, NAME.csv (NAME-2.csv for a second table), NAME.svg, .png, .pdf; index.md, runs.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from hiresnn.files import write_atomically
from reproduction.page import Cell, Page, Table
from reproduction.seedstat import SeedStat, one_decimal

RUNS = "runs.csv"
RUN_COLUMNS = ("run", "command", "processor", "hiresnn", "semantics", "torch", "date", "read from")
"""Of runs.csv: what trained a network, or measured it first where its folder is gone; "read from" tells which."""
NOTHING = "n/a"
"""What Markdown shows for a missing value; in CSV the cell is empty."""


def write(name: str, title: str, subtitle: str, page: Page, out: Path) -> list[Path]:
    """Write the files of a page into the folder `out`; returns their paths.

    The subtitle stands on the page and under the figure, so that each can be read alone.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{name}.md"]
    for number, table in enumerate(page.tables, start=1):
        path = _table_path(out, name, number)
        write_atomically(path, csv_text(table).encode())
        written.append(path)
    number = len(page.tables)
    while (stale := _table_path(out, name, number := number + 1)).is_file():  # of an earlier page with more tables
        stale.unlink()
    if page.figure is not None:
        charts = import_module("reproduction.charts")
        figure = page.figure(charts)
        charts.headline(figure, title, subtitle)
        written += charts.save(figure, out / name)
    write_atomically(written[0], markdown(name, title, subtitle, page).encode())
    return written


def _table_path(out: Path, name: str, number: int) -> Path:
    return out / f"{name}{'' if number == 1 else f'-{number}'}.csv"


def markdown(name: str, title: str, subtitle: str, page: Page) -> str:
    """The page as Markdown: title, subtitle, figure, tables, claims, notes."""
    lines = [f"# {name}: {title}", "", *([subtitle, ""] if subtitle else [])]
    if page.figure is not None:
        lines += [f"![{title}]({name}.svg)", ""]
    for table in page.tables:
        lines += [table.caption, "", *_rows(table), ""]
    if page.claims:
        lines += ["Claims of the paper:", "", *(f"- {claim.note()}" for claim in page.claims), ""]
    if page.notes:
        lines += ["Notes:", "", *(f"- {note}" for note in page.notes), ""]
    return "\n".join(lines)


def write_runs(runs: Iterable[Mapping[str, str]], out: Path) -> Path:
    """Add runs, rows of RUN_COLUMNS, to `out`/runs.csv, in place of earlier rows of the same run; returns its path."""
    path = out / RUNS
    rows = {row["run"]: row for row in (*read_csv(path), *runs)}
    lines = [RUN_COLUMNS, *([rows[run].get(column) or "" for column in RUN_COLUMNS] for run in sorted(rows))]
    write_atomically(path, _csv(lines).encode())
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file that `write` or `write_runs` wrote, by column; none where it was not written."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.is_file() else []


def csv_text(table: Table) -> str:
    """The table as CSV; a column of values over seeds is followed by their deviation and the number of seeds."""
    over_seeds = [any(isinstance(row[at], SeedStat) for row in table.rows) for at in range(len(table.columns))]
    lines: list[list[str]] = [[]]
    for column, many in zip(table.columns, over_seeds, strict=True):
        lines[0] += [column, f"{column}, sd", f"{column}, seeds"] if many else [column]
    for row in table.rows:
        lines.append([])
        for cell, many in zip(row, over_seeds, strict=True):
            if isinstance(cell, SeedStat):
                lines[-1] += [_plain(cell.mean), _plain(cell.deviation), str(cell.seeds)]
            else:
                lines[-1] += [_plain(cell), "", ""] if many else [_plain(cell)]
    return _csv(lines)


def _csv(lines: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def text_of(cell: Cell, *, signed: bool = False) -> str:
    """A cell in Markdown: one decimal from 1 on, three digits below, or as many as two digits of the deviation need."""
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell.replace("|", "\\|")
    if not isinstance(cell, SeedStat):
        return _number(cell, signed=signed)
    if not cell.deviation or abs(cell.mean) >= 1:
        spread = "" if cell.deviation is None else f" ± {one_decimal(cell.deviation)}"
        return f"{_number(cell.mean, signed=signed)}{spread}"
    decimals = max(1, 1 - math.floor(math.log10(cell.deviation)))
    return f"{cell.mean:{'+' if signed else ''}.{decimals}f} ± {cell.deviation:.{decimals}f}"


def _number(value: float, *, signed: bool = False) -> str:
    if math.isnan(value):
        return NOTHING
    if value == 0:
        return "0.0"
    return one_decimal(value, signed=signed) if abs(value) >= 1 else format(value, f"{'+' if signed else ''}.3g")


def _plain(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return f"{cell:.6g}" if isinstance(cell, float | int) else str(cell)


def _rows(table: Table) -> list[str]:
    signed = [column.endswith("difference") for column in table.columns]
    right = [any(not isinstance(row[at], str) for row in table.rows) for at in range(len(table.columns))]
    lines = [list(table.columns), ["---:" if number else "---" for number in right]]
    lines += [[text_of(cell, signed=sign) for cell, sign in zip(row, signed, strict=True)] for row in table.rows]
    return [f"| {' | '.join(line)} |" for line in lines]
