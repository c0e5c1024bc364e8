"""Where a reproduction works: its scale, its folders of runs and measured values, and its data.

A run lies in `root/runs/NETWORK-METHOD-seedN-DIGEST`, where the digest covers everything that decides it; a measured
value is a JSON file in `root/measured`, named after its key, written whole or not at all. Pages therefore share what
they have in common, and a killed reproduction continues.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.context import device_of
from hiresnn.app.folder import ENVIRONMENT, MODEL, RECIPE, RunFolder, environment
from hiresnn.app.networks import load
from hiresnn.app.recipe import SEMANTICS, Recipe, digest, dump
from hiresnn.app.train import train
from hiresnn.data import DataSet, Split
from hiresnn.data.sources import DOWNLOADED
from hiresnn.errors import RunError, UsageError
from hiresnn.files import write_atomically
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.training.methods import METHODS
from reproduction.measurements import Measurement, Run
from reproduction.scales import Scale

EMBEDDED = ("digits", *DOWNLOADED)
"""Data sources whose name stands for their content."""
RECORDED = ("date", "cpu", "threads", "torch", "hiresnn", "git_commit", "git_changed")
"""Fields of `environment()` that are stored with a value."""


@dataclass(frozen=True)
class StoredValue:
    """A stored value, as JSON gives it back, and where and when it was measured: processor, versions, day."""

    value: Any
    where: Mapping[str, Any]

    @property
    def origin(self) -> str:
        """Processor and version of the training semantics; only values of one origin are compared seed by seed."""
        return f"{self.where.get('cpu')}, semantics {self.where.get('semantics')}"


class Study:
    """See the module. It can be sent to other processes, which load their own data; it creates nothing by itself."""

    def __init__(self, scale: Scale, *, root: Path, progress: Progress) -> None:
        self.scale, self.root, self.progress = scale, root, progress
        self._contents: dict[str, str] = {}
        self._datasets: dict[str, DataSet] = {}
        self._names: dict[Run, str] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_datasets": {}}

    def recipe(self, run: Run) -> Recipe:
        """The recipe of a run without changes that do not matter to its method.

        Recipes that lead to the same weights are therefore equal, and a half-trained folder is continued.
        """
        recipe, plain = self.scale.recipe(run), self.scale.recipe(replace(run, changes=()))
        ignored = ["attack", *([] if run.method != "ann" and METHODS[run.method].periodic else ["noise"])]
        ignored += ["snn", "conversion"] if run.method == "ann" else []
        return recipe.model_copy(update={name: getattr(plain, name) for name in ignored})

    def name(self, run: Run) -> str:
        """The name of a run's folder: network, method, seed, and a digest of all that decides the weights."""
        if run not in self._names:
            recipe = self.recipe(run)
            part = recipe.keyed(exclude={"device", "attack"})
            part["data"].pop("source")  # its content decides, not its place
            part["snn"].pop("recompute")  # less memory, the same weights
            key = digest({**part, "content": self.content(run.network)})
            self._names[run] = f"{run.network}-{run.method}-seed{recipe.seed}-{key}"
        return self._names[run]

    def path(self, run: Run) -> Path:
        """The folder of a run."""
        return self.root / "runs" / self.name(run)

    def is_trained(self, run: Run) -> bool:
        """Whether the run is finished."""
        return (self.path(run) / MODEL).is_file()

    def train(self, run: Run) -> None:
        """Train a run, or continue it."""
        recipe, path = self.recipe(run), self.path(run)
        if (path / RECIPE).is_file():  # begun; since then its data may have moved, or the device may be another
            with RunFolder.open(path, write=True) as folder:
                folder.write_text(RECIPE, dump(recipe))
        train(recipe, out=path, resume=True, progress=self.progress)

    def ann_of(self, run: Run) -> Run:
        """The run of the ANN from which `run` starts."""
        return Run(run.network, "ann", self.scale.recipe(run).ann_seed, None, run.changes)

    def command(self, run: Run) -> str:
        """The command line that trains a run; data files are named without their folder."""
        setting, source = self.scale.setting(run.network), Path(self.scale.source(run.network)).name
        values = setting.values(run)
        words = ["hiresnn", "train", setting.recipe, "--method", run.method, "--seed", values.pop("seed")]
        sets = [word for key, text in sorted(values.items()) for word in ("--set", f"{key}={text}")]
        return shlex.join([*words, "--data", source, *sets])

    def spiking(self, run: Run) -> SpikingNetwork:
        """The trained network of a run of an SNN. Raises RunError where its folder holds an ANN."""
        network = self.network(run)
        if not isinstance(network, SpikingNetwork):
            raise RunError(f"run {self.path(run)} holds an ANN where an SNN is expected; delete it and try again.")
        return network

    def network(self, run: Run) -> nn.Module:
        """The trained network of a run in eval mode, on the device of its recipe."""
        with RunFolder.open(self.path(run)) as folder:
            network = load(folder.require(MODEL)).to(device_of(folder.recipe))
        if isinstance(network, SpikingNetwork):
            network.fuse(folder.recipe.compile != "never")  # many measurements share the compiled kernels
        return network

    def key(self, measurement: Measurement) -> dict[str, Any]:
        """Everything that decides a measured value, as JSON."""
        runs = [self.name(run) for run in measurement.runs()]
        key = {"kind": measurement.kind, "runs": runs, **measurement.settings(self.scale)}
        return key if runs or measurement.kind == "cost" else {**key, "content": self.content(measurement.network)}

    def file_name(self, measurement: Measurement) -> str:
        """The name of the file of a value, without the suffix: its kind, and the digest of its key."""
        return f"{measurement.kind}-{digest(self.key(measurement))}"

    def _value_path(self, measurement: Measurement) -> Path:
        return self.root / "measured" / f"{self.file_name(measurement)}.json"

    def find(self, measurement: Measurement) -> StoredValue | None:
        """The stored value, None where there is none or its file is damaged: it is then measured again."""
        path = self._value_path(measurement)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return StoredValue(content["value"], content["where"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, measurement: Measurement, value: Any, seconds: float) -> StoredValue:
        """Write a value with its key and the seconds it took. Raises RunError where it is not finite."""
        here, path = environment(), self._value_path(measurement)
        where = {"semantics": SEMANTICS, **{field: here[field] for field in RECORDED}}
        try:
            record = {"key": self.key(measurement), "value": value, "seconds": round(seconds, 3), "where": where}
            text = json.dumps(record, indent=1, allow_nan=False)
        except ValueError:
            raise RunError(
                f"measured value {path.stem} holds a number that is not finite; the training it was measured on "
                "diverged."
            ) from None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode())
        return StoredValue(json.loads(text)["value"], where)

    def trained_on(self, run: Run) -> Mapping[str, Any]:
        """The environment in which a network was trained; empty where its folder is gone."""
        try:
            found = json.loads((self.path(run) / ENVIRONMENT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def content(self, network: str) -> str:
        """What stands for the content of a network's data: a public name, or a digest of file or images."""
        source = self.scale.source(network)
        if source not in self._contents:
            self._contents[source] = _content(source)
        return self._contents[source]

    def dataset(self, network: str) -> DataSet:
        """The data set of a network, loaded once."""
        source = self.scale.source(network)
        if source not in self._datasets:
            self._datasets[source] = data.load(source)
        return self._datasets[source]

    def device(self, network: str) -> str:
        """The device on which a network is trained and measured."""
        return device_of(self.scale.recipe(Run(network, "ann", 0)))

    def test(self, network: str, count: int) -> Split:
        """The first `count` test images (0: all), balanced over the classes. Raises UsageError for fewer images."""
        test = self.dataset(network).test
        if count > len(test):  # pages and intervals would speak of images that there are not
            raise UsageError(
                f"scale {self.scale.name} measures on {count:,} test images of {network}, and its data have "
                f"{len(test):,}; give data with more by --data, or choose another --scale."
            )
        return data.first(test, count)

    def shown(self, network: str, count: int) -> tuple[Tensor, Tensor]:
        """Those images [B, C, H, W] in [0, 1] and their labels [B], on the network's device."""
        chosen, device = self.test(network, count), self.device(network)
        return chosen.images.to(device) / 255, chosen.labels.to(device)


def _content(source: str) -> str:
    path = Path(source).expanduser()
    if source in EMBEDDED:
        return source
    if not path.is_file():
        return data.load(source).digest
    return hashlib.sha256(path.read_bytes()).hexdigest()


def provenance(records: Iterable[StoredValue]) -> str:
    """One sentence on where and when values were measured, the most frequent place first.

    >>> provenance([StoredValue(1.0, {"cpu": "A", "torch": "2.5", "date": "2026-11-24T09:00:00"})])
    'Measured: 1 value on A, torch 2.5, 2026-11-24.'
    """
    days: dict[str, list[str]] = {}  # place -> the day of each value
    for record in records:
        where = record.where
        days.setdefault(f"{where['cpu']}, torch {where['torch']}", []).append(str(where["date"])[:10])
    clauses = [
        f"{len(each)} value{'s' if len(each) > 1 else ''} on {where}, {' to '.join(sorted({min(each), max(each)}))}"
        for where, each in sorted(days.items(), key=lambda pair: -len(pair[1]))
    ]
    return f"Measured: {'; '.join(clauses)}."
