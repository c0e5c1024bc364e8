"""speed.json, and the page and plots made from it."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from figures import PEERS

from hiresnn.files import write_atomically
from hiresnn.report.charts import BLACK, BLUE, GREEN, ORANGE, VERMILLION
from reproduction import figures as plotting
from reproduction.statistics import SeedStat

Sections = dict[str, dict[str, Any]]

STYLES = {
    "dense float32": plotting.Style("dense float32: the floor", BLACK, "D", "-."),
    "hiresnn float32": plotting.Style("hiresnn float32", VERMILLION, "^"),
    "hiresnn bfloat16": plotting.Style("hiresnn bfloat16", ORANGE, "s", "--"),
    "SpikingJelly": plotting.Style("SpikingJelly float32", BLUE, "o", "-"),
    "hiresnn": plotting.Style("hiresnn", VERMILLION, "^"),
    "hiresnn, recomputing": plotting.Style("hiresnn, recomputing", GREEN, "v", "--"),
}
AXES = {"timesteps": "timesteps T", "batch": "batch size", "width": "width, 1 is the paper's"}
PLOTS = {"sweep": [f"speed-{over_what}" for over_what in AXES], "memory": ["speed-memory"]}
UNITS = {"ms": "milliseconds a step", "MiB": "peak of a step, MiB"}


def read(path: Path) -> Sections:
    """Return the sections in a file that `keep` wrote; none if the file is missing or of another kind."""
    if not path.is_file():
        return {}
    found: Sections = json.loads(path.read_text(encoding="utf-8")).get("sections", {})
    return found


def keep(path: Path, name: str, section: dict[str, Any], order: Iterable[str]) -> None:
    """Store a section in the file; other sections keep their figures, dates and machines."""
    sections = {**read(path), name: section}
    ordered = {key: sections[key] for key in order if key in sections}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps({"sections": ordered}, indent=1) + "\n").encode())


def write_page(path: Path) -> None:
    """Write the page next to the file."""
    sections = read(path)
    lines = ["# Speed", ""]
    if any(section["quick"] for section in sections.values()):
        lines += ["Sections marked *quick* only show that the benchmark runs: their figures mean nothing.", ""]
    machines = {_machine(section["machine"]) for section in sections.values()}
    if len(machines) == 1:
        lines += [f"Measured with {machines.pop()}.", ""]
    for name, section in sections.items():
        lines += _section(section, f", {_machine(section['machine'])}" if machines else "")
        plots = [f"![{plot}]({plot}.svg)" for plot in PLOTS.get(name, ()) if path.with_name(f"{plot}.svg").is_file()]
        lines += [*plots, ""] if plots else []
    write_atomically(path.with_suffix(".md"), "\n".join(lines).encode())


def _section(section: dict[str, Any], where: str) -> list[str]:
    lines = [f"## {section['title']}{' (*quick*)' if section['quick'] else ''}", "", section["text"], ""]
    if section["targets"]:
        lines += ["| target | | measured | |", "|---|---|---|---|"]
        lines += [*(_target(target, judged=not section["quick"]) for target in section["targets"]), ""]
    notes = [f"- {note}" for note in section["notes"]]
    at = section["machine"]
    commit = f", commit {at['git_commit'][:7]}{' with changes' * at['git_changed']}" if at["git_commit"] else ""
    said = f"`{section['command']}`, {at['date'][:10]}{commit}{where}."
    return [*lines, *_rows(section), *notes, *([""] if notes else []), said, ""]


def _target(target: dict[str, Any], *, judged: bool) -> str:
    measured, unit = target["measured"], target["unit"]
    shown = "not measured" if measured is None else f"{measured:.4g}{unit}" if unit else f"{measured:.3f}"
    verdict = {True: "met", False: "**missed**", None: ""}[target["met"] if judged else None]
    return f"| {target['what']} | {target['kind']} {target['bound']:g}{unit} | {shown} | {verdict} |"


def _rows(section: dict[str, Any]) -> list[str]:
    """Return one line per candidate or, with several points, one line per point."""
    rows = section["rows"]
    names = list(dict.fromkeys(row["name"] for row in rows))
    units = list(dict.fromkeys(unit for row in rows for unit in row["measures"]))
    ratio = section["ratio"]
    if not any(row["at"] for row in rows):
        heads = ["", *units, *([ratio] if ratio else [])]
        body = [[row["name"], *_cells(row, units), *([_ratio(row)] if ratio else [])] for row in rows]
        return [f"Median (smallest to largest) of {_rounds(rows)}.", "", *_table(heads, body), ""]
    points = list(dict.fromkeys(tuple(row["at"].items()) for row in rows))
    heads = [*rows[0]["at"], *(f"{name}, {unit}" for name in names for unit in units)]
    body = []
    for point in points:
        here = {row["name"]: row for row in rows if tuple(row["at"].items()) == point}
        cells = [f"{value:g}" if isinstance(value, int | float) else str(value) for _, value in point]
        for name in names:
            found = _cells(here[name], units) if name in here else [""] * len(units)
            cells += [f"{cell}, {_ratio(here[name])}" if ratio and cell else cell for cell in found]
        body.append(cells)
    said = f"Median (smallest to largest) of {_rounds(rows)}" + (f"; after the comma: {ratio}." if ratio else ".")
    return [said, "", *_table(heads, body), ""]


def _table(heads: list[str], body: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *body]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _cells(row: dict[str, Any], units: list[str]) -> list[str]:
    return [_spread(row["measures"][unit]) if unit in row["measures"] else "" for unit in units]


def _spread(found: dict[str, float]) -> str:
    if found["rounds"] == 1:
        return _number(found["median"])
    return f"{_number(found['median'])} ({_number(found['min'])} to {_number(found['max'])})"


def _ratio(row: dict[str, Any]) -> str:
    return "" if row["ratio"] is None else f"{row['ratio']:.2f}"


def _rounds(rows: list[dict[str, Any]]) -> str:
    counts = sorted({found["rounds"] for row in rows for found in row["measures"].values()})
    return " or ".join(map(str, counts)) + (" round" if counts == [1] else " rounds")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _machine(at: dict[str, Any]) -> str:
    """Return machine and versions as text."""
    threads = f"{at['threads']} thread{'s' * (at['threads'] != 1)} on {at['cores']} cores"
    packages = [f"torch {at['torch']}", f"hiresnn {at['hiresnn']}"]
    packages += [f"{words} {at[peer]}" for peer, words in PEERS.items() if at[peer]]
    return ", ".join([at.get("device", at["cpu"]), threads, f"Python {at['python']}", *packages])


def draw(path: Path) -> list[Path]:
    """Draw step time over T, batch and width, and memory over T: SVG and PNG next to the file."""
    sections, written = read(path), []
    for over_what, words in AXES.items():
        rows = [
            {**row, "at": row["at"]["value"]}
            for row in sections.get("sweep", {}).get("rows", [])
            if row["at"]["over"] == over_what
        ]
        if rows:
            written += _figure(path.with_name(f"speed-{over_what}"), rows, ["ms"], words)
    rows = [{**row, "at": row["at"]["timesteps"]} for row in sections.get("memory", {}).get("rows", [])]
    if rows:
        written += _figure(path.with_name("speed-memory"), rows, ["MiB", "ms"], AXES["timesteps"])
    return written


def _figure(stem: Path, rows: list[dict[str, Any]], units: list[str], words: str) -> list[Path]:
    wide = plotting.FULL_WIDTH if len(units) > 1 else plotting.HALF_WIDTH
    drawn, panels = plotting.figure(1, len(units), width=wide, height=2.7)
    for axes, unit in zip(panels, units, strict=True):
        for name in dict.fromkeys(row["name"] for row in rows):
            mine = [row for row in rows if row["name"] == name]
            x, found = [row["at"] for row in mine], [row["measures"][unit] for row in mine]
            style = STYLES[name]
            plotting.line(axes, x, [SeedStat.of([each["median"]]) for each in found], style)
            axes.vlines(x, [each["min"] for each in found], [each["max"] for each in found], color=style.colour)
        plotting.logarithmic(axes, "x", sorted({row["at"] for row in rows}))
        plotting.logarithmic(axes, "y")
        plotting.label(axes, x=words, y=UNITS[unit])
    plotting.outside(drawn, columns=2 * len(units))
    return plotting.save(drawn, stem, kinds=("svg", "png"))
