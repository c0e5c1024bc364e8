"""The table and the picture of `robust_compare.py`: audited networks, and the price of their training.

Networks that differ only in their seed make one row. The price is what the training took, the ANN and its measurements
under attack included, in passes (`hiresnn.app.train`), divided by the price of the reference.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from hiresnn.audit import Card
from hiresnn.errors import RunError
from hiresnn.report.charts import BLACK, GREY, SKY, VERMILLION
from reproduction import figures as charts


@dataclass(frozen=True)
class Entry:
    """One audited run, with its price relative to that of the reference."""

    name: str
    seed: int
    card: Card
    price: float


def check(entries: Sequence[Entry]) -> None:
    """Refuse cards that cannot stand in one table."""
    settings = {(tuple(e.card.setting.bounds), e.card.setting.preset, e.card.data.images) for e in entries}
    if len(settings) > 1:
        raise RunError(f"the cards differ in bounds, preset or images: {sorted(settings)}; audit all runs alike.")


def columns(entries: Sequence[Entry], bounds: Sequence[str]) -> list[str]:
    """Return the cells of one row: means over seeds, and the seeds' worst case at the largest bound."""
    last = bounds[-1]

    def mean(values: Sequence[float]) -> str:
        return f"{fmean(values):.1f}"

    points = {bound: [each.card.at(bound) for each in entries] for bound in bounds}
    cells = [entries[0].name, f"{len(entries)}", f"{fmean(e.price for e in entries):.2f}"]
    cells.append(mean([each.card.clean.percent for each in entries]))
    cells += [mean([point.fgsm.percent for point in points[last]]), mean([point.pgd.percent for point in points[last]])]
    cells += [mean([point.worst.percent for point in points[bound]]) for bound in bounds]
    cells.append(", ".join(f"{p.worst.percent:.1f} ({p.worst.low:.1f}-{p.worst.high:.1f})" for p in points[last]))
    cells.append(", ".join(dict.fromkeys(each.card.conclusion.verdict for each in entries)))
    return cells


def draw(rows: dict[str, list[Entry]], bound: str, out: Path, about: str) -> None:
    """Draw a line per row, the most robust on top: the worst case and PGD with the own rule per seed, and the price."""
    names = sorted(rows, key=lambda name: fmean(each.card.at(bound).worst.percent for each in rows[name]))
    places = range(len(names))
    figure, (left, right) = charts.figure(
        columns=2, width=charts.FULL_WIDTH, height=1.2 + 0.17 * len(names), share_y=True, widths=(3, 1)
    )
    points = [(place, each) for place, name in zip(places, names, strict=True) for each in rows[name]]
    heights = [place for place, _ in points]
    pgd = [each.card.at(bound).pgd.percent for _, each in points]
    left.plot(pgd, heights, "|", color=GREY, markersize=7, label="PGD with the network's own surrogate gradient")
    worst = [each.card.at(bound).worst.percent for _, each in points]
    left.plot(worst, heights, "o", color=VERMILLION, markersize=4, label="worst case of the audit")
    left.set_xlim(0, 100)
    left.set_yticks(places, names)
    left.set_ylim(-0.7, len(names) - 0.3)
    right.barh(places, [rows[name][0].price for name in names], color=SKY, height=0.6)
    right.axvline(1, color=BLACK, linewidth=0.8)
    charts.label(left, x=f"accuracy at {bound} (%), a mark per seed", y="")
    charts.label(right, x="price (traditional = 1)", y="")
    charts.outside(figure, columns=2)
    charts.headline(figure, f"Robust accuracy at {bound}, and the price of training in passes", about)
    charts.save(figure, out, kinds=("svg", "png"))


def write(entries: Sequence[Entry], out: Path) -> None:
    """Write OUT.md, OUT.csv and the picture OUT.svg and .png."""
    check(entries)
    rows: dict[str, list[Entry]] = {}
    for each in sorted(entries, key=lambda each: each.seed):
        rows.setdefault(each.name, []).append(each)
    rows = dict(sorted(rows.items(), key=lambda pair: fmean(e.price for e in pair[1])))
    bounds = [bound for bound in entries[0].card.setting.bounds if bound != "0"]
    heads = ["network", "seeds", "price", "clean", f"FGSM {bounds[-1]}", f"PGD {bounds[-1]}"]
    heads += [f"worst {bound}" for bound in bounds] + [f"worst {bounds[-1]} by seed (95 %)", "verdict"]
    table = [columns(each, bounds) for each in rows.values()]
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_name(f"{out.name}.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heads, *table])
    card = entries[0].card
    about = f"{card.data.name}, {card.data.images:,} test images, audit preset {card.setting.preset}"
    lines = [f"Means over seeds in percent; {about}.", ""]
    lines += ["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *table)]
    out.with_name(f"{out.name}.md").write_text("\n".join(lines) + "\n")
    draw(rows, bounds[-1], out, about)
