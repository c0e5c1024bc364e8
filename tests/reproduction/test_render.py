"""Pages as Markdown, CSV and figures: both numbers, the difference, and nothing made up where there is none."""

import math
from pathlib import Path
from typing import Any

import pytest

from hiresnn.app.folder import cpu_model
from reproduction.measurements import Measurement
from reproduction.page import Page, Table, beside_paper, compared
from reproduction.render import csv_text, markdown, text_of, write
from reproduction.seedstat import SeedStat
from reproduction.study import StoredValue, Study, provenance

TABLE = Table(
    "Accuracy in percent.",
    ["model", *beside_paper("clean", "FGSM")],
    [
        ["VGG5", *compared(90.0, SeedStat.of([91.0, 93.0])), *compared(13.3, None)],
        ["a|b", *compared(None, 0.1234), *compared(0.0, 0.0)],
    ],
)


def test_a_difference_is_ours_minus_the_papers_where_there_are_both() -> None:
    assert beside_paper("clean") == ["clean, paper", "clean, ours", "clean, difference"]
    stat = SeedStat.of([91.0, 93.0])
    assert compared(90.0, stat) == [90.0, stat, 2.0]
    assert compared(90.0, 80.0) == [90.0, 80.0, -10.0]
    assert compared(None, 80.0) == [None, 80.0, None]
    assert compared(90.0, None) == [90.0, None, None]


@pytest.mark.parametrize(
    ("cell", "signed", "text"),
    [
        (None, False, "n/a"),
        (math.nan, True, "n/a"),
        (SeedStat.of([math.nan, math.nan]), False, "n/a"),
        (0.0, True, "0.0"),
        (13.26, False, "13.3"),
        (13.26, True, "+13.3"),
        (-0.04567, True, "-0.0457"),
        (12345.6, False, "12,345.6"),
        (SeedStat.of([5.0]), False, "5.0"),
        (SeedStat.of([4.0, 6.0]), False, "5.0 ± 1.4"),
        (SeedStat.of([1.6, 2.4]), True, "+2.0 ± 0.6"),
        (SeedStat.of([0.1, 0.3]), False, "0.20 ± 0.14"),
        (SeedStat.of([0.0, 0.0, 0.1]), False, "0.033 ± 0.058"),  # two digits of the deviation (D16)
        (SeedStat.of([-4.0, 4.5]), True, "+0.2 ± 6.0"),
    ],
)
def test_cells_read_as_a_person_writes_them(cell: Any, signed: bool, text: str) -> None:
    assert text_of(cell, signed=signed) == text


def test_the_page_has_title_tables_and_notes() -> None:
    lines = markdown("table9", "Nine", "Three seeds.", Page([TABLE], notes=["One.", "Two:\n  - a"])).splitlines()
    assert lines == [
        "# table9: Nine",
        "",
        "Three seeds.",
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


def test_a_second_table_has_a_number(tmp_path: Path) -> None:
    out = tmp_path / "new"
    written = write("table9", "Nine", "", Page([TABLE, TABLE]), out)
    assert [path.name for path in written] == ["table9.md", "table9.csv", "table9-2.csv"]
    assert all(path.is_file() for path in written)


def test_a_figure_has_a_headline_and_stands_on_the_page(tmp_path: Path) -> None:
    def figure(charts: Any) -> Any:
        drawn, (axes,) = charts.figure()
        charts.label(axes, x="x", y="y")
        return drawn

    written = write("fig9", "Nine", "Two networks, 100 images, seed 0", Page([], figure), tmp_path)
    assert [path.suffix for path in written] == [".md", ".svg", ".png", ".pdf"]
    assert "![Nine](fig9.svg)" in (tmp_path / "fig9.md").read_text()
    assert (tmp_path / "fig9.svg").stat().st_size > 1000


def test_provenance_names_each_processor_and_its_days_the_most_frequent_first() -> None:
    def record(cpu: str, day: str) -> StoredValue:
        return StoredValue(1.0, {"cpu": cpu, "torch": "2.5", "date": f"{day}T10:00:00"})

    records = [record("B", "2026-11-25"), record("A", "2026-11-25"), record("A", "2026-11-24")]
    assert provenance(records) == (
        "Measured: 2 values on A, torch 2.5, 2026-11-24 to 2026-11-25; 1 value on B, torch 2.5, 2026-11-25."
    )


def test_a_stored_value_has_its_processor_and_versions(study: Study) -> None:
    one, other = (Measurement("cost", "vgg5-cifar10", method) for method in ("hire", "traditional"))
    stored = study.put(one, (1, 2.5), 0.5)
    assert stored.value == [1, 2.5]
    assert stored.where["cpu"] == cpu_model()
    assert {"date", "threads", "torch", "git_commit", "semantics"} <= stored.where.keys()
    assert study.find(one) == stored
    assert study.find(other) is None


def test_tables_of_an_earlier_page_do_not_stay(tmp_path: Path) -> None:
    table = Table("", ["a"], [["1"]])
    write("table6", "", "", Page([table] * 3), tmp_path)
    write("table6", "", "", Page([table]), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table6.csv", "table6.md"]
