"""The quickstart trains four networks, each with a twin, and prints one table."""

from typing import Any

import pytest

from hiresnn.app import quickstart as module
from hiresnn.app.evaluate import evaluate
from hiresnn.app.quickstart import quickstart, render
from hiresnn.app.recipe import override, read
from hiresnn.app.train import train
from hiresnn.progress import Progress

GOLDEN = {"fgsm:eps=32/255": 71.3, "pgd:eps=32/255,iterations=7": 49.0, "pgd:eps=16/255,iterations=7": 85.9}


def test_it_trains_each_network_once_and_a_second_time_not_at_all(tiny, monkeypatch, tmp_path, heard):
    changes = {"snn.epochs": "1", "attack.iterations": "1", "attack.extra_eps": "[]"}
    monkeypatch.setattr(module, "read", lambda name: override(tiny, changes))
    text = quickstart(tmp_path, seed=1, progress=heard)
    rows = ("ann", "traditional", "hire", "robust")
    assert {entry.name for entry in tmp_path.iterdir()} == {
        "ann", *(f"{row}-seed1{twin}" for row in rows for twin in ("", "-twin"))
    }  # fmt: skip
    trainings = [line.partition(":")[0] for line in heard.lines if "training" in line]
    assert sorted(trainings) == ["ANN training"] * 2 + ["SNN training"] * 4  # a robust one is not trained
    for heading in ("355 test images, seed 1", "clean", "fgsm", "pgd", "white box", "black box", *rows):
        assert heading in " ".join(text.split())
    heard.lines.clear()
    assert quickstart(tmp_path, seed=1, progress=heard) == text
    assert not any("training" in line for line in heard.lines)


@pytest.mark.parametrize(("method", "ann_seed"), [("hire", 0), ("ann", 1000), ("converted", 1000)])
def test_the_twin_of_a_trained_snn_starts_from_the_same_ann_and_others_from_their_own(tiny, method, ann_seed):
    twin = module.twin_recipe(override(tiny, {"method": method}))
    assert (twin.seed, twin.ann_seed, twin.method) == (1000, ann_seed, method)


def test_the_table_has_a_row_a_method_and_a_column_an_attack_and_box():
    def result(clean, white, black, **more):
        attacks = {"pgd": {"white_box": white, "black_box": black}, **more}
        return {"clean": clean, "attacks": attacks, "images": 1234, "seed": 3}

    text = render({"ann": result(98.04, 1.0, 22.22), "hire": result(97.0, 33.3, 44.4)})
    rows = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["ann", "98.0", "1.0", "22.2"] in rows
    assert ["hire", "97.0", "33.3", "44.4"] in rows
    words = " ".join(text.split())
    assert "Accuracy in percent on 1,234 test images, seed 3" in words
    assert "the twin of an SNN that is trained starts from the same ANN" in words
    # An attack that only one run has, or has without a twin, is left out.
    more: dict[str, Any] = {"noise": {"white_box": 1.0}, "fgsm": {"white_box": 1.0, "black_box": 2.0}}
    assert render({"ann": result(98.04, 1.0, 22.22, **more), "hire": result(97.0, 33.3, 44.4)}) == text


@pytest.mark.slow
def test_the_row_of_hire_in_the_quickstart_keeps_its_numbers(tmp_path):
    quiet = Progress(quiet=True)
    run = train(override(read("digits"), {"compile": "never"}), out=tmp_path / "hire-seed0", progress=quiet)
    result = evaluate(run, progress=quiet)
    assert result["images"] == 355
    # In percentage points: rounding of floating-point numbers differs between CPUs and grows over 10 epochs.
    assert result["clean"] == pytest.approx(98.9, abs=1.5)
    assert list(result["attacks"]) == list(GOLDEN)
    for label, expected in GOLDEN.items():
        assert result["attacks"][label]["white_box"] == pytest.approx(expected, abs=8.0), label
