"""What a figure contains, read back from matplotlib."""

from ..charts.drawn import heights, lines, names, spreads, stars

__all__ = ["heights", "lines", "names", "spreads", "stars"]
