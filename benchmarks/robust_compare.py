"""Train, audit and compare the rows of a file: one command for one table and one picture of docs/robust.md.

    python benchmarks/robust_compare.py results/robust/digits.toml --runs runs/robust-digits

The file has the setting of all audits (eps, bounds, images, preset, seeds), the row whose price is 1, whether seconds
are shown (on a busy machine they mean nothing), and the rows: a recipe, a method and further values for each, and seeds
of its own if a row has fewer. Runs are RUNS/ROW-seedS and share their ANNs; finished trainings and
audits are used again, so an interrupted comparison continues. Writes what `robust_table.py` writes, beside the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import robust_table

from hiresnn.audit import AuditConfig
from hiresnn.process import keep_memory
from hiresnn.progress import Progress
from hiresnn.runs.audit import CARD, AuditRequest, audit
from hiresnn.runs.recipe import override, read
from hiresnn.runs.train import train

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def run(row: dict[str, Any], seed: int, folder: Path, setting: dict[str, Any]) -> None:
    """Train and audit one row with one seed, unless that has been done."""
    values = {key: f"{value}" for key, value in row.items() if key not in ("recipe", "seeds")}
    recipe = override(read(row["recipe"]), {**values, "seed": f"{seed}"})
    progress = Progress(quiet=True)
    train(recipe, out=folder, resume=True, progress=progress)
    if (folder / "audit" / CARD).is_file():
        return
    config = AuditConfig(preset=setting["preset"], bounds=tuple(setting["bounds"]))
    audit(AuditRequest(str(folder), config, images=setting["images"], eps=setting["eps"]), progress=progress)


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("rows", type=Path, help="a TOML file")
    cli.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    cli.add_argument("--data", help="the data set, if not that of the recipes")
    asked = cli.parse_args()
    keep_memory()
    setting = tomllib.loads(asked.rows.read_text(encoding="utf-8"))
    folders = []
    for seed in setting["seeds"]:
        for name, row in setting["rows"].items():
            if seed not in row.get("seeds", setting["seeds"]):
                continue
            values = {**setting.get("all", {}), **row}
            if asked.data:
                values["data.source"] = f'"{asked.data}"'
            folder = asked.runs / f"{name}-seed{seed}"
            run(values, seed, folder, setting)
            folders.append(folder)
            print(f"finished {folder}", flush=True)
    reference = asked.runs / f"{setting['reference']}-seed{setting['seeds'][0]}"
    robust_table.write(folders, reference, asked.rows.with_suffix(""), timed=setting.get("seconds", True))


if __name__ == "__main__":
    main()
