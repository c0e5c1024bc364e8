"""What Tables 1, 2, 3 and 5 have in common: accuracies over seeds, a row for each network, method and box."""

from __future__ import annotations

from collections.abc import Iterable

from hiresnn.paper.artefact import Cell, beside_paper, compared
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.directions import Directions
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.words import BOXES, METHODS, left_out, network_words, printed_box

ATTACKS = ("fgsm", "pgd")
COLUMNS = ["model", "data set", "method", "box", *beside_paper("clean", "FGSM", "PGD")]

TWINS_NOTE = (
    "The paper prints one black box and does not say what its twin starts from. Here it stands beside both: a twin "
    "from the same ANN, another seed of the SNN alone, and a twin from an independent ANN, another seed throughout."
)
ANN_TWIN_NOTE = (
    "An ANN has no twin from the same ANN: it is compared in the white box and with the independent twin alone."
)


def networks_of(study: Study, artefact: str) -> list[str]:
    """Networks of the scale that an artefact of the paper has, in the paper's order."""
    return [network for network in claims()[artefact] if network in study.networks]


def missing_note(study: Study, artefact: str) -> list[str]:
    """A sentence on the networks that the scale leaves out; none where it has all."""
    return left_out(claims()[artefact], study.networks)


def over(
    study: Study, network: str, method: str, attack: str | None = None, box: str = "white", **changes: str
) -> Stat:
    """Accuracy in percent over the seeds of network and method."""
    return study.over_seeds(
        lambda seed: study.accuracy(network, method, seed, attack, box=box, **changes), network, method
    )


def exists(method: str, box: str) -> bool:
    """Whether there is such a twin: an ANN has none from the same ANN."""
    return (method, box) != ("ann", "same-ann")


def row(study: Study, artefact: str, network: str, method: str, box: str, **changes: str) -> list[Cell]:
    """The cells under COLUMNS, beside the paper's in `artefact`."""
    theirs = printed_box(box)
    cells: list[Cell] = [*network_words(network), METHODS[method], BOXES[box]]
    cells += compared(printed(artefact, network, method, "clean"), over(study, network, method, **changes))
    for attack in ATTACKS:
        ours = over(study, network, method, attack, box, **changes)
        cells += compared(printed(artefact, network, method, theirs, attack), ours)
    return cells


def gap(*paths: tuple[str, ...]) -> float | None:
    """The first printed number minus the second; None where the paper lacks one."""
    first, second = (printed(*path) for path in paths)
    return None if first is None or second is None else first - second


def boxes_apart(
    study: Study, directions: Directions, artefact: str, network: str, methods: Iterable[str], **changes: str
) -> None:
    """Compare the direction from white box to black box, for each method, attack and twin."""
    for method in methods:
        for attack in ATTACKS:
            white = over(study, network, method, attack, **changes)
            for box in ("same-ann", "independent"):
                if not exists(method, box):
                    continue
                theirs = gap((artefact, network, method, "black", attack), (artefact, network, method, "white", attack))
                ours = over(study, network, method, attack, box, **changes).minus(white)
                what = f"{' / '.join(network_words(network))}, {METHODS[method]}, {attack.upper()}"
                directions.compare(f"{what}, {BOXES[box]} over white box", theirs, ours)
