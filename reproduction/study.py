"""What is measured, and where trainings and values lie: the resumable store of a reproduction.

A run lies in `root/runs/NETWORK-METHOD-seedN-DIGEST`, where the digest covers everything that decides it; a measured
value is a JSON file in `root/measured`, named after its key. Pages share both, and a killed reproduction continues.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.build import device_of
from hiresnn.app.evaluate import attack_of
from hiresnn.app.folder import MODEL, RECIPE, RunFolder, environment
from hiresnn.app.networks import load
from hiresnn.app.recipe import SEMANTICS, Recipe, digest, dump
from hiresnn.app.train import train
from hiresnn.attacks import AttackSpec
from hiresnn.data import DataSet, Split
from hiresnn.data.sources import DOWNLOADED
from hiresnn.errors import RunError, UsageError
from hiresnn.files import write_atomically
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.training import METHODS
from reproduction.paper import ATTACKS, CLAIMS, TWINS, Changes, Run, Scale

ON_ALL_IMAGES = ("accuracy", "margins", "held-out", "by-iteration", "quantised-ann", "gradient-checks")
"""Kinds of measurement on `Scale.images`; the others take `Scale.analysed`."""
UNTRAINED = ("cost", "input-codings")  # kinds of measurement that need no trained network
RECORDED = ("date", "cpu", "threads", "torch", "hiresnn", "git_commit", "git_changed")  # stored with a value


@dataclass(frozen=True)
class Measurement:
    """One measured value of a network, a number or JSON; `reproduction.measure.MEASURE` describes each kind.

    `seed` None stands for every seed of the scale; `attack` is text that the recipe completes, None for clean images;
    `box` is "white", or the kind of twin on which the attack makes its images; `grid` what the kind sweeps; `at` says
    which element of a list is meant.
    """

    kind: str
    network: str = ""
    method: str = ""
    seed: int | None = None
    attack: str | None = None
    box: str = "white"
    changes: Changes = ()
    grid: tuple[float, ...] = ()
    at: int | None = field(default=None, compare=False)

    def each(self, scale: Scale) -> list[Measurement]:
        """One measurement for each seed."""
        seeds = scale.seeds_of(self.network, self.method) if self.seed is None else [self.seed]
        return [replace(self, seed=seed) for seed in seeds]

    @property
    def run(self) -> Run:
        return Run(self.network, self.method, self.seed or 0, None, self.changes)

    def runs(self) -> tuple[Run, ...]:
        """The trainings that must be done before: of the measured network first, then of its twins."""
        if self.kind in UNTRAINED:
            return ()
        if self.kind == "spike-distances":
            return tuple(Run(self.network, self.method, int(seed)) for seed in self.grid)
        twins = TWINS if self.kind == "gradient-checks" else () if self.box == "white" else (self.box,)
        return (self.run, *(replace(self.run, twin=twin) for twin in twins))

    def spec(self, scale: Scale) -> AttackSpec | None:
        """The attack with all its options; on a rate-coded network it averages gradients over the scale's draws."""
        attack = self.attack
        # Published attacks, and the stored values, take the loss in float32; page `saturation` says otherwise.
        if attack and attack.partition(":")[0] in ATTACKS and "float32_loss" not in attack:
            attack = f"{attack}{',' if ':' in attack else ':'}float32_loss=true"
        if attack and self.method == "rate":
            attack = f"{attack}{',' if ':' in attack else ':'}draws={scale.draws}"
        return attack_of(scale.recipe(self.run), attack, self.seed or 0) if attack else None

    def images(self, scale: Scale) -> int:
        """Number of test images, 0 for all."""
        return scale.images if self.kind in ON_ALL_IMAGES else scale.analysed


@dataclass(frozen=True)
class StoredValue:
    """A stored value, as JSON gives it back, and where and when it was measured: processor, versions, day."""

    value: Any
    where: Mapping[str, Any]
    right: str = ""  # of an accuracy: a bit for each image, packed, in hexadecimal; values of version 0.2 have none

    @property
    def origin(self) -> str:
        """Processor and version of the training semantics; only values of one origin are compared seed by seed."""
        return f"{self.where.get('cpu')}, semantics {self.where.get('semantics')}"


