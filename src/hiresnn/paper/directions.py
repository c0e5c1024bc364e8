"""Where the paper finds more, do we find more? Signs of printed and of measured differences, compared."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hiresnn.paper.stat import Stat


@dataclass
class Directions:
    """Collects differences that the paper prints beside ours, and says where the two point apart.

    >>> directions = Directions()
    >>> directions.compare("FGSM, HIRE over traditional", 2.5, -1.0)
    >>> print(directions.notes()[0])
    1 of 1 directions of the paper does not come out here:
      - FGSM, HIRE over traditional (paper +2.5, here -1.0)
    """

    compared: int = 0
    apart: list[str] = field(default_factory=list)

    def compare(self, what: str, paper: float | None, ours: Stat | float | None) -> None:
        """Count one difference; one that is missing, unmeasured, or 0 in the paper has no direction."""
        mean = ours.mean if isinstance(ours, Stat) else ours
        if paper is None or mean is None or math.isnan(mean) or paper == 0:
            return
        self.compared += 1
        if paper * mean > 0:
            return
        spread = ours.deviation if isinstance(ours, Stat) else None
        deviation = "" if spread is None else f" ± {spread:.1f}"
        self.apart.append(f"{what} (paper {paper:+.1f}, here {mean:+.1f}{deviation})")

    def notes(self) -> list[str]:
        """One note for an artefact, a list under a sentence in Markdown; none where nothing was compared."""
        if not self.compared:
            return []
        if not self.apart:
            return [f"The paper's directions come out here, {self.compared} of {self.compared}."]
        verb = "does" if len(self.apart) == 1 else "do"
        head = f"{len(self.apart)} of {self.compared} directions of the paper {verb} not come out here:"
        return ["\n  - ".join([head, *self.apart])]
