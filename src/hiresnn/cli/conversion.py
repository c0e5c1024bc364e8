"""What `hiresnn analyze conversion` prints and draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table

from hiresnn.cli import output
from hiresnn.errors import UsageError, quoted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def figure(result: Mapping[str, Any], name: str) -> Figure:
    """Draw the error of each layer and the accuracy up to it, one line per T, on the first kind of images.

    Raises:
        UsageError: matplotlib is not installed.
    """
    from hiresnn.paper import charts
    from hiresnn.paper.seedstat import SeedStat
    from hiresnn.report.charts import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, Style

    rows = [row for row in result["conversion"] if row["images"] == result["conversion"][0]["images"]]
    drawn, (errors, accuracy) = charts.figure(1, 2, width=charts.FULL_WIDTH, height=2.9)
    names = list(rows[0]["layers"])
    colours, markers = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE, SKY, BLACK), "osD^vPX"
    for number, row in enumerate(rows):
        label = f"T = {row['timesteps']}, scale {row['threshold_scale']:g}"
        style = Style(label, colours[number % len(colours)], markers[number % len(markers)])
        layers = row["layers"].values()
        for axes, values in (
            (errors, [100 * layer["error"] for layer in layers]),
            (accuracy, [layer["accuracy"] for layer in layers]),
        ):
            charts.line(axes, range(len(names)), [SeedStat.of([value]) for value in values], style)
    charts.level(accuracy, rows[0]["ann"], Style("the ANN", BLACK))
    for axes in (errors, accuracy):
        axes.set_xticks(range(len(names)), names, rotation=30)
    charts.label(errors, x="layer", y="error (%)", title="error of each layer", panel=1)
    charts.label(accuracy, x="layer", y="accuracy (%)", title="this layer and all before spike", panel=2)
    charts.outside(drawn, columns=4)
    charts.headline(drawn, f"What the conversion loses: {name}", f"{result['images']:,} {result['split']} images")
    return drawn
