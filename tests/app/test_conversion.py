"""`hiresnn analyze conversion` on a run: settings, files, images, and what it refuses."""

import csv
import io
import json

import pytest

from hiresnn.app.analyze import conversion
from hiresnn.app.recipe import override
from hiresnn.app.train import train
from hiresnn.errors import RecipeError, RunError
from hiresnn.progress import Progress

QUIET = Progress(quiet=True)


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    changes = {
        "method": "converted", "ann.epochs": "3", "data.holdout_images": "40", "ann.activation": "qcfs",
        "ann.levels": "4", "conversion.rescale": "true", "conversion.start": "0.5", "conversion.threshold_scale": "1.0",
        "conversion.wait": "true",
    }  # fmt: skip
    return train(override(tiny, changes), out=tmp_path_factory.mktemp("runs") / "run", progress=QUIET)


def of(result, timesteps, scale=1.0, images="clean"):
    (row,) = (
        row
        for row in result["conversion"]
        if (row["timesteps"], row["threshold_scale"], row["images"]) == (timesteps, scale, images)
    )
    return row


def test_every_t_and_scale_is_measured_on_held_out_images_and_written(run):
    result = conversion(run, timesteps=[1, 4], scales=[1.0, 0.5], limit=30, progress=QUIET)
    assert (result["images"], result["split"], result["timesteps"], result["threshold_scale"]) == (30, "held-out", 4, 1)
    settings = [(row["timesteps"], row["threshold_scale"]) for row in result["conversion"]]
    assert settings == [(4, 1.0), (1, 1.0), (1, 0.5), (4, 0.5)]  # the recipe's own first
    assert json.loads((run / "analysis-conversion.json").read_text()) == result
    rows = list(csv.DictReader(io.StringIO((run / "analysis-conversion.csv").read_text())))
    assert len(rows) == 4 * (5 + 2)
    assert [row["layer"] for row in rows[:7]] == ["relu1", "relu2", "relu3", "relu4", "relu5", "ANN", "SNN"]
    assert float(rows[0]["error"]) == pytest.approx(of(result, 4)["layers"]["relu1"]["error"], rel=1e-5, abs=1e-9)


def test_a_network_that_waits_loses_nothing_at_the_levels_of_its_ann_and_something_elsewhere(run):
    result = conversion(run, progress=QUIET)
    assert [row["timesteps"] for row in result["conversion"]] == [4, 2, 8, 16]
    assert result["images"] == 40
    own = of(result, 4)
    assert own["snn"] == own["ann"]
    assert all(layer["error"] < 0.05 and layer["clipped"] == 0 for layer in own["layers"].values())
    assert min(layer["error"] for layer in of(result, 2)["layers"].values()) > 0.05


def test_attacked_images_are_those_of_an_attack_on_the_ann(run):
    result = conversion(run, timesteps=[4], attacks=["fgsm"], progress=QUIET)
    attacked = of(result, 4, images="fgsm:eps=32/255")
    assert attacked["ann"] < of(result, 4)["ann"]


def test_a_run_without_its_ann_or_with_a_wrong_value_is_refused(run, tmp_path):
    with pytest.raises(RecipeError, match=r"snn\.timesteps"):
        conversion(run, timesteps=[0], progress=QUIET)
    copied = tmp_path / "run"
    copied.mkdir()
    for file in run.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    with pytest.raises(RunError, match="ann"):
        conversion(copied, progress=QUIET)
