"""The quickstart trains four networks, each with a twin, and prints one table."""

from pathlib import Path

import pytest

from hiresnn.app import quickstart as module
from hiresnn.app.quickstart import quickstart, render
from hiresnn.app.recipe import Recipe, override


@pytest.fixture
def tiny_digits(tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    changes = {"snn.epochs": "1", "attack.iterations": "1", "attack.extra_eps": "[]"}
    monkeypatch.setattr(module, "read", lambda name: override(tiny, changes))
    return tiny


def test_it_trains_each_network_once_and_a_second_time_not_at_all(tiny_digits: Recipe, tmp_path: Path, heard) -> None:
    text = quickstart(tmp_path, seed=0, progress=heard)
    runs = [f"{method}-seed0{twin}" for method in ("ann", "traditional", "hire", "robust") for twin in ("", "-twin")]
    assert {entry.name for entry in tmp_path.iterdir()} == {*runs, "ann"}
    trainings = [line.partition(":")[0] for line in heard.lines if "training" in line]
    assert sorted(trainings) == ["ANN training"] * 2 + ["SNN training"] * 4  # a robust one is not trained
    for heading in (
        "355 test images, seed 0",
        "clean",
        "fgsm",
        "pgd",
        "white box",
        "black box",
        "traditional",
        "hire",
        "robust",
    ):
        assert heading in " ".join(text.split())
    heard.lines.clear()
    assert quickstart(tmp_path, seed=0, progress=heard) == text
    assert not any("training" in line for line in heard.lines)


@pytest.mark.parametrize(("method", "ann_seed"), [("hire", 0), ("ann", 1000), ("converted", 1000)])
def test_the_twin_of_a_trained_snn_starts_from_the_same_ann_and_others_from_their_own(
    tiny: Recipe, method: str, ann_seed: int
) -> None:
    twin = module._twin_recipe(override(tiny, {"method": method}))
    assert (twin.seed, twin.ann_seed, twin.method) == (1000, ann_seed, method)


def test_another_seed_has_folders_of_its_own(
    tiny_digits: Recipe, tmp_path: Path, heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", {"ann": ("digits", "ann")})
    for seed in (0, 1):
        assert f"seed {seed}" in quickstart(tmp_path, seed=seed, progress=heard)
    expected = {f"ann-seed{seed}{twin}" for seed in (0, 1) for twin in ("", "-twin")}
    assert {entry.name for entry in tmp_path.iterdir()} == expected | {"ann"}


def test_an_attack_that_only_one_run_has_is_left_out_of_the_table() -> None:
    both = {"white_box": 25.0, "black_box": 50.0}
    results: dict[str, Any] = {
        name: {"seed": 0, "images": 4, "clean": 75.0, "attacks": {"fgsm": both}} for name in ("ann", "hire")
    }
    before = render(results)
    results["ann"]["attacks"] = {"noise": {"white_box": 1.0}, "fgsm": both}
    results["hire"]["attacks"] = {"fgsm": both, "pgd": {"white_box": 2.0}}
    assert render(results) == before


def test_the_table_has_a_row_a_method_and_a_column_an_attack_and_box() -> None:
    def result(clean: float, white: float, black: float) -> dict[str, object]:
        return {"clean": clean, "attacks": {"pgd": {"white_box": white, "black_box": black}}, "images": 1234, "seed": 3}

    lines = render({"ann": result(98.04, 1.0, 22.22), "hire": result(97.0, 33.3, 44.4)}).splitlines()
    rows = [line.replace("│", " ").split() for line in lines]
    assert ["ann", "98.0", "1.0", "22.2"] in rows
    assert ["hire", "97.0", "33.3", "44.4"] in rows
    words = " ".join(" ".join(lines).split())
    assert "Accuracy in percent on 1,234 test images, seed 3" in words
    assert "the twin of an SNN that is trained starts from the same ANN" in words
