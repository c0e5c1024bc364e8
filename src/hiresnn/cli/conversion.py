"""What `hiresnn analyze conversion` prints and draws."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rich.table import Table

from hiresnn.cli import output
from hiresnn.errors import UsageError, quoted
from hiresnn.files import write_atomically

Number = TypeVar("Number", int, float)


def numbers(option: str, text: str | None, kind: Callable[[str], Number]) -> list[Number] | None:
    """Read numbers separated by commas. Raises UsageError."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} is {quoted(text)}; give numbers separated by commas, such as 4,8,16.") from None


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Return a table of the layers at the recipe's own setting, and one of all settings, for each kind of images."""
    rows = result["conversion"]
    where = f"{result['images']:,} {result['split']} images"
    found = []
    for label in dict.fromkeys(row["images"] for row in rows):
        settings = [row for row in rows if row["images"] == label]
        own = settings[0]
        title = f"Conversion at T = {own['timesteps']}, threshold scale {own['threshold_scale']:g}: {where}, {label}"
        layers = output.table(title, "layer", "error", "bias", "clipped", "accuracy\nup to here")
        layers.add_row("ANN", "", "", "", f"{own['ann']:.1f}", end_section=True)
        for name, layer in own["layers"].items():
            cells = [f"{100 * layer[key]:.1f} %" for key in ("error", "bias", "clipped")]
            layers.add_row(name, *cells, f"{layer['accuracy']:.1f}")
        names = list(own["layers"])
        table = output.table(f"Error of each layer in percent: {where}, {label}", "T", "scale", *names, "SNN", "ANN")
        for row in settings:
            errors = [f"{100 * row['layers'][name]['error']:.1f}" for name in names]
            accuracies = (f"{row['snn']:.1f}", f"{row['ann']:.1f}")
            table.add_row(f"{row['timesteps']}", f"{row['threshold_scale']:g}", *errors, *accuracies)
        found += [layers, table]
    return found


def draw(result: Mapping[str, Any], name: str, stem: Path) -> None:
    """Draw the error of each layer and the accuracy up to it as `stem`.svg and .png, one line per T and scale.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("figures need matplotlib, which is not installed; run pip install 'hiresnn[paper]'.") from None
    from hiresnn.report.charts import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION

    rows = [row for row in result["conversion"] if row["images"] == result["conversion"][0]["images"]]
    names = list(rows[0]["layers"])
    colours, markers = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE, SKY, BLACK), "osD^vPX"
    with matplotlib.rc_context({"font.size": 8, "legend.fontsize": 7, "savefig.dpi": 300, "svg.hashsalt": "hiresnn"}):
        figure = Figure(figsize=(6.9, 2.9), layout="constrained")
        errors, accuracy = figure.subplots(1, 2)
        for number, row in enumerate(rows):
            label = f"T = {row['timesteps']}, scale {row['threshold_scale']:g}"
            style: Any = {"color": colours[number % len(colours)], "marker": markers[number % len(markers)]}
            layers = row["layers"].values()
            errors.plot([100 * layer["error"] for layer in layers], label=label, **style)
            accuracy.plot([layer["accuracy"] for layer in layers], **style)
        accuracy.axhline(rows[0]["ann"], label="the ANN", color=BLACK, linestyle=":")
        errors.set_title("(i) error of each layer", loc="left")
        accuracy.set_title("(ii) this layer and all before spike", loc="left")
        for axes, unit in ((errors, "error (%)"), (accuracy, "accuracy (%)")):
            axes.set_xticks(range(len(names)), names, rotation=30)
            axes.set(xlabel="layer", ylabel=unit)
        figure.suptitle(f"What the conversion loses: {name}, {result['images']:,} {result['split']} images")
        figure.legend(loc="outside lower center", ncols=4)
        for kind, undated in (("svg", {"Date": None}), ("png", {"Software": None})):
            picture = io.BytesIO()
            figure.savefig(picture, format=kind, metadata=undated)
            write_atomically(stem.with_name(f"{stem.name}.{kind}"), picture.getvalue())
