"""Compare robust training: one table and one picture from run folders and the cards of their audits.

    python benchmarks/robust_table.py --reference runs/digits-traditional-seed0 --out results/robust/digits \\
        runs/digits-traditional-seed0 runs/robust-digits-converted-seed0 ...

Every folder is a run that `hiresnn audit` has audited with the same bounds on as many images. Runs that differ only in
their seed make one row. The price is what the training took, the ANN and its measurements under attack included,
divided by the price of the reference: in seconds (of metrics.jsonl, of an idle machine) and in passes, a forward pass
of one timestep over one training image, where a backward pass counts 2 and a gradient of the image alone 1. Writes
OUT.md, OUT.csv, and OUT.svg and .png: the worst case over the price.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hiresnn import data
from hiresnn.audit import Card
from hiresnn.charts import print as charts
from hiresnn.charts.palette import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION
from hiresnn.errors import RunError
from hiresnn.report.reading import read_card
from hiresnn.runs.ann import ann_path
from hiresnn.runs.folder import METRICS, RunFolder
from hiresnn.runs.price import training_price
from hiresnn.runs.recipe import Recipe


def passes(recipe: Recipe) -> float:
    """Return the passes of a training per training image."""
    price = training_price(recipe)
    if price is None:
        raise RunError(f"recipe {recipe.name} has no price, because data.train_images is 0; set it.")
    return price


def seconds(folder: RunFolder) -> float:
    """Return the seconds that a training took, its ANN included."""
    recipe = folder.recipe
    rows = folder.read_metrics() if folder.has(METRICS) else []
    if recipe.method != "ann":
        ann = RunFolder.open(ann_path(recipe, data.load(recipe.data.source), folder.path))
        rows += [row for row in ann.read_metrics() if row["stage"] == "ann"]
    return sum(row["seconds"] + row.get("measuring_seconds", 0.0) for row in rows)


@dataclass(frozen=True)
class Entry:
    """One audited run, with its price relative to that of the reference."""

    name: str
    seed: int
    card: Card
    passes: float
    seconds: float


def entry(path: Path, reference: tuple[float, float]) -> Entry:
    """Read a run and its card."""
    folder = RunFolder.open(path)
    recipe = folder.recipe
    name = path.name.removesuffix(f"-seed{recipe.seed}")
    price = passes(recipe) / reference[0], seconds(folder) / reference[1] if reference[1] else float("nan")
    return Entry(name, recipe.seed, read_card(path / "audit" / "card.json"), *price)


def check(entries: Sequence[Entry]) -> None:
    """Refuse cards that cannot stand in one table."""
    settings = {(tuple(e.card.setting.bounds), e.card.setting.preset, e.card.data.images) for e in entries}
    if len(settings) > 1:
        raise RunError(f"the cards differ in bounds, preset or images: {sorted(settings)}; audit all runs alike.")


def columns(entries: Sequence[Entry], bounds: Sequence[str], timed: bool = True) -> list[str]:
    """Return the cells of one row: means over seeds, and the seeds' worst case at the largest bound."""
    last = bounds[-1]

    def mean(values: Sequence[float]) -> str:
        return f"{fmean(values):.1f}"

    points = {bound: [each.card.at(bound) for each in entries] for bound in bounds}
    cells = [entries[0].name, f"{len(entries)}", f"{fmean(e.passes for e in entries):.2f}"]
    cells += [f"{fmean(e.seconds for e in entries):.2f}"] * timed + [mean([e.card.clean.percent for e in entries])]
    cells += [mean([point.fgsm.percent for point in points[last]]), mean([point.pgd.percent for point in points[last]])]
    cells += [mean([point.worst.percent for point in points[bound]]) for bound in bounds]
    cells.append(", ".join(f"{p.worst.percent:.1f} ({p.worst.low:.1f}-{p.worst.high:.1f})" for p in points[last]))
    cells.append(", ".join(dict.fromkeys(each.card.conclusion.verdict for each in entries)))
    return cells


def draw(rows: dict[str, list[Entry]], bound: str, out: Path, about: str) -> None:
    """Draw the worst case at `bound` over the price in passes: one point per row and seed."""
    figure, (axes,) = charts.figure(width=charts.FULL_WIDTH * 0.75, height=3.2)
    colours = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY, GREY, BLACK)
    for number, (name, entries) in enumerate(rows.items()):
        axes.plot(
            [each.passes for each in entries], [each.card.at(bound).worst.percent for each in entries], label=name,
            linestyle="none", color=colours[number % len(colours)], marker="os^Dv<>pPX"[number % 10],
        )  # fmt: skip
    axes.set_ylim(bottom=0)
    charts.label(axes, x="price of training, in passes (traditional = 1)", y=f"worst case at {bound} (%)")
    charts.outside(figure, columns=3)
    charts.headline(figure, f"Worst-case robust accuracy at {bound} over the price of training", about)
    charts.save(figure, out, kinds=("svg", "png"))


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("runs", nargs="+", type=Path)
    cli.add_argument("--reference", type=Path, required=True, help="run whose price is 1")
    cli.add_argument("--out", type=Path, required=True, help="file name without ending")
    asked = cli.parse_args()
    write(asked.runs, asked.reference, asked.out)


def write(runs: Sequence[Path], reference: Path, out: Path, *, timed: bool = True) -> None:
    """Write table and picture of audited runs to `out` with endings; the price of `reference` is 1, `timed` or not."""
    base = RunFolder.open(reference)
    price = passes(base.recipe), seconds(base)
    entries = [entry(path, price) for path in runs]
    check(entries)
    rows: dict[str, list[Entry]] = {}
    for each in sorted(entries, key=lambda each: each.seed):
        rows.setdefault(each.name, []).append(each)
    rows = dict(sorted(rows.items(), key=lambda pair: fmean(e.passes for e in pair[1])))
    bounds = [bound for bound in entries[0].card.setting.bounds if bound != "0"]
    heads = [
        "network",
        "seeds",
        "price, passes",
        *["price, seconds"] * timed,
        "clean",
        f"FGSM {bounds[-1]}",
        f"PGD {bounds[-1]}",
    ]
    heads += [f"worst {bound}" for bound in bounds] + [f"worst {bounds[-1]} by seed (95 %)", "verdict"]
    table = [columns(each, bounds, timed) for each in rows.values()]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_name(f"{out.name}.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heads, *table])
    card = entries[0].card
    about = f"{card.data.name}, {card.data.images:,} test images, audit preset {card.setting.preset}, a point per seed"
    lines = [f"Means over seeds in percent; {about.removesuffix(', a point per seed')}.", ""]
    lines += ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *table)]
    out.with_name(f"{out.name}.md").write_text("\n".join(lines) + "\n")
    draw(rows, bounds[-1], out, about)
    print(json.dumps({"written": str(out), "rows": len(table)}))


if __name__ == "__main__":
    main()
