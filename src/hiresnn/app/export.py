"""`hiresnn export`: write a run for another program, and compare the file with the run on its own images."""

from __future__ import annotations

from pathlib import Path

from hiresnn import data
from hiresnn.app.evaluate import check_fits
from hiresnn.app.targets import data_of, resolve_model
from hiresnn.errors import UsageError
from hiresnn.exchange import Export, export
from hiresnn.exchange.export import require_target
from hiresnn.network import SpikingNetwork


def export_run(
    target: str, out: Path, *, to: str, reader: str = "portable", source: str | None = None, limit: int = 200
) -> Export:
    """Write the network that `target` names and compare the file with it on test images.

    `target` is as for `resolve_model`, `to` and `reader` as for `hiresnn.exchange.export`. `source` is the data set, by
    default that of the run; `limit` images of it are taken, balanced over classes.
    """
    require_target(out, to=to, reader=reader)
    subject = resolve_model(target)
    network = subject.model
    if not isinstance(network, SpikingNetwork):
        raise UsageError(
            f"{target} is a {type(network).__name__}, not a spiking network of hiresnn; convert it first, or export "
            "a run whose method is not ann."
        )
    dataset = data_of(target, subject, source)
    check_fits(network, dataset, target)
    split = data.in_turn(dataset.test, min(limit, len(dataset.test)))
    return export(network, out, split.images.float() / 255, split.labels, to=to, reader=reader, source=subject.name)
