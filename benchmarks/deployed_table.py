"""Audit networks as deployed, and print a table for each: accuracy, worst case and energy of every view.

    python benchmarks/deployed_table.py runs/mine --eps 2/255 [--data cifar10.npz] [--images 100] [--out DIR]

The attacks are far fewer than those of the smallest preset of `hiresnn audit`, so that a network with its five views
takes about two minutes of a CPU: noise, FGSM, the paper's PGD, ten steps on the margin loss, 15 steps of SA-PGD on the
DLR loss, and everything that is made on another view. The worst case therefore is an upper bound; compare views, and
take the number of a network from `hiresnn audit RUN --as ...`. Columns: clean accuracy and worst case in percent (in
brackets under attacks on this view alone, where that is another number), and for one image the spikes, the estimated
arithmetic energy (45 nm) with the prices of floats and of 32-bit integers, and the size of the weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from hiresnn import data
from hiresnn.analysis import PRICES, count_operations
from hiresnn.app.audit import audit
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.networks import load
from hiresnn.audit import AuditConfig, Preset
from hiresnn.audit.presets import Choice, Stage, stage_attack
from hiresnn.audit.run import ALL, DEPLOYED, FLOAT
from hiresnn.exchange import deployed
from hiresnn.exchange.deployed import read_view
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

VIEWS = ("int8", "int4", "leak=1", "reset=zero", "shared-scale")
BRIEF = Preset("brief", 100, (Stage(
    rules=("own", "assg"), sample=5, iterations=5, queries=1, most=1, directions=1, noise=1,
    attacks=(
        stage_attack("pgd-restarts", Choice.EACH, iterations=10, restarts=1, loss="margin"),
        stage_attack("sa-pgd", Choice.ADAPTIVE, iterations=15, loss="dlr"),
    ),
),))  # fmt: skip


def energy(network: SpikingNetwork, view: str, images: Tensor) -> list[str]:
    """Return the cells of a view: spikes and nJ for one image, and kB of weights."""
    subject = network if view == FLOAT else deployed(network, view)
    rounding = None if view == FLOAT else read_view(view)[0]
    report = count_operations(subject.eval(), images)
    spikes = sum(layer.events for layer in report.layers if layer.kind == "neurons")
    joules = [report.snn(PRICES[kind]) / 1000 for kind in ("fp32", "int32")]
    size = sum(layer.parameters for layer in report.layers) * (32 if rounding is None else rounding.bits) / 8000
    return [f"{each:,.1f}" if each < 100 else f"{each:,.0f}" for each in (spikes, *joules, size)]


def share(worst: float, own: float) -> str:
    """Return the worst case, with that of attacks on this view alone if it is another."""
    return f"{worst:.1f}" if worst == own else f"{worst:.1f} ({own:.1f})"


def table(found: dict[str, Any], network: SpikingNetwork, images: Tensor) -> list[str]:
    """Return the lines of one run."""
    bounds = ["clean" if bound == "0" else bound for bound in found["bounds"]]
    heads = ["view", *bounds, "spikes", "nJ, float", "nJ, integers", "weights, kB"]
    rows = [heads, ["---"] * len(heads)]
    for view, curves in found["views"].items():
        shares = [share(*pair) for pair in zip(curves["worst"], curves["own"], strict=True)]
        rows.append([f"`{view}`", *shares, *energy(network, view, images)])
    rows.append(["all views", *(f"{each:.1f}" for each in found[ALL]), "", "", "", ""])
    return ["| " + " | ".join(row) + " |" for row in rows]


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("runs", nargs="+", type=Path)
    cli.add_argument("--eps", required=True, help="the bound, such as 2/255")
    cli.add_argument("--data", help="data set, by default that of the run")
    cli.add_argument("--images", type=int, default=100)
    cli.add_argument("--out", type=Path, default=Path("deployed"), help="folder for the audits")
    asked = cli.parse_args()
    for path in asked.runs:
        recipe, network = RunFolder.open(path).recipe, load(path / MODEL)
        assert isinstance(network, SpikingNetwork)
        config = AuditConfig(BRIEF, asked.eps, (), views=VIEWS)
        _, folder = audit(
            str(path),
            config,
            eps=asked.eps,
            source=asked.data,
            images=asked.images,
            out=asked.out / path.name,
            progress=Progress(),
        )
        test = data.load(asked.data or recipe.data.source, size=recipe.data.size).test
        images = data.in_turn(test, min(asked.images, len(test))).images.float() / 255
        found = json.loads((folder / DEPLOYED).read_bytes())
        print(f"### {path.name}\n\n" + "\n".join(table(found, network, images)), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
