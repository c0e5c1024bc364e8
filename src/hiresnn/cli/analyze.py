"""`hiresnn analyze`: activity, distance and energy of a run, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from hiresnn.cli.interrupt import continued_by

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Measure what a trained spiking run does and costs: **activity**, **distance**, **energy**.",
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that hiresnn train wrote, of a spiking method.")]
Attacks = Annotated[
    list[str] | None,
    typer.Option(
        "--attack",
        metavar="NAME",
        help="Measure on attacked images too: fgsm, pgd, or with options as in pgd:eps=2/255; may be repeated. "
        "What the text does not set is the recipe's.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Show only the first N test images; default: all.")]
Batch = Annotated[int, typer.Option(min=1, metavar="N", help="Images a batch.")]


@app.command()
def activity(
    context: typer.Context, run: Run, attacks: Attacks = None, limit: Limit = None, batch: Batch = 200
) -> None:
    """Spiking activity of every layer (Definition 1).

    SA is spikes an image over all T steps / neurons, 0 to T. TASA is SA / T, 0 to 1. Also writes
    analysis-activity.json into the run folder.

    Example:

    hiresnn analyze activity runs/mine --attack pgd --limit 1000
    """
    _shown(context, "activity", run, attacks, limit, batch)


@app.command()
def distance(
    context: typer.Context, run: Run, attacks: Attacks = None, limit: Limit = None, batch: Batch = 200
) -> None:
    """Perturbation distance of images and spikes under an attack (Definition 2).

    The L2 norm of what the attack changed: in the image (pixels in [0, 1]), and in each layer's spike map
    (spikes of each neuron / T); a mean over images. Without --attack it is the recipe's PGD. Also writes
    analysis-distance.json into the run folder.

    Example:

    hiresnn analyze distance runs/mine --attack fgsm --attack pgd --limit 1000
    """
    _shown(context, "distance", run, attacks, limit, batch)


@app.command()
def energy(context: typer.Context, run: Run, attacks: Attacks = None, limit: Limit = None, batch: Batch = 200) -> None:
    """Estimated arithmetic energy of one image, 45 nm.

    Two counts stand side by side. "Printed" is the paper's: Table 6 with Eq. 7 (rate-coded) or Eq. 8 (direct).
    The other counts every operation that happens: connections as they are at the borders, MACs behind average
    pools, neurons, leaks, readout. Also writes analysis-energy.json, with the memory estimate by layer.

    Example:

    hiresnn analyze energy runs/mine --limit 1000
    """
    _shown(context, "energy", run, attacks, limit, batch)


def _shown(
    context: typer.Context, what: str, run: Path, attacks: list[str] | None, limit: int | None, batch: int
) -> None:
    with continued_by(context):
        from hiresnn.progress import Progress
        from hiresnn.runs import analyze

        measure = {"activity": analyze.activity, "distance": analyze.distance, "energy": analyze.energy}[what]
        result = measure(run, attacks=attacks, limit=limit, batch_size=batch, progress=Progress())
    console = Console(highlight=False)
    for shown in {"activity": activity_tables, "distance": distance_tables, "energy": energy_tables}[what](result):
        console.print(shown)


def _table(title: str, *headings: str) -> Table:
    shown = Table(title=title)
    for number, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if number else "left", no_wrap=number < 2)
    return shown


def _count(number: float) -> str:
    """A count in four digits: 950, 98.03k, 1.234M."""
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.4g}{suffix}"
    return f"{number:.4g}"


def activity_tables(result: Mapping[str, Any]) -> list[Table]:
    """A row a layer; neurons and SA, TASA for clean images and each attack."""
    measured = result["activity"]
    headings = [f"{label}\n{kind}" for label in measured for kind in ("spikes", "SA", "TASA")]
    where = f"on {result['images']:,} images, T = {result['timesteps']}"
    shown = _table(f"Spiking activity {where}", "layer", "neurons", *headings)
    first = measured["clean"]
    for name in [*first["layers"], "total"]:
        entries = [entry["total"] if name == "total" else entry["layers"][name] for entry in measured.values()]
        cells = [text for e in entries for text in (f"{e['spikes']:,.1f}", f"{e['sa']:.3f}", f"{e['tasa']:.3f}")]
        shown.add_row(name, f"{entries[0]['neurons']:,}", *cells, end_section=name == list(first["layers"])[-1])
    return [shown]


def distance_tables(result: Mapping[str, Any]) -> list[Table]:
    """A row for the images and a row a layer; a column an attack."""
    measured = result["distance"]
    title = f"Perturbation distance (L2) on {result['images']:,} images, T = {result['timesteps']}"
    shown = _table(title, "layer", *measured)
    shown.add_row("image", *(f"{entry['images']['mean']:.3f}" for entry in measured.values()), end_section=True)
    for name in next(iter(measured.values()))["layers"]:
        shown.add_row(name, *(f"{entry['layers'][name]['mean']:.3f}" for entry in measured.values()))
    return [shown]


def energy_tables(result: Mapping[str, Any]) -> list[Table]:
    """For clean images and each attack: operations a layer, then the totals in nanojoules."""
    return [table for label, entry in result["energy"].items() for table in _energy_pair(label, entry, result)]


def _energy_pair(label: str, entry: Mapping[str, Any], result: Mapping[str, Any]) -> list[Table]:
    where = f"an image, {label}, mean of {result['images']:,}, T = {result['timesteps']}"
    layers = _table(
        f"Operations for {where}", "layer", "input", "zeta", "printed\nFLOPs", "MACs", "ACs", "mults", "FP32\nnJ"
    )
    for layer in entry["layers"]:
        weighted = layer["dense"] > 0
        numbers = [_count(layer[key]) if layer[key] else "" for key in ("macs", "acs", "multiplications")]
        layers.add_row(
            layer["name"],
            layer["inputs"] if weighted else "",
            f"{layer['activity']:.3f}" if weighted else "",
            _count(layer["flops_snn"]) if weighted else "",
            *numbers,
            f"{layer['pj']['fp32'] / 1e3:,.2f}",
        )
    totals = _table(f"{entry['label'].capitalize()}, nJ {where}", "", "FP32", "INT32")
    rows = {
        "SNN, printed (Eq. 7, 8)": "snn_printed",
        "ANN, printed (Table 6)": "ann_printed",
        "SNN, every operation": "snn",
        "ANN, every connection": "ann",
        f"ANN with {entry['quantised_bits']}-bit activations": "quantised_ann",
    }
    for title, key in rows.items():
        cells = (f"{entry['pj'][prices][key] / 1e3:,.2f}" for prices in ("fp32", "int32"))
        totals.add_row(title, *cells, end_section=key in ("ann_printed", "quantised_ann"))
    for name, words in entry["memory"].items():
        for place in ("on", "off"):
            cell = f"{words[f'{place}_chip_pj'] / 1e3:,.2f}"
            totals.add_row(f"memory, {name.upper()}, weights {place} chip", cell, cell)
    totals.caption = f"{entry['parameters']:,} parameters, {entry['state_bytes']:,} bytes of state"
    return [layers, totals]
