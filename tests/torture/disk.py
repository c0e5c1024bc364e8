"""Campaign "disk": a full disk at each write, and odd names; one sentence each, and nothing is lost."""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.faults import full_disk_at_write
from tests.torture.harness import Case, command
from tests.torture.kill import SCENARIOS, Scenario, uninterrupted
from tests.torture.workshop import copy, difference, state

ODD_NAMES = (
    *("with space", "Umlaut-ä", "-dash", "quote'\"", "new\nline", "percent%s{0}", "x" * 250, "x" * 5000, "../up"),
    *("\udcff\udcfe", "[bold]markup[/bold]", "trailing.", "\t", "日本語"),
)
"""Names for folders and files; each is either taken or refused in one sentence."""
PLACES = (
    "train tiny.toml --set ann.epochs=0 --set snn.epochs=0 --out NAME",
    *("train NAME", "train tiny.toml --data NAME --out runs/other", "evaluate NAME", "audit NAME"),
    *("audit runs/run --images 2 --out NAME", "report NAME -o page.html", "report runs/run -o NAME"),
    "recipes copy digits NAME",
)


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Every case once: full disks first, then odd names in every place that takes one."""
    for scenario in SCENARIOS:
        for number in (1, 2, 3, 5, 8):
            yield Case("disk", f"{scenario.name}: full from write {number}", _full(scenario, folder, number))
    for name, place in itertools.product(ODD_NAMES, PLACES):
        arguments = tuple(name if word == "NAME" else word for word in place.split())
        yield Case("disk", f"{place} {name[:20]!a}", _odd(folder, arguments))


def _full(scenario: Scenario, folder: Path, number: int) -> Callable[[], str | None]:
    def run() -> str | None:
        expected = uninterrupted(scenario, folder)[0]
        place = Path(tempfile.mkdtemp(dir=folder))
        scenario.prepare(place)
        ended = command(*scenario.start, folder=place, before=full_disk_at_write(number), seconds=600)
        if problem := ended.complaint(0, 1):
            return problem
        line = scenario.again if (place / "runs" / "run").exists() else scenario.start
        ended = command(*line, folder=place, seconds=600)
        problem = ended.complaint(0) or difference(expected, state(place))
        shutil.rmtree(place)
        return problem

    return run


def _odd(folder: Path, arguments: tuple[str, ...]) -> Callable[[], str | None]:
    def run() -> str | None:
        place = copy(Path(tempfile.mkdtemp(dir=folder)) / "inner")
        problem = command(*arguments, folder=place).complaint(0, 1, 2)
        shutil.rmtree(place.parent)
        return problem

    return run
