"""Tables of networks as deployed: accuracy, worst case and energy of every view, from audits by `hiresnn audit --as`.

    python benchmarks/deployed_table.py runs/mine runs/other [--data cifar10.npz] [--images 100]

Every folder is a run that has been audited with --as. Prints a Markdown table for each: the clean accuracy and the
worst case of `audit/deployed.json` (in brackets under attacks on this view alone, where that is another number), and
for one test image the spikes, the estimated arithmetic energy (45 nm) with the prices of floats and of 32-bit integers,
and the size of the weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from hiresnn import data
from hiresnn.analysis import PRICES, count_operations
from hiresnn.exchange import deployed
from hiresnn.exchange.rounding import read_rounding
from hiresnn.network import SpikingNetwork
from hiresnn.runs.checkpoint import load
from hiresnn.runs.deployed import ALL, DEPLOYED, FLOAT
from hiresnn.runs.folder import MODEL, RunFolder


def energy(network: SpikingNetwork, view: str, images: Tensor) -> list[str]:
    """Return the cells of a view: spikes and nJ for one image, and kB of weights."""
    subject = network if view == FLOAT else deployed(network, view, images[:1])
    rounding = None if view == FLOAT else read_rounding(view)[0]
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
    cli.add_argument("--data", help="data set, by default that of the run")
    cli.add_argument("--images", type=int, default=100, help="test images for the energy")
    asked = cli.parse_args()
    for path in asked.runs:
        recipe, network = RunFolder.open(path).recipe, load(path / MODEL)
        assert isinstance(network, SpikingNetwork)
        test = data.load(asked.data or recipe.data.source, size=recipe.data.size).test
        images = data.in_turn(test, min(asked.images, len(test))).images.float() / 255
        found = json.loads((path / "audit" / DEPLOYED).read_bytes())
        print(f"### {path.name}\n\nWorst case in % of {found['images']:,} test images.\n")
        print("\n".join(table(found, network, images)), end="\n\n")


if __name__ == "__main__":
    main()
