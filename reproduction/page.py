"""A page: tables, an optional figure, notes, and the claims of the paper that it judges; as Markdown and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hiresnn.files import write_atomically
from reproduction import figures
from reproduction.statistics import SeedStat, one_decimal, with_limits

Cell = str | float | SeedStat | None  # A text, a number, a value over seeds, or nothing
AGREES, DIFFERS, UNCLEAR, OPEN = "agrees", "differs", "within error", "not judged"
"""Verdicts: clear and as in the paper; clear and otherwise; not clear from these images and seeds; not measured."""
NOTHING = "n/a"  # what Markdown shows for a missing value; in CSV the cell is empty
RUN_COLUMNS = ("run", "command", "processor", "hiresnn", "semantics", "torch", "date", "read from")
"""Of runs.csv: what trained a network, or measured it first where its folder is gone; "read from" tells which."""


@dataclass
class Table:
    """Rows under columns; a measured column comes as three (see `beside_paper`)."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the verdict here, and the numbers that decide.

    Attributes:
        of: what the claim is about, such as a network or a box.
        source: the sections of the paper that make it; empty for a detail.
        paper, ours: the number that the paper prints, and the measured one, where the claim is about one number.
    """

    text: str
    verdict: str
    numbers: str
    of: str = ""
    source: str = ""
    paper: float | None = None
    ours: SeedStat | float | None = None

    def note(self) -> str:
        """One sentence for a page.

        >>> Claim("accuracy falls", DIFFERS, "+2.0 points", of="VGG5", source="sec. 3").note()
        'Sec. 3, VGG5: accuracy falls. Differs: +2.0 points.'
        """
        about = ", ".join(part for part in (self.source, self.of) if part) or "the paper"
        return f"{about[0].upper()}{about[1:]}: {self.text}. {self.verdict.capitalize()}: {self.numbers}."


def verdict(holds: bool | None) -> str:
    """The verdict on a claim that holds, does not hold, or cannot be judged."""
    return OPEN if holds is None else AGREES if holds else DIFFERS


@dataclass(frozen=True)
class Comparison:
    """A difference between two accuracies beside that of the paper.

    Attributes:
        clear: whether the paper's own difference is larger than the error of its test images.
        trivial: whether the paper's direction is to be expected of any network.
    """

    name: str
    paper: float | None
    ours: SeedStat | None
    clear: bool = True
    trivial: bool = False

    @property
    def verdict(self) -> str:
        """AGREES, DIFFERS or UNCLEAR, by the signs."""
        low, high = self.ours.limits
        if not self.clear or low <= 0 <= high:
            return UNCLEAR
        return AGREES if (self.paper or 0) * self.ours.mean > 0 else DIFFERS

    def note(self) -> str:
        """One line of a list."""
        return f"{self.verdict}: {self.name} (paper {self.paper:+.1f}, here {with_limits(self.ours)})"


@dataclass
class Page:
    """A reproduced table or figure of the paper; its tables hold all numbers, also those of the figure.

    `figure` draws it when files are written. `images` says on how many images the page was measured, if not on all
    attacked ones.
    """

    tables: Sequence[Table]
    figure: Callable[[], Figure] | None = None
    notes: list[str] = field(default_factory=list)
    networks: tuple[str, ...] = ()
    claims: list[Claim] = field(default_factory=list)
    images: str = ""


def beside_paper(*names: str) -> list[str]:
    """Headings of measured columns: the paper's value, ours and the difference, for each name."""
    return [f"{name}, {which}" for name in names for which in ("paper", "ours", "difference")]


def comparison_notes(comparisons: Iterable[Comparison]) -> list[str]:
    """How many differences agree in direction, with those that do not; trivial ones are counted apart.

    A difference of 0 in the paper has no direction, and one that is not measured has none here.
    """
    known = [one for one in comparisons if one.paper and one.ours and one.ours.known]
    notes = []
    for trivial, what in enumerate(("differences between networks", "differences of a black box from the white box")):
        group = [one for one in known if one.trivial == trivial]
        agree, differ, unclear = ([one for one in group if one.verdict == kind] for kind in (AGREES, DIFFERS, UNCLEAR))
        if group:
            counts = f"{len(agree)} agree in direction, {len(differ)} differ and {len(unclear)} are within the error"
            head = f"Of {len(group)} {what} that the paper prints, {counts} (95 %, images and seeds)."
            notes.append("\n  - ".join([head, *(one.note() for one in (*differ, *unclear))]))
    return notes


# Files


def write(name: str, title: str, subtitle: str, page: Page, out: Path) -> list[Path]:
    """Write NAME.md, NAME.csv (NAME-2.csv for a second table) and the figure; returns their paths.

    The subtitle stands on the page and under the figure, so that each can be read alone.
    """

    out.mkdir(parents=True, exist_ok=True)
    written = [out / f"{name}.md"]
    for number, table in enumerate(page.tables, start=1):
        written.append(out / f"{name}{'' if number == 1 else f'-{number}'}.csv")
        write_atomically(written[-1], csv_text(table).encode())
    if page.figure is not None:
        drawing = page.figure()
        figures.headline(drawing, title, subtitle)
        written += figures.save(drawing, out / name)
    write_atomically(written[0], markdown(name, title, subtitle, page).encode())
    return written


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


def _rows(table: Table) -> list[str]:
    """Lines with unpadded cells, which pandas does not write; differences have signs, and numbers stand right."""
    signed = [column.endswith("difference") for column in table.columns]
    right = [any(not isinstance(row[at], str) for row in table.rows) for at in range(len(table.columns))]
    lines = [list(table.columns), ["---:" if number else "---" for number in right]]
    lines += [[text_of(cell, signed=sign) for cell, sign in zip(row, signed, strict=True)] for row in table.rows]
    return [f"| {' | '.join(line)} |" for line in lines]


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


def csv_text(table: Table) -> str:
    """The table as CSV; a column of values over seeds is followed by their deviation and the number of seeds."""
    over_seeds = [any(isinstance(row[at], SeedStat) for row in table.rows) for at in range(len(table.columns))]
    lines: list[list[str]] = [[]]
    for column, many in zip(table.columns, over_seeds, strict=True):
        lines[0] += [column, f"{column}, sd", f"{column}, seeds"] if many else [column]
    for row in table.rows:
        line: list[str] = []
        for cell, many in zip(row, over_seeds, strict=True):
            if isinstance(cell, SeedStat):
                line += [_plain(cell.mean), _plain(cell.deviation), str(cell.seeds)]
            else:
                line += [_plain(cell), "", ""] if many else [_plain(cell)]
        lines.append(line)
    return _csv(lines)


def _plain(cell: str | float | None) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return cell if isinstance(cell, str) else f"{cell:.6g}"


def _csv(lines: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file of this module, by column; none where it was not written."""
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))) if path.is_file() else []


def write_runs(runs: Iterable[Mapping[str, Any]], out: Path) -> Path:
    """Add runs, rows of RUN_COLUMNS, to `out`/runs.csv, in place of earlier rows of the same run; returns its path."""
    path = out / "runs.csv"
    rows = {row["run"]: row for row in (*read_csv(path), *runs)}
    lines = [RUN_COLUMNS, *([rows[run].get(column) or "" for column in RUN_COLUMNS] for run in sorted(rows))]
    write_atomically(path, _csv(lines).encode())
    return path
