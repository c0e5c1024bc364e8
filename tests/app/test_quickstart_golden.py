"""The numbers of the quickstart's table: the row of HIRE-SNN, without its twin."""

from pathlib import Path

import pytest

from hiresnn.app.evaluate import evaluate
from hiresnn.app.recipe import override, read
from hiresnn.app.train import train
from hiresnn.progress import Progress

GOLDEN = {"fgsm:eps=32/255": 71.3, "pgd:eps=32/255,iterations=7": 49.0, "pgd:eps=16/255,iterations=7": 85.9}
CLEAN = 98.9
TOLERANCE = {"clean": 1.5, "attacked": 8.0}
"""In percentage points. Floating-point rounding differs between CPUs and grows over 10 epochs of training."""


@pytest.mark.slow
def test_the_row_of_hire_in_the_quickstart_keeps_its_numbers(tmp_path: Path) -> None:
    quiet = Progress(quiet=True)
    run = train(override(read("digits"), {"compile": "never"}), out=tmp_path / "hire-seed0", progress=quiet)
    result = evaluate(run, progress=quiet)
    assert result["images"] == 355
    assert result["clean"] == pytest.approx(CLEAN, abs=TOLERANCE["clean"])
    assert list(result["attacks"]) == list(GOLDEN)
    for label, expected in GOLDEN.items():
        assert result["attacks"][label]["white_box"] == pytest.approx(expected, abs=TOLERANCE["attacked"]), label
