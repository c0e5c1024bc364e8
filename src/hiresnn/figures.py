"""Figures of matplotlib, which is optional; notebooks show them, also without pyplot."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from hiresnn.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, width and height in inches; raises UsageError if matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError("Figures need matplotlib, which is not installed; run: pip install matplotlib") from None

    class NotebookFigure(Figure):
        """A figure that belongs to no window. Jupyter shows a plain one as text until pyplot was imported."""

        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png", dpi=100)
            return file.getvalue()

    return NotebookFigure(figsize=(width, height), layout="constrained")
