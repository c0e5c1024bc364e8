"""`evaluate`: what a run is worth under attack, in the documented shape, and what cannot be evaluated."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hiresnn import data
from hiresnn.analysis import corruption_accuracy, mean_accuracy
from hiresnn.app.evaluate import attack_of, evaluate, evaluate_corruptions, label_of, recipe_attacks
from hiresnn.app.folder import MODEL, RESULT, RunFolder
from hiresnn.app.networks import load, save
from hiresnn.app.recipe import dump, override, read
from hiresnn.app.targets import resolve_model
from hiresnn.app.train import train, training_cost
from hiresnn.attacks import ATTACKS, fgsm, parse
from hiresnn.cli.evaluate import table
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.network import record
from hiresnn.progress import Progress
from hiresnn.report.pages import read_runs

QUIET = Progress(quiet=True)


@pytest.fixture
def runs(trained, tmp_path):
    """The trained runs, to write in."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def attacked(run, **options):
    return evaluate(run, progress=QUIET, **{"attacks": ["fgsm:eps=0.1"], "limit": 40, **options})


def test_the_result_has_the_documented_shape_and_is_kept_in_the_folder(runs):
    result = attacked(runs / "run", twins=[runs / "independent", runs / "same"])
    assert result == json.loads((runs / "run" / RESULT).read_text())
    assert list(result) == ["clean", "attacks", "images", "seed", "data"]
    assert (result["images"], result["seed"]) == (40, 0)
    (row,) = result["attacks"].values()
    assert set(row) == {"white_box", "twins", "black_box", "attack_seed", "twin_seeds", "options"}
    assert row["options"]["eps"] == 0.1
    assert row["attack_seed"] == 0  # the recipe's
    assert set(row["twins"]) == {"same-ann", "independent"}
    assert row["black_box"] == row["twins"]["same-ann"]  # the stronger of the two
    for number in (result["clean"], row["white_box"], *row["twins"].values()):
        assert 0 <= number <= 100
    # An independent twin alone is the black box; without a twin there is none.
    (row,) = attacked(runs / "same", twins=[runs / "independent"])["attacks"].values()
    assert row["twins"] == {"independent": row["black_box"]}
    (row,) = attacked(runs / "independent")["attacks"].values()
    assert row.keys() == {"white_box", "attack_seed", "options"}


def test_a_run_of_version_0_2_by_a_method_removed_since_is_read_but_not_trained(runs):
    run, recipe = runs / "run", runs / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"traditional"', '"rotating"'))
    assert attacked(run)["attacks"]
    assert resolve_model(str(run)).recipe.method == "rotating"
    assert read_runs([run])[0].recipe.method == "rotating"
    assert training_cost(RunFolder.open(run).recipe) is None
    for training in (
        lambda: train(RunFolder.open(run).recipe, out=run, resume=True, progress=QUIET),
        lambda: read(recipe),
    ):
        with pytest.raises(UsageError, match=r"method .*'rotating'.* removed after version 0\.2; take nfgsm"):
            training()


def test_another_attack_or_twin_does_not_erase_what_was_measured_before(runs):
    first = attacked(runs / "run", twins=[runs / "independent"])["attacks"]["fgsm:eps=0.1"]
    both = attacked(runs / "run", attacks=["fgsm:eps=0.2"])["attacks"]
    assert both.keys() == {"fgsm:eps=0.1", "fgsm:eps=0.2"}
    assert both["fgsm:eps=0.1"] == first
    again = attacked(runs / "run", twins=[runs / "same"])["attacks"]["fgsm:eps=0.1"]
    assert again["twins"] == {**first["twins"], "same-ann": again["black_box"]}


def test_a_later_seed_does_not_relabel_an_older_black_box_figure(runs):
    noise = ["noise:eps=0.1,draws=2"]
    first = attacked(runs / "run", attacks=noise, twins=[runs / "same"], seed=1)["attacks"]
    (later,) = attacked(runs / "run", attacks=noise, seed=2)["attacks"].values()
    (label,) = first
    assert (later["attack_seed"], later["twin_seeds"]) == (2, {"same-ann": 1})
    assert later["black_box"] == first[label]["black_box"]


def test_figures_of_an_attack_with_other_options_are_replaced_as_a_whole(runs):
    attacked(runs / "run", twins=[runs / "same"])
    path = runs / "run" / RESULT
    result = json.loads(path.read_text())
    result["attacks"]["fgsm:eps=0.1"]["options"]["draws"] = 7  # as another version may have run it
    path.write_text(json.dumps(result))
    assert "black_box" not in attacked(runs / "run")["attacks"]["fgsm:eps=0.1"]


