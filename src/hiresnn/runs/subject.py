"""What `hiresnn analyze` measures: a spiking network, the images it is shown, and the attacks on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiresnn import data
from hiresnn.analysis import recording
from hiresnn.attacks import AttackSpec, frozen, seeded, verified
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.runs.atomic import write_atomically
from hiresnn.runs.context import RunContext
from hiresnn.runs.evaluate import attack_of, check_fits, label_of
from hiresnn.runs.folder import RunFolder
from hiresnn.runs.lock import locked
from hiresnn.runs.memory import fitting_batch
from hiresnn.runs.model_source import ModelSource, audit_folder, resolve_model
from hiresnn.runs.own_network import load_run

CLEAN = "clean"


@dataclass(frozen=True)
class Request:
    """What a caller asks for; see `energy`."""

    target: str
    attacks: Sequence[str]
    limit: int | None
    batch_size: int
    source: str | None
    out: Path | None
    progress: Progress

    def shown(self, dataset: DataSet) -> Split:
        """Return the test images to measure on."""
        return data.first(dataset.test, min(self.limit, len(dataset.test))) if self.limit else dataset.test

    def subject(self) -> AbstractContextManager[Subject]:
        """Return what is measured, a run folder or any other target."""
        path = Path(self.target)
        if not path.is_dir() and (":" in self.target or path.suffix == ".safetensors"):
            found = resolve_model(self.target)
            if found.folder is None:
                return Subject.of_target(found, self)
            path = found.folder
        if self.out is not None:
            raise UsageError(f"the results of run {path} are part of its folder; leave out --out.")
        return Subject.of_run(path, self)


@dataclass
class Subject:
    """A spiking network, the images it is shown, and the attacks on them.

    Attributes:
        conditions: (label, attack), clean images first, with no attack.
        write: writes a result, as JSON, under the name of a file.
    """

    network: SpikingNetwork | Unrolled
    shown: Split
    device: str
    seed: int
    batch_size: int
    conditions: list[tuple[str, AttackSpec | None]]
    write: Callable[[str, Any], None]

    @classmethod
    @contextmanager
    def of_run(cls, run: Path, request: Request) -> Iterator[Subject]:
        """Open a run folder, which gets the results."""
        with RunFolder.open(run, write=True) as folder:
            context = RunContext.of_run(folder, request.progress, request.source)
            recipe = context.recipe
            specs = [attack_of(recipe, text) for text in dict.fromkeys(request.attacks)]
            network = load_run(folder)
            if not isinstance(network, SpikingNetwork):
                raise UsageError(f"run {run} holds an ANN, which does not spike; name a run of another method.")
            check_fits(network, context.dataset, f"{run}")
            batch = fitting_batch(network, context.dataset, request.batch_size, context.device, context.progress)
            labels = [label_of(recipe, spec) for spec in specs]
            yield cls._on(
                network, request.shown(context.dataset), context.device, recipe.seed, batch,
                list(zip(labels, specs, strict=True)), folder.write_json,
            )  # fmt: skip

    @classmethod
    @contextmanager
    def of_target(cls, source: ModelSource, request: Request) -> Iterator[Subject]:
        """Take a network from a file or a function; the results go into the folder of its audit, or another one."""
        network = source.model
        if not isinstance(network, SpikingNetwork | Unrolled):
            raise UsageError(
                f"{request.target} is a {type(network).__name__}, whose spikes hiresnn cannot find; name a function "
                "that returns a network of hiresnn, or of another library in an adapter of hiresnn.foreign."
            )
        if request.source is None:
            raise UsageError(f"{request.target} has no data set of its own; name one with --data, for example digits.")
        dataset = data.load(request.source)
        check_fits(network, dataset, request.target)
        specs = [AttackSpec.parse(text) for text in dict.fromkeys(request.attacks)]
        out = request.out or audit_folder(request.target, source)
        with locked(out, "analysis folder"):

            def write(name: str, result: Any) -> None:
                write_atomically(out / name, (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())

            device = "cuda" if torch.cuda.is_available() else "cpu"
            yield cls._on(
                network, request.shown(dataset), device, 0, request.batch_size,
                [(spec.label, spec) for spec in specs], write,
            )  # fmt: skip

    @classmethod
    def _on(
        cls, network: SpikingNetwork | Unrolled, shown: Split, device: str, seed: int, batch_size: int,
        attacks: list[tuple[str, AttackSpec]], write: Callable[[str, Any], None],
    ) -> Subject:  # fmt: skip
        if isinstance(network, SpikingNetwork):
            network.fuse(False)  # figures must not depend on the work done before
        return cls(network.to(device), shown, device, seed, batch_size, [(CLEAN, None), *attacks], write)

    @property
    def header(self) -> dict[str, Any]:
        """What every analysis states at its top."""
        return {"images": len(self.shown), "seed": self.seed, "timesteps": self.network.timesteps}

    def batches(self, title: str, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images and labels in batches, with a progress bar."""
        with progress.task(f"  {title}", len(self.shown)) as task:
            for images, labels in Batches(self.shown, self.batch_size, device=self.device):
                yield images, labels
                task.advance(len(labels))

    def attacked(self, attack: AttackSpec | None, images: Tensor, labels: Tensor) -> Tensor:
        """Return the images after the attack, checked for its bound; unchanged without an attack."""
        if attack is None:
            return images
        return verified(attack, self.network, images, labels, eps=attack.eps)

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """Repeat the same Poisson draws, so that two recordings differ only by their images."""
        if not isinstance(self.network, SpikingNetwork):
            with seeded(self.seed):
                yield
            return
        encoder = self.network.encoding
        before, encoder.generator = encoder.generator, torch.Generator(self.device).manual_seed(self.seed)
        try:
            yield
        finally:
            encoder.generator = before

    @torch.no_grad()
    def spikes(self, images: Tensor) -> dict[str, Tensor]:
        """Return the spikes of every layer: layer name -> [T, B, ...]."""
        with self.seeded(), frozen(self.network), recording(self.network) as spikes:
            self.network(images)
        return spikes
