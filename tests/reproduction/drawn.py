"""What stands in a drawn panel, read back from matplotlib."""

from typing import Any

from matplotlib.container import BarContainer, ErrorbarContainer


def lines(axes: Any) -> dict[str, list[tuple[float, float]]]:
    """Name in the legend -> (x, y) of each point."""
    return {
        line.get_label(): [(float(x), float(y)) for x, y in line[0].get_xydata()]
        for line in axes.containers
        if isinstance(line, ErrorbarContainer) and not str(line.get_label()).startswith("_")
    }


def spreads(axes: Any) -> list[list[float]]:
    """Half the length of each error bar, a list for each line or bar that has them."""
    return [
        [float(end[1] - start[1]) / 2 for start, end in container[2][0].get_segments()]
        for container in axes.containers
        if isinstance(container, ErrorbarContainer) and container.has_yerr
    ]


def heights(axes: Any) -> dict[str, list[float]]:
    """Name in the legend -> height of each bar."""
    return {
        str(bars.get_label()): [float(bar.get_height()) for bar in bars]
        for bars in axes.containers
        if isinstance(bars, BarContainer)
    }


def stars(axes: Any) -> set[tuple[float, float]]:
    """The paper's points, (x, y)."""
    return {(float(x), float(y)) for line in axes.lines if line.get_marker() == "*" for x, y in line.get_xydata()}


def names(drawn: Any) -> list[str]:
    """What the legends of a figure say, the figure's own first."""
    legends = [*drawn.legends, *(axes.get_legend() for axes in drawn.axes if axes.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]