def test_figures_are_written_elsewhere_over_a_result_but_no_other_file(runs, tmp_path):
    result, weights = runs / "run" / RESULT, runs / "run" / MODEL
    before = result.read_bytes(), weights.read_bytes()
    with RunFolder.open(runs / "run", write=True):  # not even the lock is needed
        for attack in ("fgsm", "noise"):
            figures = attacked(runs / "run", attacks=[attack], limit=20, out=tmp_path / "quick.json")
            assert json.loads((tmp_path / "quick.json").read_text()) == figures
    with pytest.raises(UsageError, match=r"model\.safetensors .*is no result of hiresnn evaluate"):
        attacked(runs / "run", out=weights)
    assert (result.read_bytes(), weights.read_bytes()) == before


def test_a_run_can_be_evaluated_on_data_at_another_path(runs, tmp_path, monkeypatch):
    expected = attacked(runs / "run", out=tmp_path / "a.json")
    folder = RunFolder.open(runs / "run", write=True)
    folder.write_text("recipe.toml", dump(override(folder.recipe, {"data.source": "moved.npz"})))
    folder.close()
    with pytest.raises(HiresnnError, match=r"moved\.npz"):
        attacked(runs / "run")
    assert attacked(runs / "run", source="digits", out=tmp_path / "b.json") == expected


def test_a_network_that_never_spikes_is_called_dead(runs, tmp_path):
    network = load(runs / "run" / MODEL)
    first, *_ = network.neurons.items()
    with torch.no_grad():
        first[1].threshold.fill_(1e9)
    save(network, runs / "run" / MODEL)
    assert attacked(runs / "run", out=tmp_path / "a.json")["dead_layer"] == first[0]
    assert "dead_layer" not in attacked(runs / "same", out=tmp_path / "a.json")


def test_a_layer_that_only_spikes_on_later_images_is_not_dead(runs, tmp_path):
    digits, network = data.load("digits"), load(runs / "run" / MODEL)
    pictures, (*_, (name, lif)) = data.first(digits.test, 20).images, network.neurons.items()

    def highest(picture):
        """The threshold up to which the last layer of neurons spikes."""
        low, high = 0.0, 1000.0
        for _ in range(40):
            lif.threshold.data.fill_(middle := (low + high) / 2)
            with torch.no_grad(), record(network) as spikes:
                network(picture[None] / 255)
            low, high = (middle, high) if spikes[name].any() else (low, middle)
        return low

    limits = torch.tensor([highest(picture) for picture in pictures])
    lif.threshold.data.fill_((limits.min() + limits.max()) / 2)
    save(network, runs / "run" / MODEL)
    silent_first = pictures[limits.argsort()].permute(0, 2, 3, 1).numpy()
    shown = {
        "x_train": silent_first,
        "y_train": np.arange(20) % 10,
        "x_test": silent_first,
        "y_test": np.arange(20) % 10,
    }
    np.savez(tmp_path / "a.npz", **shown)
    options = {"batch_size": 1, "limit": 0, "out": tmp_path / "a.json"}
    assert "dead_layer" not in attacked(runs / "run", source=str(tmp_path / "a.npz"), **options)


def test_figures_of_fewer_images_give_way_and_those_of_more_or_other_images_are_not_replaced(runs, tmp_path):
    attacked(runs / "run", limit=20)
    assert attacked(runs / "run", attacks=["fgsm:eps=0.2"])["attacks"].keys() == {"fgsm:eps=0.2"}
    before = (runs / "run" / RESULT).read_bytes()
    with pytest.raises(UsageError, match=r"has attacks on 40 images.*--limit 40, write elsewhere with --out"):
        attacked(runs / "run", limit=20)
    digits = data.load("digits")
    arrays = {"train_images": digits.train.images, "train_labels": digits.train.labels}
    arrays |= {"test_images": 255 - digits.test.images, "test_labels": digits.test.labels}
    other = tmp_path / "other.npz"
    np.savez(other, **{name: array.squeeze(1).numpy() if array.dim() == 4 else array for name, array in arrays.items()})
    with pytest.raises(UsageError, match="images of another data set; write elsewhere with --out"):
        attacked(runs / "run", attacks=["noise"], source=str(other))
    assert (runs / "run" / RESULT).read_bytes() == before
    attacked(runs / "run", attacks=["noise"], source=str(other), out=tmp_path / "other.json")


