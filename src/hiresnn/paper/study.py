"""The engine of a reproduction: runs and figures by what they are, each made once and found again.

A run is trained in `root/runs/NETWORK-METHOD-seedN-DIGEST`, where the digest covers all that decides it; a figure is
kept in `root/measured` as JSON under the digest of its key. So tables share what they have in common, and a killed
reproduction goes on where it stopped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from hiresnn.analysis.accuracy import accuracy
from hiresnn.attacks import seeded, transfer
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.paper import kept
from hiresnn.paper.identity import TWINS, changed, command, deciding, run_key
from hiresnn.paper.images import Images
from hiresnn.paper.plan import Job, Plan, Unmeasured, attack_seconds
from hiresnn.paper.scales import Scale, Setting
from hiresnn.paper.stat import Stat
from hiresnn.progress import Progress
from hiresnn.runs.checkpoint import load
from hiresnn.runs.context import device_of
from hiresnn.runs.evaluate import attack_of
from hiresnn.runs.folder import MODEL, RECIPE, RunFolder
from hiresnn.runs.recipe import Recipe, digest, dump, override, read
from hiresnn.runs.train import train

__all__ = ["BOXES", "TWINS", "Stat", "Study"]

BOXES = ("white", *TWINS)

Made = TypeVar("Made")


class Study:
    """Trains, attacks and measures at one scale; see the module.

    Args:
        scale: the networks and the sizes.
        root: folder of runs and figures.
        seeds: seeds of the study; a network takes the first so many that its setting allows, see `seeds_of`.
        sources: what to load in place of a recipe's data source, `{"cifar10": "cifar10.npz"}`.
        progress: where progress is shown.

    Attributes:
        images: the data of the scale's networks; to be loaded only inside `measured`'s work.
        commands: name of each run that was asked for -> the command line that trains the same network.

    Raises:
        UsageError: a source that no network of the scale asks for, or no seeds.
    """

    def __init__(
        self, scale: Scale, *, root: Path, seeds: tuple[int, ...], sources: Mapping[str, str], progress: Progress
    ) -> None:
        if not seeds:
            raise UsageError("a study needs at least one seed.")
        self.images = Images(scale, sources)
        self.scale, self.root, self.seeds, self.progress = scale, root, seeds, progress
        self.networks = tuple(scale.networks)
        self.commands: dict[str, str] = {}
        self._recipes: dict[tuple[object, ...], Recipe] = {}
        self._plan: Plan | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_plan": None}

    def setting(self, network: str) -> Setting:
        """The scale's setting of a network. Raises UsageError where the scale has none."""
        if network not in self.scale.networks:
            raise UsageError(f"scale {self.scale.name} has no network {network!r}; it has {', '.join(self.networks)}.")
        return self.scale.networks[network]

    def seeds_of(self, network: str, method: str = "") -> tuple[int, ...]:
        """The seeds of this network; those of the method "rate" may be fewer."""
        setting = self.setting(network)
        return self.seeds[: setting.rate_seeds if method == "rate" else setting.seeds]

    def over_seeds(self, measure: Callable[[int], float], network: str | None = None, method: str = "") -> Stat:
        """`measure` of every seed: of those of `network` and `method`, or of all where no network is named."""
        return Stat.of(measure(seed) for seed in (self.seeds_of(network, method) if network else self.seeds))

    def recipe(self, network: str, method: str, seed: int, *, twin: str | None = None, **changes: str) -> Recipe:
        """The recipe of one run.

        Args:
            network: such as "vgg5-cifar10".
            method: ann, traditional, hire, gaussian, noise-free or rate.
            seed: of everything random.
            twin: "same-ann" (another seed of the SNN, the same ANN) or "independent" (another seed throughout).
            changes: to the recipe, "__" for ".": `snn__timesteps="4"`.

        Raises:
            UsageError: an unknown network or twin, or the twin from the same ANN of an ANN.
            RecipeError: an unknown key or a value out of range.
        """
        asked = (network, method, seed, twin, *sorted(changes.items()))
        if asked not in self._recipes:  # a table asks for the same one many times, and each is parsed and validated
            self._recipes[asked] = self._resolved(network, method, seed, twin, changes)
        return self._recipes[asked]

    def run(self, network: str, method: str, seed: int, *, twin: str | None = None, **changes: str) -> Path:
        """The folder of a trained run, trained now, or continued, if it is not finished. Arguments as `recipe`.

        The folder's name holds the digest of all that decides the run: put `run.name` into keys of `measured`.
        """
        recipe = self.recipe(network, method, seed, twin=twin, **changes)
        recipe = deciding(recipe, self.recipe(network, method, seed, twin=twin))
        key = run_key(recipe, self.images.content(network))
        path = self.root / "runs" / f"{network}-{method}-seed{recipe.seed}-{key}"
        if path.name not in self.commands:
            values = changed(self.setting(network), method, seed, twin, changes)
            self.commands[path.name] = command(self.setting(network).recipe, method, recipe.data.source, values)
        if (path / MODEL).is_file():
            return path
        if self._plan is not None:
            do = partial(self.run, network, method, seed, twin=twin, **changes)
            do_ann = partial(self.run, network, "ann", recipe.ann_seed, **changes)
            self._plan.training(path.name, recipe, self.setting(network), do, do_ann)
            return path
        if (path / RECIPE).is_file():  # begun; its data may have moved since, or its device be another
            with RunFolder.open(path, write=True) as folder:
                folder.write_text(RECIPE, dump(recipe))
        return train(recipe, out=path, resume=True, progress=self.progress)

    def accuracy(
        self, network: str, method: str, seed: int, attack: str | None = None, *, box: str = "white", **changes: str
    ) -> float:
        """Accuracy in percent on the scale's test images, clean where `attack` is None.

        Args:
            network, method, seed, changes: as `recipe`.
            attack: such as "pgd:eps=2/255"; the recipe's settings fill the rest, the step goes with the bound. On the
                rate-coded network FGSM and PGD follow the mean gradient of the scale's `draws` Poisson draws.
            box: "white", or the kind of twin, "same-ann" or "independent", on which the images are made.

        Raises:
            HiresnnError: as `recipe`; an unknown attack or box.
        """
        if box not in BOXES:
            raise UsageError(f"box is {box!r}; choose one of {', '.join(BOXES)}.")
        recipe = self.recipe(network, method, seed, **changes)
        run = self.run(network, method, seed, **changes)
        spec = None if attack is None else attack_of(recipe, attack, seed)
        draws = 1
        if spec is not None and method == "rate":
            if spec.name not in ("fgsm", "pgd"):
                raise UsageError(
                    f"attack {attack!r}: a rate-coded network is attacked by fgsm and pgd, over its draws."
                )
            draws = self.scale.draws
            spec = replace(spec, options={**spec.options, "draws": draws})
        twin = None
        if spec is not None and box != "white":
            twin = self.run(network, method, seed, twin=box, **changes)
        key = {
            "what": "accuracy",
            "run": run.name,
            "twin": twin and twin.name,
            "attack": spec and {"name": spec.name, "options": spec.resolved()},
            "images": self.scale.images,
            "seed": seed,
        }
        title = f"{run.name}: {attack or 'clean'}, {box}"
        gradients = draws * (spec.resolved().get("iterations", 1) if spec is not None else 0)

        def work() -> float:
            model = self.network_of(run)
            maker = model if twin is None else self.network_of(twin)
            images = self.images.test(network, self.scale.images)
            chosen = None if spec is None else transfer(spec, maker)
            torch.manual_seed(seed)
            return accuracy(
                model, images, attack=chosen, eps=spec.eps if spec is not None else None,
                device=self.images.device(network), title=title, progress=self.progress,
            )  # fmt: skip

        seconds = attack_seconds(recipe, self.setting(network), self.scale.images, gradients)
        return float(self.measured(key, work, seconds=seconds))

    def measured(
        self,
        key: Mapping[str, Any],
        work: Callable[[], Any],
        *,
        seconds: float = 1.0,
        like: Any = None,
        alone: bool = False,
    ) -> Any:
        """The JSON value that `work` returns, kept under the digest of `key` and found again.

        Args:
            key: JSON-able; all that decides the value: "what", a short word for the file's name, the names of
                the runs it is measured on (`run.name`), numbers of images, settings.
            work: called at most once; torch's random draws in it start from a seed that follows from the key.
                Networks and images are loaded in it, not before: a plan never calls it.
            seconds: estimated time, for the plan.
            like: what a plan gets in place of the value; None is a NaN that can be indexed and iterated.
            alone: it times itself, so nothing else may run beside it.
        """
        name = kept.name_of(key)
        path = self.root / "measured" / f"{name}.json"
        if (found := kept.find(path)) is not None:
            if self._plan is not None:
                self._plan.found[name] = found.get("where", {})
            return found["value"]
        if self._plan is not None:
            self._plan.figure(name, key, seconds, partial(self.measured, key, work), alone)
            return Unmeasured() if like is None else like
        started = time.perf_counter()
        with seeded(int(digest(key)[:8], 16)):
            value = work()
        return kept.keep(path, key, value, time.perf_counter() - started)

    def network_of(self, run: Path) -> nn.Module:
        """The trained network of a run in eval mode, on the device of its recipe. Only inside `measured`'s work."""
        with RunFolder.open(run) as folder:
            network = load(folder.require(MODEL)).to(device_of(folder.recipe))
        if isinstance(network, SpikingNetwork):
            network.fuse(folder.recipe.compile != "never")  # many figures share the kernels, whatever one would pay for
        return network

    def plan(self, artefacts: Iterable[Callable[[Study], object]]) -> list[Job]:
        """What is left to do for `artefacts` (functions of a study), in an order that can be worked through.

        Runs nothing and loads no data: `run` and `measured` note what they would do, and give stand-ins.
        """
        with self._planning() as plan:
            for artefact in artefacts:
                artefact(self)
        return list(plan.jobs.values())

    def partly(self, artefact: Callable[[Study], Made]) -> tuple[Made, Plan]:
        """What `artefact` makes of the figures that there are, NaN for the others; and the plan of what is left."""
        with self._planning() as plan:
            return artefact(self), plan

    @contextmanager
    def _planning(self) -> Iterator[Plan]:
        self._plan = plan = Plan(self.root)
        try:
            yield plan
        finally:
            self._plan = None

    def _resolved(self, network: str, method: str, seed: int, twin: str | None, changes: Mapping[str, str]) -> Recipe:
        setting = self.setting(network)
        values = {"name": json.dumps(network), "data.source": json.dumps(self.images.source(network)), "method": method}
        values |= changed(setting, method, seed, twin, changes)
        return override(read(setting.recipe), values, "reproduce")
