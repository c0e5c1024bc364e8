"""The recipe keys of robust training: adversarial ANN, averaging, selection, and conversion without SNN training."""

import json
from pathlib import Path

import pytest
import torch

from hiresnn.app.folder import METRICS, MODEL, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.recipe import override
from hiresnn.app.train import train
from hiresnn.models import QCFS
from hiresnn.training import Selection

ROBUST = {
    "method": "converted",
    "data.holdout_images": "60",
    "model.batch_norm": "true",
    "ann.epochs": "4",
    "ann.training": "n-fgsm",
    "ann.eps": "16/255",
    "ann.schedule": "cyclic",
    "ann.label_smoothing": "0.1",
    "ann.average": "0.9",
    "ann.craft_loss": "margin",
    "ann.select": "robust",
    "conversion.threshold_scale": "1.0",
    "conversion.start": "0.5",
    "conversion.rescale": "true",
}


@pytest.fixture
def robust(tiny):
    return override(tiny, ROBUST)


def rows(folder):
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def the_ann(run):
    (folder,) = (run.parent / "ann").iterdir()
    return folder


def test_a_robust_run_logs_held_out_accuracies_and_is_the_converted_ann(robust, tmp_path, heard):
    out = train(robust, out=tmp_path / "run", progress=heard)
    logged = rows(the_ann(out))
    assert len(logged) == 4
    assert all(set(row["held_out"]) == {"clean", "fgsm", "pgd"} for row in logged)
    assert [row["lr"] for row in logged] == pytest.approx([0.05 * x for x in (0.3125, 0.9375, 0.625, 0.625 / 3)])
    network, ann = load(out / MODEL), load(the_ann(out) / MODEL)
    assert {lif.v_init for lif in network.neurons.values()} == {0.5}
    norm, convolution = ann.get_submodule("norm1"), ann.get_submodule("conv1")
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = dict(network.layers.named_parameters())["conv1.weight"]
    torch.testing.assert_close(folded, convolution.weight * scale.view(-1, 1, 1, 1))
    assert not RunFolder.open(out).has("resume.pt")


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_robust_ann_that_is_interrupted_ends_with_the_same_bits(robust, tmp_path, heard, stopped_after):
    whole = train(robust, out=tmp_path / "whole" / "run", progress=heard)
    (tmp_path / "mine.py").write_text(
        f"def stop(row):\n    if row['epoch'] == {stopped_after + 1}:\n        raise KeyboardInterrupt\n"
    )
    out = tmp_path / "killed" / "run"
    with pytest.raises(KeyboardInterrupt):
        train(robust, out=out, progress=heard, log=f"{tmp_path / 'mine.py'}:stop")
    train(robust, out=out, resume=True, progress=heard)
    for folder in (Path("run"), Path("ann") / the_ann(out).name):
        assert (whole.parent / folder / MODEL).read_bytes() == (out.parent / folder / MODEL).read_bytes()


def test_catastrophic_overfitting_is_said(robust, tmp_path, monkeypatch, heard):
    accuracies = [{"clean": 80.0, "fgsm": 60.0, "pgd": pgd} for pgd in (55.0, 12.5, 50.0, 51.0)]
    monkeypatch.setattr(Selection, "measure", lambda self, network: accuracies.pop(0))
    out = train(robust, out=tmp_path / "run", progress=heard)
    (line,) = (line for line in heard.lines if "catastrophic overfitting" in line)
    assert "epoch 2" in line
    assert "PGD-10 12.5 %" in line
    assert "continues from epoch 1" in line
    assert [row.get("back_to_epoch") for row in rows(the_ann(out))] == [None, 1, None, None]


def test_a_quantised_ann_hands_its_thresholds_to_the_network(robust, tmp_path, heard):
    changes = {"ann.activation": "qcfs", "ann.levels": "4", "conversion.wait": "true", "ann.select": "last"}
    out = train(override(robust, changes), out=tmp_path / "run", progress=heard)
    network, ann = load(out / MODEL), load(the_ann(out) / MODEL)
    learned = {name: layer.threshold for name, layer in ann.named_modules() if isinstance(layer, QCFS)}
    assert learned.keys() == network.neurons.keys()
    assert all(lif.wait and lif.threshold == learned[name] for name, lif in network.neurons.items())
    assert len({threshold.item() for threshold in learned.values()}) == 5  # each has been trained
    images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        same = torch.isclose(network(images) / 4, ann(images), rtol=1e-3, atol=1e-3).all(1)
    assert same.float().mean() >= 0.9


def test_a_network_with_a_teacher_and_an_average_that_is_interrupted_ends_with_the_same_bits(
    tiny, tmp_path, stopping, heard
):
    changes = {"method": "nfgsm", "ann.epochs": "1", "snn.epochs": "2", "noise.step": "16/255"}
    recipe = override(tiny, {**changes, "snn.distil": "0.7", "snn.average": "0.9"})
    whole = train(recipe, out=tmp_path / "whole", progress=heard)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, out=tmp_path / "killed", progress=heard, log=stopping)
    train(recipe, out=tmp_path / "killed", resume=True, progress=heard)
    assert (whole / MODEL).read_bytes() == (tmp_path / "killed" / MODEL).read_bytes()
    assert [row["epoch"] for row in rows(tmp_path / "killed")] == [1, 2]


def test_a_distilled_network_stays_closer_to_its_ann(tiny, tmp_path, heard):
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    distances = []
    for distil in ("0.0", "1.0"):
        recipe = override(
            tiny, {"snn.distil": distil, "conversion.rescale": "true", "conversion.threshold_scale": "1.0"}
        )
        out = train(recipe, out=tmp_path / distil, progress=heard)
        with torch.no_grad():
            ann, network = load(the_ann(out) / MODEL)(images), load(out / MODEL)(images)
        distances.append((network / 4 - ann).norm().item())
    assert distances[1] < distances[0]
