"""Artefacts as Markdown, CSV and figures: both numbers, the difference, and nothing made up where there is none."""

import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiresnn.paper.artefact import Artefact, Table, beside_paper, compared
from hiresnn.paper.stat import Stat
from hiresnn.paper.writing import csv_text, index, markdown, text_of, write

TABLE = Table(
    "Accuracy in percent.",
    ["model", *beside_paper("clean", "FGSM")],
    [
        ["VGG5", *compared(90.0, Stat.of([91.0, 93.0])), *compared(13.3, None)],
        ["a|b", *compared(None, 0.1234), *compared(0.0, 0.0)],
    ],
)


def test_a_difference_is_ours_minus_the_papers_where_there_are_both() -> None:
    assert beside_paper("clean") == ["clean, paper", "clean, ours", "clean, difference"]
    stat = Stat.of([91.0, 93.0])
    assert compared(90.0, stat) == [90.0, stat, 2.0]
    assert compared(90.0, 80.0) == [90.0, 80.0, -10.0]
    assert compared(None, 80.0) == [None, 80.0, None]
    assert compared(90.0, None) == [90.0, None, None]


@pytest.mark.parametrize(
    ("cell", "signed", "text"),
    [
        (None, False, "n/a"),
        (math.nan, True, "n/a"),
        (Stat.of([math.nan, math.nan]), False, "n/a"),
        (0.0, True, "0.0"),
        (13.26, False, "13.3"),
        (13.26, True, "+13.3"),
        (-0.04567, True, "-0.0457"),
        (12345.6, False, "12,345.6"),
        (Stat.of([5.0]), False, "5.0"),
        (Stat.of([4.0, 6.0]), False, "5.0 ± 1.4"),
        (Stat.of([1.6, 2.4]), True, "+2.0 ± 0.6"),
        (Stat.of([0.1, 0.3]), False, "0.2 ± 0.141"),
    ],
)
def test_cells_read_as_a_person_writes_them(cell: Any, signed: bool, text: str) -> None:
    assert text_of(cell, signed=signed) == text


def test_the_page_has_title_tables_and_notes() -> None:
    lines = markdown(Artefact("table9", "Nine", [TABLE], notes=["One.", "Two:\n  - a"])).splitlines()
    assert lines == [
        "# table9: Nine",
        "",
        "Accuracy in percent.",
        "",
        "| model | clean, paper | clean, ours | clean, difference | FGSM, paper | FGSM, ours | FGSM, difference |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| VGG5 | 90.0 | 92.0 ± 1.4 | +2.0 | 13.3 | n/a | n/a |",
        "| a\\|b | n/a | 0.123 | n/a | 0.0 | 0.0 | 0.0 |",
        "",
        "Notes:",
        "",
        "- One.",
        "- Two:",
        "  - a",
    ]


def test_csv_has_spread_and_seeds_beside_each_figure_over_seeds() -> None:
    lines = csv_text(TABLE).splitlines()
    assert lines[0] == (
        'model,"clean, paper","clean, ours","clean, ours, sd","clean, ours, seeds","clean, difference",'
        '"FGSM, paper","FGSM, ours","FGSM, difference"'
    )
    assert lines[1] == "VGG5,90,92,1.41421,2,2,13.3,,"
    assert lines[2] == "a|b,,0.1234,,,,0,0,0"


def test_a_second_table_has_a_number_and_the_index_links_to_each(tmp_path: Path) -> None:
    out = tmp_path / "new"
    written = write(Artefact("table9", "Nine", [TABLE, TABLE]), out)
    assert [path.name for path in written] == ["table9.md", "table9.csv", "table9-2.csv"]
    assert all(path.is_file() for path in written)
    assert "- [table9](table9.md): Nine\n" in index([("table9", "Nine")], "How.")


def test_a_figure_is_made_by_the_plotting_module_and_shown_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plotting = ModuleType("hiresnn.charts.print")
    plotting.save = lambda figure, stem, write: [Path(f"{stem}.svg"), figure]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hiresnn.charts.print", plotting)
    written = write(Artefact("fig9", "Nine", [], figure=lambda module: module), tmp_path)
    assert written == [tmp_path / "fig9.md", tmp_path / "fig9.svg", plotting]
    assert "![Nine](fig9.svg)" in (tmp_path / "fig9.md").read_text()
