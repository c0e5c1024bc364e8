"""Train, audit and compare the rows of a file: one command for one table and one picture of docs/robust.md.

    python benchmarks/robust_compare.py results/robust/digits.toml --runs runs/robust-digits

The file has the setting of all audits (eps, bounds, images, preset, seeds), the row whose price is 1, and the rows: a
recipe, a method and further values for each, and seeds of its own if a row has fewer. Runs are RUNS/ROW-seedS and share
their ANNs. The card of an audit is kept, without its pictures, as CARDS/ROW-seedS.json beside the file, where CARDS is
the file's `cards`. A network that has one there is not trained again: an interrupted comparison continues, a new row
costs only itself, and whoever changes a row deletes its cards. Writes what `robust_table.py` says, beside the file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import checkout  # noqa: F401
from robust_table import Entry, write

from hiresnn.app.audit import audit
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.app.train import train, training_cost
from hiresnn.audit import AuditConfig, Card
from hiresnn.audit.card import read_card
from hiresnn.audit.run import CARD
from hiresnn.process import keep_memory
from hiresnn.progress import Progress

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def recipe_of(row: dict[str, Any], seed: int) -> Recipe:
    """Return the recipe of a row with one seed."""
    values = {key: json.dumps(value) for key, value in row.items() if key not in ("recipe", "seeds")}
    return override(read(row["recipe"]), {**values, "seed": f"{seed}"})


def card_of(recipe: Recipe, run: Path, kept: Path, setting: dict[str, Any]) -> Card:
    """Return the card of a network, which is trained and audited unless the card is there."""
    if not kept.is_file():
        progress = Progress(quiet=True)
        train(recipe, out=run, resume=True, progress=progress)
        if not (run / "audit" / CARD).is_file():
            config = AuditConfig(preset=setting["preset"], bounds=tuple(setting["bounds"]))
            audit(str(run), config, images=setting["images"], eps=setting["eps"], progress=progress)
        card = read_card(run / "audit" / CARD)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(card.model_copy(update={"gallery": []}).model_dump_json(indent=2) + "\n", encoding="utf-8")
        print(f"finished {run}", flush=True)
    return read_card(kept)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("rows", type=Path, help="a TOML file")
    cli.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    cli.add_argument("--data", help="the data set, if not that of the recipes")
    asked = cli.parse_args()
    keep_memory()
    setting = tomllib.loads(asked.rows.read_text(encoding="utf-8"))
    rows = {name: {**setting.get("all", {}), **row} for name, row in setting["rows"].items()}
    unit = training_cost(recipe_of(rows[setting["reference"]], setting["seeds"][0]))
    entries = []
    for seed in setting["seeds"]:
        for name, row in rows.items():
            if seed not in row.get("seeds", setting["seeds"]):
                continue
            recipe, run = recipe_of(row, seed), f"{name}-seed{seed}"
            price = training_cost(recipe)
            if unit is None or price is None:
                sys.exit(f"The price of {run} is unknown, because data.train_images is 0; set it.")
            if asked.data:
                recipe = override(recipe, {"data.source": f'"{asked.data}"'})
            card = card_of(recipe, asked.runs / run, asked.rows.parent / setting["cards"] / f"{run}.json", setting)
            entries.append(Entry(name, seed, card, price / unit))
    write(entries, asked.rows.with_suffix(""))


if __name__ == "__main__":
    main()
