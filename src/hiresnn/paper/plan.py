"""What a reproduction would do: jobs with estimated times, and the stand-in for figures not measured yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hiresnn.paper import kept
from hiresnn.paper.scales import Setting
from hiresnn.runs.ann import ann_part
from hiresnn.runs.folder import MODEL, RunFolder
from hiresnn.runs.recipe import Recipe, digest


@dataclass(frozen=True)
class Job:
    """One piece of work whose result is kept.

    Attributes:
        name: what it makes, unique; a run's is its folder's name.
        kind: "ann", the method of a run ("copy" for that of an ANN, which is trained by its own job), or "measure".
        seconds: estimated time on the scale's hardware.
        needs: names of the jobs that must be done before. Jobs whose needs are done are independent of each
            other and may run at the same time: every result is written whole or not at all.
        do: does it.
        alone: it times itself, so nothing else may run beside it.
    """

    name: str
    kind: str
    seconds: float
    needs: tuple[str, ...] = ()
    do: Callable[[], object] = field(default=lambda: None, repr=False, compare=False)
    alone: bool = False


class Plan:
    """Collects jobs, each once, in an order that can be worked through; `root` is the study's folder.

    `found` has the figures that were asked for and are there: name -> where each was measured (`provenance.here`).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs: dict[str, Job] = {}
        self.found: dict[str, dict[str, Any]] = {}

    def training(
        self, name: str, recipe: Recipe, setting: Setting, do: Callable[[], object], do_ann: Callable[[], object]
    ) -> None:
        """Note a run of `recipe`, and its ANN where no run has trained that yet."""
        ann, snn = training_seconds(recipe, setting)
        start = f"ann-{recipe.name}-seed{recipe.ann_seed}-{digest(ann_part(recipe))}"
        if start not in self.jobs and not self._has_ann(recipe):
            self.jobs[start] = Job(start, "ann", ann, do=do_ann)
        kind = "copy" if recipe.method == "ann" else recipe.method
        self.jobs.setdefault(name, Job(name, kind, snn, (start,) if start in self.jobs else (), do))

    def figure(
        self, name: str, key: Mapping[str, Any], seconds: float, do: Callable[[], object], alone: bool = False
    ) -> None:
        """Note a figure; it needs the planned runs that its key names."""
        needs = tuple(dict.fromkeys(word for word in kept.words(key) if word in self.jobs))
        self.jobs.setdefault(name, Job(name, "measure", seconds, needs, do, alone))

    def _has_ann(self, recipe: Recipe) -> bool:
        # Looked up by recipe: its folder's name holds the data's digest, and a plan loads no data.
        pattern = f"{recipe.model.name}-seed{recipe.ann_seed}-*/{MODEL}"
        found = (RunFolder.open(path.parent) for path in (self.root / "runs" / "ann").glob(pattern))
        return any(ann_part(folder.recipe) == ann_part(recipe) for folder in found)


class Unmeasured(float):
    """NaN that may stand for any JSON value: it can also be indexed, iterated (it is empty) and asked for items."""

    def __new__(cls) -> Unmeasured:
        """The one value there is."""
        return super().__new__(cls, math.nan)

    def __getitem__(self, key: object) -> Unmeasured:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def get(self, key: object, default: object = None) -> Unmeasured:
        """Another unmeasured value."""
        return self

    def items(self) -> tuple[Any, ...]:
        """None."""
        return ()

    keys = values = items


def waves(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs in groups: those of a group need only earlier groups, or what is not in the list, as it is done."""
    left = {job.name: job for job in jobs}
    groups: list[list[Job]] = []
    while left:
        ready = [job for job in left.values() if not any(need in left for need in job.needs)]
        if not ready:
            raise ValueError(f"jobs need each other in a circle: {', '.join(sorted(left))}")
        groups.append(ready)
        for job in ready:
            del left[job.name]
    return groups


def training_seconds(recipe: Recipe, setting: Setting) -> tuple[float, float]:
    """(ANN, SNN): estimated seconds of training; the second is 0 for the method "ann"."""
    images = recipe.data.train_images or setting.training_images
    ann = recipe.ann.epochs * images * setting.ann_ms / 1000
    snn = recipe.snn.epochs * images * recipe.snn.timesteps * setting.step_ms / 1000
    return ann, 0.0 if recipe.method == "ann" else snn


def attack_seconds(recipe: Recipe, setting: Setting, images: int, gradients: int) -> float:
    """Estimated seconds of one accuracy: a forward and `gradients` forward and backward passes for each image."""
    an_image = setting.ann_ms if recipe.method == "ann" else setting.step_ms * recipe.snn.timesteps
    return (images or 10_000) * an_image * (gradients + 1 / 3) / 1000