def test_the_numbers_are_those_of_the_attack_written_out(runs):
    network, twin = load(runs / "run" / MODEL), load(runs / "independent" / MODEL)
    shown = data.first(data.load("digits").test, 40)
    images, labels = shown.images / 255, shown.labels

    def percent(images):
        return 100 * (network(images).argmax(1) == labels).float().mean().item()

    result = attacked(runs / "run", twins=[runs / "independent"], batch_size=7)
    (row,) = result["attacks"].values()
    assert result["clean"] == pytest.approx(percent(images))
    assert row["white_box"] == pytest.approx(percent(fgsm(network, images, labels, eps=0.1)))
    assert row["black_box"] == pytest.approx(percent(fgsm(twin, images, labels, eps=0.1)))
    assert row["white_box"] < result["clean"]


def test_a_seed_decides_what_an_attack_draws_and_the_callers_draws_go_on(runs):
    texts = ["pgd:eps=0.2,step=0,iterations=1,random_start=true", "square:eps=0.1,queries=5"]

    def figures(seed, attacks, **options):
        (runs / "run" / RESULT).unlink()
        return attacked(runs / "run", attacks=attacks, limit=200, seed=seed, **options)["attacks"]

    before = torch.get_rng_state()
    first, other = figures(3, texts), figures(4, texts)
    assert torch.equal(torch.get_rng_state(), before)
    assert first == figures(3, texts)
    assert {row["attack_seed"] for row in first.values()} == {3}
    assert [row["white_box"] for row in first.values()] != [row["white_box"] for row in other.values()]
    # What else is measured changes nothing.
    alone = figures(3, texts[1:], twins=[runs / "same"])[texts[1]]
    assert alone["white_box"] == first[texts[1]]["white_box"]
    assert figures(None, texts) == figures(0, texts)  # 0 is the recipe's


def test_the_seed_is_that_of_an_attack_with_a_seed_of_its_own_too(runs, monkeypatch):
    seen = []

    def watched(model, images, labels, *, eps=0.1, seed=0):
        seen.append(seed)
        return images

    monkeypatch.setitem(ATTACKS, "autoattack", replace(ATTACKS["autoattack"], run=watched))
    attacked(runs / "run", attacks=["autoattack", "autoattack:seed=9"], seed=3)
    assert seen == [3, 9]


def test_without_attacks_those_of_the_recipe_are_made(runs):
    result = attacked(runs / "run", attacks=None, limit=10)
    recipe = RunFolder.open(runs / "run").recipe
    assert list(result["attacks"]) == [label_of(recipe, spec) for spec in recipe_attacks(recipe)]


def test_the_attacks_of_a_recipe_step_in_proportion_to_their_bound(tiny):
    changes = {
        "attack.eps": "8/255",
        "attack.step": "0.01",
        "attack.iterations": "7",
        "attack.extra_eps": '["2/255", "16/255"]',
        "attack.random_start": "true",
    }
    fgsm_spec, *pgd_specs = recipe_attacks(override(tiny, changes))
    assert (fgsm_spec.label, fgsm_spec.options) == ("fgsm:eps=8/255", {"eps": 8 / 255})
    assert pgd_specs[1].label == "pgd:eps=2/255,iterations=7,random_start=true"
    assert [spec.eps * 255 for spec in pgd_specs] == pytest.approx([8, 2, 16])
    assert [spec.resolved()["step"] for spec in pgd_specs] == pytest.approx([0.01, 0.0025, 0.02])
    assert {(spec.options["iterations"], spec.options["random_start"]) for spec in pgd_specs} == {(7, True)}


def test_strong_attacks_keep_their_own_iterations_and_take_only_eps_from_the_recipe(tiny):
    recipe = override(tiny, {"attack.eps": "4/255", "attack.iterations": "3", "attack.step": "0.001"})
    for name, iterations in (("apgd", 100), ("sa-pgd", 100), ("pgd-restarts", 100), ("greedy", 20)):
        spec = attack_of(recipe, name)
        assert spec.resolved() == parse(name, eps=4 / 255).resolved()
        assert spec.resolved()["iterations"] == iterations
    assert attack_of(recipe, "pgd").resolved()["iterations"] == 3


