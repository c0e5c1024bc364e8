"""Jobs that write a file. Workers import this module, which therefore does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiresnn.progress import Progress
from reproduction.parallel import work_through

if TYPE_CHECKING:
    from reproduction.plan import Job


class Files:
    """In place of a study: a job is done when its file exists."""

    def __init__(self, root: Path) -> None:
        self.root, self.progress = root, Progress(quiet=True)
        self.jobs: list[Job] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "jobs": []}

    def add(
        self, name: str, *needs: str, does: Callable[[Path], None] = lambda path: None, alone: bool = False
    ) -> None:
        from reproduction.plan import Job

        self.jobs.append(Job(name, "measure", 1.0, (self.root / name, does), needs, alone))  # type: ignore[arg-type]

    def plan(self) -> list[Job]:
        return [job for job in self.jobs if not (self.root / job.name).exists()]

    def left(self) -> list[str]:
        return [job.name for job in self.plan()]

    def begun(self, name: str) -> int:
        return (self.root / "log").read_text().split().count(name)

    def work(self, **where: Any) -> None:
        work_through(self, self.plan, run_file, **where)  # type: ignore[arg-type]


def run_file(_: object, task: tuple[Path, Callable[[Path], None]]) -> None:
    path, does = task
    with (path.parent / "log").open("a") as log:
        log.write(f"{path.name}\n")
    does(path)
    path.touch()