class Multiplied(nn.Module):
    """Logits of a network times a factor."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits * self.factor


class Study:
    """The store of one scale in one folder."""

    def __init__(self, scale: Scale, *, root: Path, progress: Progress) -> None:
        self.scale, self.root, self.progress = scale, root, progress
        self._names: dict[Run, str] = {}

    def recipe(self, run: Run) -> Recipe:
        """The recipe of a run without changes that do not matter to its method: equal weights, equal recipes."""
        recipe, plain = self.scale.recipe(run), self.scale.recipe(replace(run, changes=()))
        ignored = ["attack", *([] if run.method != "ann" and METHODS[run.method].periodic else ["noise"])]
        ignored += ["snn", "conversion"] if run.method == "ann" else []
        return recipe.model_copy(update={name: getattr(plain, name) for name in ignored})

    def name(self, run: Run | Measurement) -> str:
        """The name of a run's folder, or of a value's file: what it is, and a digest of all that decides it."""
        if isinstance(run, Measurement):
            return f"{run.kind}-{digest(self.key(run))}"
        if run not in self._names:
            recipe = self.recipe(run)
            part = recipe.keyed(exclude={"device", "attack"})
            part["data"].pop("source")  # its content decides, not its place
            part["snn"].pop("recompute")  # less memory, the same weights
            key = digest({**part, "content": content(self.scale.source(run.network))})
            self._names[run] = f"{run.network}-{run.method}-seed{recipe.seed}-{key}"
        return self._names[run]

    def path(self, run: Run) -> Path:
        return self.root / "runs" / self.name(run)

    def train(self, run: Run) -> None:
        """Train a run, or continue it."""
        recipe, path = self.recipe(run), self.path(run)
        if (path / RECIPE).is_file():  # begun; since then its data may have moved, or the device may be another
            with RunFolder.open(path, write=True) as folder:
                folder.write_text(RECIPE, dump(recipe))
        train(recipe, out=path, resume=True, progress=self.progress)

    def network(self, run: Run) -> nn.Module:
        """The trained network of a run in eval mode, on the device of its recipe."""
        with RunFolder.open(self.path(run)) as folder:
            network = load(folder.require(MODEL)).to(device_of(folder.recipe))
        if isinstance(network, SpikingNetwork):
            network.fuse(folder.recipe.compile != "never")  # many measurements share the compiled kernels
        return network

    def attacked(self, run: Run) -> nn.Module:
        """The same network with the logits that an attack ascends, see `Scale.logit_factor`."""
        network, factor = self.network(run), self.scale.logit_factor(run)
        return network if factor == 1 else Multiplied(network, factor)

    def dataset(self, network: str) -> DataSet:
        return _loaded(self.scale.source(network))

    def test(self, network: str, count: int) -> Split:
        """The first `count` test images (0: all), balanced over the classes. Raises UsageError for fewer images."""
        test = self.dataset(network).test
        if count > len(test):  # pages and intervals would speak of images that there are not
            raise UsageError(
                f"scale {self.scale.name} measures on {count:,} test images of {network}, and its data have "
                f"{len(test):,}; give data with more by --data, or choose another --scale."
            )
        return data.first(test, count)

    def images(self, network: str, count: int) -> tuple[Tensor, Tensor]:
        """Those images [B, C, H, W] in [0, 1] and their labels [B], on the network's device."""
        chosen, device = self.test(network, count), device_of(self.scale.recipe(Run(network, "ann")))
        return chosen.images.to(device) / 255, chosen.labels.to(device)

    def key(self, measurement: Measurement) -> dict[str, Any]:
        """Everything that decides a measured value, as JSON."""
        kind, recipe = measurement.kind, self.scale.recipe(measurement.run)
        key: dict[str, Any] = {"kind": kind, "runs": [self.name(run) for run in measurement.runs()]}
        if kind == "cost":
            part = self.scale.cost_recipe(measurement.run).keyed(exclude={"ann", "attack", "data"})
            part |= {"images": recipe.data.train_images, "augment": recipe.data.augment}
            return {**key, "batches": self.scale.cost_batches, "in turns": True, "recipe": part}
        spec = measurement.spec(self.scale)
        key |= {"seed": measurement.seed, "grid": list(measurement.grid), "images": measurement.images(self.scale)}
        options = spec.resolved() if spec else {}
        key |= {} if options.pop("float32_loss", True) else {"float32_loss": False}  # set but on page `saturation`
        key["attack"] = spec and {"name": spec.name, "options": options}
        if spec and (factor := self.scale.logit_factor(measurement.run)) != 1:
            key["logit factor"] = factor
        if kind == "gradient-checks":
            key["eps"] = recipe.attack.eps
        elif kind == "quantised-ann":
            key["calibration"] = recipe.conversion.images
        elif kind == "leak-distances":
            key["setting"] = CLAIMS["fig5a"]
        elif kind == "input-codings":
            key["content"] = content(self.scale.source(measurement.network))
            key |= {} if recipe.model.normalise is True else {"normalise": recipe.model.normalise}
        return key

    def value_path(self, measurement: Measurement) -> Path:
        return self.root / "measured" / f"{self.name(measurement)}.json"

    def find(self, measurement: Measurement) -> StoredValue | None:
        path = self.value_path(measurement)
        if not path.is_file():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        return StoredValue(record["value"], record["where"], record.get("right", ""))

    def put(self, measurement: Measurement, value: Any, seconds: float, right: Sequence[bool] = ()) -> None:
        """Write a value with its key, the seconds it took, and which answers were right, image by image.

        Raises RunError where the value is not finite.
        """
        here, path = environment(), self.value_path(measurement)
        where = {"semantics": SEMANTICS, **{name: here[name] for name in RECORDED}}
        record = {"key": self.key(measurement), "value": value, "seconds": round(seconds, 3), "where": where}
        record |= {"right": packed(right)} if len(right) else {}
        try:
            text = json.dumps(record, indent=1, allow_nan=False)
        except ValueError:
            raise RunError(f"{path.stem} is not finite; the training it was measured on diverged.") from None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())


def packed(right: Sequence[bool]) -> str:
    """A bit for each image, the first one the highest of its byte, in hexadecimal.

    >>> packed([True, False, False, False, False, False, False, True, True])
    '8180'
    """
    return np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()


_loaded = cache(data.load)


@cache
def content(source: str) -> str:
    """What stands for the content of a data source: a public name, or a digest of file or images."""
    if source in ("digits", *DOWNLOADED):
        return source
    path = Path(source).expanduser()
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else _loaded(source).digest
