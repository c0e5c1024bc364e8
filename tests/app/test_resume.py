"""A run that is killed twice, anywhere, ends with the bits of one that was never interrupted."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from hiresnn.app.folder import METRICS, MODEL, RunFolder
from hiresnn.app.recipe import dump, override

from ..forked import Forked, hiresnn

LONG = {"ann.epochs": "60", "ann.lr": "0.01", "snn.epochs": "15", "method": "hire", "noise.bound": "0.12"}


def start(recipe, out, *options):
    return Forked(hiresnn("train", str(recipe), "--out", str(out), "--quiet", *options))


def epochs(log):
    return len(log.read_text().splitlines()) if log is not None and log.is_file() else 0


def kill(process, folder, log, after):
    """SIGKILL some moments after `log`, a pattern in `folder`, holds `after` epochs."""
    while epochs(next(folder.glob(log), None)) < after:
        assert process.poll() is None, process.wait()
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.05))
    process.kill()
    assert process.wait()[0] == -signal.SIGKILL


def timeless(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of Unix")
def test_a_run_killed_in_the_ann_and_in_the_snn_phase_ends_with_the_same_bits(tiny, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(dump(override(tiny, LONG)))
    whole, killed = tmp_path / "whole" / "run", tmp_path / "killed" / "run"
    uninterrupted = start(recipe, whole)

    kill(start(recipe, killed), killed.parent, f"ann/*/{METRICS}", after=random.randint(1, 20))
    assert not list(killed.parent.glob(f"ann/*/{MODEL}")), "killed after the ANN"
    kill(start(recipe, killed, "--resume"), killed, METRICS, after=random.randint(1, 5))
    assert not (killed / MODEL).exists(), "killed after the SNN"
    resumed = start(recipe, killed, "--resume")
    for process in (uninterrupted, resumed):
        code, _, errors = process.wait()
        assert (errors, code) == ("", 0)

    (ann,) = (path.relative_to(whole.parent) for path in whole.parent.glob("ann/*"))
    for folder in (Path("run"), ann):
        first, second = whole.parent / folder, killed.parent / folder
        assert first.joinpath(MODEL).read_bytes() == second.joinpath(MODEL).read_bytes(), folder
        assert timeless(first / METRICS) == timeless(second / METRICS), folder
    assert RunFolder.open(whole).read_json("result.json") == RunFolder.open(killed).read_json("result.json")
