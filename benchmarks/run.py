"""The speed of hiresnn in training, memory, attacks, data, start-up and inference, compared with other libraries.

    python benchmarks/run.py [SECTION...] [--quick] [--out results] [--run DIR] [--data SOURCE]
                                 [--keep DIR] [--before SRC]

Sections: step, profile, precision, sweep, hire, memory, attack, robust, data, startup, inference; by default all of
them. One more, precision-cpu, trains HIRE-SNN for an hour; it runs only if it is named, and needs --data cifar10.npz
(or cifar10, which is downloaded). Writes OUT/speed.json, OUT/speed.md and OUT/speed-*.svg and .png; other sections keep
their earlier figures with their own date and machine. Candidates take turns, and every ratio is of medians over the
rounds. Libraries that are not installed are left out (`make bench` installs them). Use an otherwise idle machine.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import checkout  # noqa: F401
import torch
from attack import measure_attack
from data_cost import measure_data
from dropping import measure_robust
from figures import Section, machine
from hire import measure_hire
from inference import measure_inference
from memory import measure_memory
from precision import measure_precision
from startup import measure_startup
from turns import say
from where import measure_profile
from writing import draw, keep, write_page

from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.errors import HiresnnError
from hiresnn.process import keep_memory
from training import measure_step, measure_sweep

SECTIONS: dict[str, Callable[..., Section]] = {
    "step": measure_step,
    "profile": measure_profile,
    "precision": measure_precision,
    "precision-cpu": measure_precision,
    "sweep": measure_sweep,
    "hire": measure_hire,
    "memory": measure_memory,
    "attack": measure_attack,
    "robust": measure_robust,
    "data": measure_data,
    "startup": measure_startup,
    "inference": measure_inference,
}
ON_REQUEST = ("precision-cpu",)


def measure(name: str, asked: argparse.Namespace) -> None:
    """Measure one section in this process and write it to the files."""
    say(f"{name}:")
    start = time.perf_counter()
    torch.manual_seed(0)
    keep_memory()  # for all candidates, as in `hiresnn train`
    words = ["python", "benchmarks/run.py", name, *(["--quick"] if asked.quick else [])]
    if name == "robust":
        section = measure_robust(asked.quick, asked.run)
        words += ["--run", asked.run.name] if asked.run else []
    elif name in ("step", "hire"):
        section = SECTIONS[name](asked.quick, asked.before)
        words += ["--before", asked.before.name] if asked.before else []
    elif name == "precision-cpu":
        section = measure_precision(
            asked.quick, "vgg5-cifar10-cpu", methods=("hire",), source=asked.data, folder=asked.keep
        )
        words += ["--data", Path(asked.data).name]
    else:
        section = SECTIONS[name](asked.quick)
    path = asked.out / "speed.json"
    found = {**asdict(section), "command": shlex.join(words), "quick": asked.quick, "machine": machine()}
    keep(path, name, found, SECTIONS)
    try:
        draw(path)
    except HiresnnError as error:  # without matplotlib there are no plots
        say(f"  no plots: {error}")
    write_page(path)
    say(f"  {time.perf_counter() - start:.0f} s")


def main() -> int:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("sections", nargs="*", metavar="SECTION", help=f"default all: {', '.join(SECTIONS)}")
    cli.add_argument("--quick", action="store_true", help="tiny sizes, one round: only shows that it runs")
    cli.add_argument("--out", type=Path, help="default: results; with --quick a new temporary folder")
    cli.add_argument("--run", type=Path, help="a trained traditional run, for the section robust")
    cli.add_argument("--data", help="CIFAR-10 for the section precision-cpu, as `hiresnn train --data` takes it")
    cli.add_argument("--before", type=Path, help="src folder of another version, for the sections step and hire")
    cli.add_argument("--keep", type=Path, help="folder of the runs of precision-cpu; finished ones are reused")
    asked = cli.parse_args()
    for name in asked.sections:
        if name not in SECTIONS:
            cli.error(f"there is no section {name!r}; choose from {', '.join(SECTIONS)}.")
    if asked.out is None:  # figures of --quick never replace real ones by mistake
        asked.out = Path(tempfile.mkdtemp(prefix="speed-")) if asked.quick else Path("results")
    names = asked.sections or [name for name in SECTIONS if name not in ON_REQUEST]
    if "precision-cpu" in names and not asked.data:
        cli.error("precision-cpu needs --data: cifar10, or an .npz of it.")
    try:
        if asked.run:
            RunFolder.open(asked.run).require(MODEL)  # before the measurement, not after minutes
        if len(names) == 1:
            measure(names[0], asked)
            print(asked.out / "speed.md")
            return 0
    except HiresnnError as error:
        say(str(error))
        return error.exit_code
    options = ["--out", str(asked.out), *(["--quick"] if asked.quick else [])]
    given = {"--run": asked.run, "--data": asked.data, "--keep": asked.keep, "--before": asked.before}
    options += [word for name, value in given.items() if value for word in (name, str(value))]
    # Each section has its own process, so that it does not slow the next.
    ended = {name: subprocess.run([sys.executable, __file__, name, *options], check=False).returncode for name in names}
    failed = [name for name, code in ended.items() if code]
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
