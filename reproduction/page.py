"""A page: tables, an optional figure, notes, and the claims of the paper that it judges; as Markdown and CSV."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from hiresnn.files import write_atomically
from reproduction import figures
from reproduction.statistics import SeedStat, one_decimal

Cell = str | float | SeedStat | None  # A text, a number, a value over seeds, or nothing
Row = dict[str, Cell | list[Cell]]  # column -> cell, or the three cells of `results.compared`
AGREES, DIFFERS, UNCLEAR, OPEN = "agrees", "differs", "within error", "not judged"
"""Verdicts: clear and as in the paper; clear and otherwise; not clear from these images and seeds; not measured."""
NOTHING = "n/a"  # what Markdown shows for a missing value; in CSV the cell is empty


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
        counted: whether it is in the counts of verdicts: not where it compares with a rate-coded SNN of version 0.2.
    """

    text: str
    verdict: str
    numbers: str
    of: str = ""
    source: str = ""
    paper: float | None = None
    ours: SeedStat | float | None = None
    counted: bool = True

    @property
    def title(self) -> str:
        """The text, and in brackets what it is about."""
        return f"{self.text} ({self.of})" if self.of else self.text

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


def tabulate(caption: str, rows: Sequence[Row]) -> Table:
    """A table of at least one row; cells of `results.compared` fill three columns."""
    columns: list[str] = []
    for name, cell in rows[0].items():
        columns += beside_paper(name) if isinstance(cell, list) else [name]
    lines: list[list[Cell]] = []
    for row in rows:
        parts = [cell if isinstance(cell, list) else [cell] for cell in row.values()]
        lines.append([cell for part in parts for cell in part])
    return Table(caption, columns, lines)


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
    for row in table.rows:
        line: list[str] = []
        for cell, sign in zip(row, signed, strict=True):  # a difference stands behind the measured value
            line.append(difference_text(cell, line[-1]) if sign else text_of(cell))
        lines.append(line)
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


def difference_text(cell: Cell, ours: str) -> str:
    """A difference with its sign, and with no more decimals than the text of the measured value that it is taken of.

    >>> difference_text(0.167, "8.5 ± 1.8"), difference_text(0.407, "0.597")
    ('+0.2', '+0.407')
    """
    decimals = len(ours.partition(" ")[0].partition(".")[2])
    text = text_of(cell, signed=True)
    if isinstance(cell, float) and "." in ours and len(text.partition(".")[2]) > decimals:
        return f"{cell:+.{decimals}f}"
    return text


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
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()


def _plain(cell: str | float | None) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return cell if isinstance(cell, str) else f"{cell:.6g}"
