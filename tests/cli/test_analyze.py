"""`hiresnn analyze`: options reach the analysis, its result becomes tables."""

from pathlib import Path
from typing import Any

from .commands import plain, rows, run, stand_in

HEAD = {"images": 100, "seed": 0, "timesteps": 6}


def analysed(monkeypatch, analysis, measured, *arguments):
    """Run the command with this result, and return the options that reached the analysis."""
    asked: dict[str, Any] = {}

    def analyse(target, **options):
        asked.update(options, target=target)
        return {"analysis": analysis, **HEAD, analysis: measured}

    stand_in(monkeypatch, "hiresnn.app.analyze", **{analysis: analyse})
    assert run("analyze", analysis, "runs/a", *arguments) == 0
    del asked["progress"]
    return asked


def entry(spikes):
    layer = {"neurons": 50, "spikes": spikes, "sa": spikes / 50, "tasa": spikes / 300}
    return {"layers": {"relu1": layer}, "total": layer}


def test_options_reach_the_analysis(monkeypatch):
    options = "--attack fgsm --attack pgd:eps=2/255 --limit 100 --batch 50 --data a.npz"
    assert analysed(monkeypatch, "activity", {"clean": entry(1.0)}, *options.split(), "--out", "found") == {
        **{"attacks": ["fgsm", "pgd:eps=2/255"], "limit": 100, "batch_size": 50, "source": "a.npz"},
        **{"out": Path("found"), "target": "runs/a"},
    }


def test_activity_has_a_row_a_layer_and_three_columns_a_condition(monkeypatch, capsys):
    analysed(monkeypatch, "activity", {"clean": entry(60.0), "pgd": entry(75.0)})
    text = capsys.readouterr().out
    assert "Spiking activity on 100 images, T = 6" in plain(text)
    assert rows(text) == [
        ["relu1", "50", "60.0", "1.200", "0.200", "75.0", "1.500", "0.250"],
        ["total", "50", "60.0", "1.200", "0.200", "75.0", "1.500", "0.250"],
    ]


def test_distance_has_the_image_first(monkeypatch, capsys):
    measured = {"pgd": {"images": {"mean": 0.75}, "layers": {"relu1": {"mean": 1.25}}}}
    analysed(monkeypatch, "distance", measured)
    assert rows(capsys.readouterr().out) == [["image", "0.750"], ["relu1", "1.250"]]


def test_energy_shows_operations_and_totals(monkeypatch, capsys):
    layer = {
        "name": "conv1", "inputs": "image", "dense": 72, "activity": 1.0, "flops_snn": 98_029.0, "macs": 1_234_567.0,
        "acs": 0.0, "multiplications": 950.0, "pj": {"fp32": 5_000.0, "int32": 1.0},
    }  # fmt: skip
    keys = ("snn_printed", "ann_printed", "snn", "ann", "quantised_ann")
    pj = {prices: {key: 1000.0 * n for n, key in enumerate(keys, start=first)} for prices, first in
          (("fp32", 1), ("int32", 11))}  # fmt: skip
    memory = {"on_chip_pj": 2000.0, "off_chip_pj": 3000.0}
    measured = {
        "label": "estimated arithmetic energy, 45 nm", "layers": [layer], "pj": pj, "quantised_bits": 3,
        "parameters": 1000, "state_bytes": 52, "memory": {"snn": memory, "ann": memory},
    }  # fmt: skip
    analysed(monkeypatch, "energy", {"clean": measured})
    text = capsys.readouterr().out
    assert "Estimated arithmetic energy, 45 nm, nJ for one image" in plain(text)
    assert rows(text) == [
        ["conv1", "image", "1.000", "98.03k", "1.235M", "", "950", "5.00"],
        ["SNN, printed (Eq. 7, 8)", "1.00", "11.00"],
        ["ANN, printed (Table 6)", "2.00", "12.00"],
        ["SNN, every operation", "3.00", "13.00"],
        ["ANN, every connection", "4.00", "14.00"],
        ["ANN with 3-bit activations", "5.00", "15.00"],
        ["memory, SNN, weights on chip", "2.00", "2.00"],
        ["memory, SNN, weights off chip", "3.00", "3.00"],
        ["memory, ANN, weights on chip", "2.00", "2.00"],
        ["memory, ANN, weights off chip", "3.00", "3.00"],
    ]


LAYER = {"error": 0.25, "bias": -0.1, "clipped": 0.02, "accuracy": 91.0}
SETTING = {"images": "clean", "timesteps": 8, "threshold_scale": 1.0, "ann": 95.0, "snn": 90.0}
CONVERSION = {
    "images": 50, "split": "held-out", "seed": 0, "timesteps": 8, "threshold_scale": 1.0,
    "conversion": [
        {**SETTING, "layers": {"relu1": LAYER, "relu2": {**LAYER, "error": 0.5, "accuracy": 90.0}}},
        {**SETTING, "timesteps": 16, "snn": 94.0, "layers": {"relu1": LAYER, "relu2": LAYER}},
    ],
}  # fmt: skip


def test_conversion_has_a_table_of_layers_a_table_of_settings_and_a_figure(monkeypatch, capsys, tmp_path):
    asked: dict[str, Any] = {}

    def conversion(folder, **options):
        asked.update(options)
        return CONVERSION

    stand_in(monkeypatch, "hiresnn.app.analyze", conversion=conversion)
    options = ["--timesteps", "8,16", "--scales", "0.7,1", "--limit", "50"]
    assert run("analyze", "conversion", tmp_path, *options) == 0
    assert (asked["timesteps"], asked["scales"], asked["limit"]) == ([8, 16], [0.7, 1.0], 50)
    printed = rows(capsys.readouterr().out)
    assert ["ANN", "", "", "", "95.0"] in printed
    assert ["relu2", "50.0 %", "-10.0 %", "2.0 %", "90.0"] in printed
    assert ["16", "1", "25.0", "25.0", "94.0", "95.0"] in printed
    assert (tmp_path / "analysis-conversion.svg").stat().st_size > 1000
