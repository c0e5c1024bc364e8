"""Analyses of a run folder: what they measure, what they write, what they refuse."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hiresnn import data
from hiresnn.errors import RunError, UsageError
from hiresnn.models import build
from hiresnn.network import Encoding, convert
from hiresnn.progress import Progress
from hiresnn.runs import analyze
from hiresnn.runs.checkpoint import save
from hiresnn.runs.folder import MODEL, RunFolder
from hiresnn.runs.recipe import override, read

QUIET = Progress(quiet=True)


def made(path: Path, encoding: Encoding = "direct", *, spiking: bool = True) -> Path:
    torch.manual_seed(0)
    recipe = override(read("digits"), {"attack.iterations": "2", "attack.eps": "16/255"})
    ann = build("vgg5", 10, in_channels=1, image_size=8, width=0.05, hidden=8)
    images = data.load("digits").train.images[:64] / 255
    with RunFolder.create(path, recipe):
        save(convert(ann, images, timesteps=3, encoding=encoding) if spiking else ann, path / MODEL)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return made(tmp_path / "run")


def test_activity_is_measured_clean_and_under_each_attack_and_kept(run: Path) -> None:
    result = analyze.activity(run, attacks=["fgsm"], limit=20, progress=QUIET)
    assert (result["images"], result["timesteps"]) == (20, 3)
    assert list(result["activity"]) == ["clean", "fgsm:eps=16/255"]
    clean = result["activity"]["clean"]
    assert list(clean["layers"]) == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    spikes = sum(layer["spikes"] for layer in clean["layers"].values())
    assert clean["total"]["tasa"] == pytest.approx(spikes / clean["total"]["neurons"] / 3)
    assert clean != result["activity"]["fgsm:eps=16/255"]
    assert RunFolder.open(run).read_json("analysis-activity.json") == result


def test_batches_do_not_change_what_is_measured(run: Path) -> None:
    whole = analyze.activity(run, limit=20, progress=QUIET)
    assert analyze.activity(run, limit=20, batch_size=7, progress=QUIET) == whole


def test_distance_takes_the_recipes_pgd_where_no_attack_is_named(run: Path) -> None:
    result = analyze.distance(run, limit=20, progress=QUIET)
    assert list(result["distance"]) == ["pgd:eps=16/255,iterations=2"]
    image = result["distance"]["pgd:eps=16/255,iterations=2"]["images"]
    assert 0 < image["mean"] <= image["max"] <= 8 * 16 / 255 + 1e-6  # sqrt(64 pixels) * eps
    assert RunFolder.open(run).read_json("analysis-distance.json") == result


def test_an_attack_of_no_strength_is_at_distance_zero_even_with_random_spikes(tmp_path: Path) -> None:
    rate = made(tmp_path / "rate", "poisson")
    found = analyze.distance(rate, attacks=["fgsm:eps=0"], limit=20, progress=QUIET)["distance"]["fgsm:eps=0"]
    assert found["images"]["max"] == 0
    assert [layer["max"] for layer in found["layers"].values()] == [0] * 5


def test_energy_holds_layers_totals_and_memory(run: Path) -> None:
    result = analyze.energy(run, limit=20, progress=QUIET)
    entry: dict[str, Any] = result["energy"]["clean"]
    assert entry["label"] == "estimated arithmetic energy, 45 nm"
    assert entry["quantised_bits"] == 2
    for prices in ("fp32", "int32"):
        assert entry["pj"][prices]["snn"] == pytest.approx(sum(layer["pj"][prices] for layer in entry["layers"]))
    assert entry["memory"]["snn"]["off_chip_pj"] > entry["memory"]["snn"]["on_chip_pj"]
    assert RunFolder.open(run).read_json("analysis-energy.json") == result


def test_what_is_no_spiking_run_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds an ANN, which does not spike; name a run of another method"):
        analyze.energy(made(tmp_path / "ann", spiking=False), progress=QUIET)
    with pytest.raises(RunError, match="does not exist"):
        analyze.activity(tmp_path / "nothing", progress=QUIET)
    (run / MODEL).unlink()
    with pytest.raises(RunError, match=r"has no model\.safetensors"):
        analyze.distance(run, progress=QUIET)


def test_an_unknown_attack_is_refused_and_writes_nothing(run: Path) -> None:
    with pytest.raises(UsageError, match="'pdg' is not known"):
        analyze.distance(run, attacks=["pdg"], progress=QUIET)
    assert not (run / "analysis-distance.json").exists()
