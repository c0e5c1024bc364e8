"""How methods and conditions look in every figure, and the style of a page.

Colours are those of Okabe and Ito (2008), which the colour-blind can tell apart; lines differ by marker and dash
too, bars by hatching.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

PAPER = "printed in the paper"
"""What legends call the paper's points."""

RC: Any = {
    "font.family": "DejaVu Sans",  # matplotlib brings it: the same letters on every machine
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # letters stay letters, which publishers ask for
    "svg.hashsalt": "hiresnn",  # ids in the file follow from its content
}
"""Settings of matplotlib, with which everything is drawn and saved."""


@dataclass(frozen=True)
class Style:
    """How a thing looks wherever it appears: what the legend calls it, colour, marker, dash, hatching of bars."""

    words: str
    colour: str
    marker: str = "o"
    dash: str = "-"
    hatch: str = ""

    def named(self, words: str) -> Style:
        """The same look under another name."""
        return replace(self, words=words)


STYLES = {
    "ann": Style("ANN", "#000000", "D", "-.", "...."),
    "rate": Style("rate-coded", "#56B4E9", "s", "--", "////"),
    "direct": Style("direct-coded", "#0072B2", "o", "-"),
    "traditional": Style("traditional", "#0072B2", "o", "-"),
    "noise-free": Style("periods, no noise", "#999999", "v", ":", "...."),
    "gaussian": Style("Gaussian noise", "#E69F00", "s", "--", "////"),
    "hire": Style("crafted noise (HIRE)", "#D55E00", "^", "-", "\\\\\\\\"),
    "clean": Style("clean", "#000000", "o", "-"),
    "fgsm": Style("FGSM", "#0072B2", "s", "-"),
    "pgd": Style("PGD", "#D55E00", "^", "-"),
}
"""Methods and conditions -> style, the same in every figure."""
