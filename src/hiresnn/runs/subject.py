"""What `hiresnn analyze` measures: a spiking network, the images it is shown, and the attacks on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiresnn import data
from hiresnn.analysis import recording
from hiresnn.atomic import json_text, write_atomically
from hiresnn.attacks import AttackSpec, frozen, seeded, verified
from hiresnn.data import Batches, Split
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.runs.context import RunContext, device_of
from hiresnn.runs.evaluate import attack_of, check_fits, label_of
from hiresnn.runs.folder import RunFolder
from hiresnn.runs.lock import locked
from hiresnn.runs.memory import fitting_batch
from hiresnn.runs.model_source import audit_folder, data_of, resolve_model, run_named
from hiresnn.runs.own_network import load_run

CLEAN = "clean"


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

    def batches(self, title: str, attack: AttackSpec | None, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images and what the attack makes of them, the same without one, in batches with a progress bar."""
        with progress.task(f"  {title}", len(self.shown)) as task:
            for number, (images, labels) in enumerate(Batches(self.shown, self.batch_size, device=self.device)):
                attacked = images
                if attack is not None:
                    with seeded(self.seed + number):  # what the attack draws must not depend on earlier work
                        attacked = verified(attack, self.network, images, labels, eps=attack.eps)
                yield images, attacked
                task.advance(len(labels))

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


@contextmanager
def opened(
    target: str,
    *,
    attacks: Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 200,
    source: str | None = None,
    out: Path | None = None,
    progress: Progress,
) -> Iterator[Subject]:
    """Open a run folder, which gets the results, or take a network from a file or a function; options as for `energy`.

    The results of a file or a function go into the folder of its audit, or another one.
    """
    texts = dict.fromkeys(attacks or ())
    network: Any
    with ExitStack() as held:
        if (path := run_named(target)) is not None:
            if out is not None:
                raise UsageError(f"the results of run {path} are part of its folder; leave out --out.")
            folder = held.enter_context(RunFolder.open(path, write=True))
            context = RunContext.of_run(folder, progress, source)
            recipe, dataset, device, write = context.recipe, context.dataset, context.device, folder.write_json
            specs = [attack_of(recipe, text, recipe.seed) for text in texts]
            conditions = [(label_of(recipe, spec), spec) for spec in specs]
            network, seed = load_run(folder), recipe.seed
            if not isinstance(network, SpikingNetwork):
                raise UsageError(f"run {path} holds an ANN, which does not spike; name a run of another method.")
            check_fits(network, dataset, f"{path}")
            batch_size = fitting_batch(network, dataset, batch_size, device, progress)
        else:
            found = resolve_model(target)
            network, seed, device = found.model, 0, device_of(None)
            if not isinstance(network, SpikingNetwork | Unrolled):
                raise UsageError(
                    f"{target} is a {type(network).__name__}, whose spikes hiresnn cannot find; name a function "
                    "that returns a network of hiresnn, or of another library in an adapter of hiresnn.foreign."
                )
            dataset = data_of(target, found, source)
            check_fits(network, dataset, target)
            conditions = [(spec.label, spec) for spec in map(AttackSpec.parse, texts)]
            place = out or audit_folder(target, found)
            held.enter_context(locked(place, "analysis folder"))

            def write(name: str, value: Any) -> None:
                write_atomically(place / name, json_text(value).encode())

        if isinstance(network, SpikingNetwork):
            network.fuse(False)  # figures must not depend on the work done before
        shown = data.first(dataset.test, min(limit, len(dataset.test))) if limit else dataset.test
        yield Subject(network.to(device), shown, device, seed, batch_size, [(CLEAN, None), *conditions], write)