def test_a_limit_above_the_images_takes_all_of_a_run_or_an_ann(runs):
    result = attacked(runs / "plain", limit=10**6, attacks=["fgsm:eps=0", "pgd:eps=0,iterations=2"])
    assert result["images"] == 355
    assert {row["white_box"] for row in result["attacks"].values()} == {result["clean"]}  # a bound of 0 costs nothing


def test_the_holdout_has_a_result_of_its_own(tiny, tmp_path):
    recipe = override(tiny, {"data.holdout_images": "30", "snn.epochs": "0", "ann.epochs": "1"})
    out = train(recipe, out=tmp_path / "run", progress=QUIET)
    result = evaluate(out, attacks=["fgsm"], split="holdout", progress=QUIET)
    assert result["images"] == 30
    assert json.loads((out / "result-holdout.json").read_text()) == result
    assert not (out / RESULT).exists()


def archive(path, *, channels=1, size=8, classes=10):
    shape = (2 * classes, size, size, channels)
    images, labels = np.zeros(shape, dtype=np.uint8), np.arange(2 * classes) % classes
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return str(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "holdout"}, r"held no images out .data\.holdout_images = 0.*use --split test"),
        ({"seed": 2**63}, f"seed is {2**63}; choose a whole number from 0 to {2**63 - 1}"),
        ({"attacks": ["ddos"]}, "attack 'ddos' is not known; choose one of fgsm, pgd"),
        ({"twins": ["run/../run"]}, "the twin .*run is the run itself, which would be a white-box attack"),
        ({"twins": ["same", "same"]}, "two twins are of the kind 'same-ann'; give at most one"),
        ({"twins": ["nowhere"]}, "does not exist; name a folder"),
        ({"twins": ["cut"]}, r"model\.safetensors is damaged or cut short"),
        ({"twins": ["empty"]}, r"has no model\.safetensors; finish it with hiresnn resume"),
        ({"source": {"channels": 3}}, "run has in_channels = 1, but the images of .* have 3"),
        ({"source": {"size": 16}}, "run has image_size = 8, but the images of .* have 16"),
        ({"source": {"classes": 7}}, "run has num_classes = 10, but the images of .* have 7"),
    ],
)
def test_a_wrong_request_is_refused_and_the_result_stays(runs, tmp_path, options, message):
    before = (runs / "run" / RESULT).read_bytes()
    for name in ("cut", "empty"):
        shutil.copytree(runs / "same", runs / name)
    (runs / "cut" / MODEL).write_bytes((runs / "cut" / MODEL).read_bytes()[:-1])
    (runs / "empty" / MODEL).unlink()
    if "twins" in options:
        options = {"twins": [runs / name for name in options["twins"]]}
    if "source" in options:
        options = {"source": archive(tmp_path / "other.npz", **options["source"])}
    with pytest.raises(HiresnnError, match=message):
        attacked(runs / "run", **options)
    assert (runs / "run" / RESULT).read_bytes() == before


def test_the_table_names_the_seed_of_the_attacks(runs):
    result = attacked(runs / "run", attacks=["noise"], seed=7)
    assert table(result).title == "Accuracy in percent on 40 images, seed 0, seed of the attacks 7"
    assert table(attacked(runs / "run", attacks=["noise"])).title == "Accuracy in percent on 40 images, seed 0"


def test_corruptions_are_measured_in_place_of_attacks_and_kept_beside_the_result(runs, tmp_path):
    run = runs / "run"
    measured = evaluate_corruptions(run, limit=40, progress=QUIET)
    assert list(measured) == ["clean", "corruptions", "mean", "images", "seed", "data"]
    assert measured == json.loads((run / "corruptions.json").read_text())
    network, test = load(run / MODEL), data.first(data.load("digits").test, 40)
    expected = corruption_accuracy(network, (test.images, test.labels))
    assert measured["corruptions"] == expected
    assert (measured["mean"], measured["seed"]) == (mean_accuracy(expected), 0)
    again = evaluate_corruptions(run, limit=40, seed=1, progress=QUIET)
    assert (again["seed"], again["corruptions"] == expected) == (1, False)
    assert RunFolder.open(run).read_json("corruptions.json") == again
    with pytest.raises(UsageError, match=r"corruptions\.json has corruptions on 40 images"):
        evaluate_corruptions(run, limit=20, progress=QUIET)
    elsewhere = evaluate_corruptions(run, limit=20, out=tmp_path / "few.json", progress=QUIET)
    assert elsewhere == json.loads((tmp_path / "few.json").read_text())
    with pytest.raises(UsageError, match="is no result"):
        attacked(run, out=tmp_path / "few.json")
