"""Campaign "kill": SIGKILL at every write and at random moments; the end state equals the uninterrupted one.

Every command that writes is killed once or twice and then called again. Nothing may be lost, damaged or different.
"""

import functools
import itertools
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.torture.faults import count_writes, kill_at_write
from tests.torture.harness import Case, command
from tests.torture.workshop import copy, difference, state, tiny_recipe


@dataclass(frozen=True)
class Scenario:
    """A command to be killed, `start`, and the one that continues it; `weight` is its share of the random kills."""

    name: str
    start: tuple[str, ...]
    again: tuple[str, ...]
    prepare: Callable[[Path], object]
    weight: int = 1


def _with_recipe(**changes: str) -> Callable[[Path], object]:
    def prepare(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tiny_recipe(folder / "tiny.toml", **changes)

    return prepare


_TRAIN = ("train", "tiny.toml", "--out", "runs/run", "--quiet")
SCENARIOS = (
    Scenario("train hire", _TRAIN, (*_TRAIN, "--resume"), _with_recipe(), weight=4),
    Scenario("train traditional", _TRAIN, (*_TRAIN, "--resume"), _with_recipe(method='"traditional"'), weight=2),
    Scenario("train ann", _TRAIN, (*_TRAIN, "--resume"), _with_recipe(method='"ann"')),
    Scenario("evaluate", *[("evaluate", "runs/run", "--limit", "60")] * 2, copy),
    Scenario("analyze", *[("analyze", "activity", "runs/run", "--limit", "60")] * 2, copy),
    Scenario("audit", *[("audit", "runs/run", "--images", "4")] * 2, copy, weight=2),
)


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Kills at every write of every scenario first, the last write first, then at random moments without end."""
    draw = random.Random(seed)
    for scenario in SCENARIOS:
        for number, after in itertools.product(range(uninterrupted(scenario, folder)[2], 0, -1), (False, True)):
            name = f"{scenario.name}: {'after' if after else 'before'} write {number}"
            kill: dict[str, object] = {"before": kill_at_write(number, after=after), "seconds": 600}
            yield Case("kill", name, partial(_killed, scenario, folder, [kill]))
    while True:
        scenario = draw.choices(SCENARIOS, [scenario.weight for scenario in SCENARIOS])[0]
        moments = [draw.random() for _ in range(draw.choice((1, 1, 2)))]
        named = ", ".join(f"{100 * moment:.0f} %" for moment in moments)
        kills: list[dict[str, object]] = [
            {"kill_after": moment * uninterrupted(scenario, folder)[1]} for moment in moments
        ]
        yield Case("kill", f"{scenario.name}: at {named} of its time", partial(_killed, scenario, folder, kills))


@functools.cache
def uninterrupted(scenario: Scenario, folder: Path) -> tuple[dict[str, str], float, int]:
    """End state, seconds, and number of files written when nothing happens to the command."""
    place, count = Path(tempfile.mkdtemp(dir=folder)), folder / f"writes-{scenario.name}"
    scenario.prepare(place)
    start = time.monotonic()
    ended = command(*scenario.start, folder=place, seconds=600, before=count_writes(count))
    assert ended.code == 0, ended.output
    return state(place), time.monotonic() - start, int(count.read_text())


def _killed(scenario: Scenario, folder: Path, kills: list[dict[str, object]]) -> str | None:
    expected = uninterrupted(scenario, folder)[0]
    place = Path(tempfile.mkdtemp(dir=folder))
    scenario.prepare(place)
    line, done = scenario.start, dict[str, list[str]]()
    for kill in kills:
        ended = command(*line, folder=place, **kill)
        if ended.code not in (0, -9):
            return ended.complaint(0, -9) or f"exit code {ended.code}: {ended.output[-300:]}"
        line = scenario.again if (place / "runs").exists() else scenario.start
        done = _epochs(place)
    ended = command(*scenario.again, folder=place, seconds=600)
    problem = ended.complaint(0) or difference(expected, state(place))
    now = _epochs(place)
    if problem is None and any(now[path][: len(rows)] != rows for path, rows in done.items()):
        problem = "epochs that were done before the kill were trained again"
    shutil.rmtree(place)
    return problem


def _epochs(place: Path) -> dict[str, list[str]]:
    """Training -> the lines of its epochs but the last, which may not have been stored; each has its own seconds."""
    paths = sorted(place.rglob("metrics.jsonl"))
    return {path.relative_to(place).as_posix(): path.read_text().splitlines()[:-1] for path in paths}
