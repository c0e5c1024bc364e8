"""What an installed package adds through entry points: training methods, networks and data sets."""

import sys
from pathlib import Path

import pytest

from hiresnn import data, plugins
from hiresnn.app.evaluate import evaluate
from hiresnn.app.recipe import Recipe, dump, override, parse, read
from hiresnn.app.schema import MODEL_NAMES
from hiresnn.app.train import train
from hiresnn.app.trainer import training_price
from hiresnn.cli import main
from hiresnn.errors import DataError, RecipeError, UsageError
from hiresnn.models import MODELS
from hiresnn.progress import Progress
from hiresnn.training import method

from .offering import offer

CODE = """
import torch
from torch import nn
from hiresnn.data import DataSet, Split
from hiresnn.training import CraftedNoise, Method


def loud(periods, step, bound, state):
    return Method(periods, CraftedNoise(10 * step, bound), state)


def wrong(*arguments):
    return "hire"


def failing(*arguments):
    raise ValueError("no disk")


def tiny(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, num_classes))


def stripes():
    labels = torch.arange(60) % 2
    images = torch.zeros(60, 1, 4, 4, dtype=torch.uint8)
    images[labels == 1, :, ::2] = 255
    images[labels == 0, :, :, ::2] = 255
    return DataSet("stripes", Split(images, labels), Split(images, labels), ("rows", "columns"))
"""
METHODS = {"loud": "loud", "wrong": "wrong", "missing": "nothing", "hire": "wrong"}
MODELS_OFFERED = {"tiny": "tiny", "vgg5": "failing"}
DATA = {"stripes": "stripes", "wrong-data": "wrong", "failing-data": "failing", "digits": "failing"}


@pytest.fixture(autouse=True)
def offering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch, CODE, methods=METHODS, models=MODELS_OFFERED, data=DATA)
    monkeypatch.chdir(tmp_path)


def small(**changes: str) -> Recipe:
    settings = {"ann.epochs": "1", "snn.epochs": "1", "snn.timesteps": "2", "conversion.images": "20"}
    return override(read("digits"), {**settings, "compile": "never", **changes})


def test_plugins_are_listed_without_being_imported() -> None:
    assert {"loud", "missing"} <= plugins.offered("methods").keys()
    assert small(method="loud").method == "loud"
    assert "offering" not in sys.modules


def test_a_method_of_a_plugin_gets_periods_and_noise() -> None:
    made = method("loud", periods=3, step=0.01)
    assert (made.periods, made.noise.step, made.noise.bound) == (3, 0.1, 0.01)  # type: ignore[attr-defined]


def test_a_method_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="'wrong' returned str; it must return a Method"):
        method("wrong", periods=1, step=0.01)
    with pytest.raises(UsageError, match=r"plug-in 'missing' \(offering:nothing\) cannot be imported"):
        method("missing", periods=1, step=0.01)
    with pytest.raises(UsageError, match=r"'louder'; did you mean .loud.. choose one of traditional.*loud"):
        method("louder", periods=1, step=0.01)
    with pytest.raises(
        RecipeError, match=r"method = .louder. is not allowed; did you mean .loud.. choose one of ann.*, loud"
    ):
        small(method="louder")


def test_names_of_the_package_win() -> None:
    assert method("hire", periods=2, step=0.01).periods == 2
    assert small(**{"model.name": "vgg5"}).model.source is None
    assert data.load("digits").num_classes == 10


def test_a_broken_method_is_found_before_a_folder_is_created(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'wrong' returned str"):
        train(small(method="wrong"), out=tmp_path / "run", progress=Progress(quiet=True))
    assert not (tmp_path / "run").exists()


def test_the_price_of_an_unknown_method_is_unknown() -> None:
    assert training_price(small(method="loud")) is None


def test_data_of_a_plugin_are_loaded_and_resized() -> None:
    assert data.load("stripes").class_names == ("rows", "columns")
    assert data.load("stripes", size=2).height == 2
    with pytest.raises(DataError, match="'wrong-data' returned str"):
        data.load("wrong-data")
    with pytest.raises(DataError, match="'failing-data' failed: ValueError: no disk"):
        data.load("failing-data")
    with pytest.raises(UsageError, match=r"no data set 'stripe'; give digits, cifar10, .*stripes"):
        data.load("stripe")


def test_a_network_of_a_plugin_becomes_its_source() -> None:
    recipe = parse(dump(small()).replace('name = "vgg5"', 'name = "tiny"'), "a recipe")
    assert (recipe.model.name, recipe.model.source) == (None, "offering:tiny")


def test_the_names_of_the_packages_networks_are_those_of_the_schema() -> None:
    assert set(MODEL_NAMES) == set(MODELS)


def test_all_three_train_together_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["ann.epochs=8", "snn.epochs=1", "snn.timesteps=4", "compile=never", "ann.lr=0.05", "data.augment=false"]
    options = [part for setting in settings for part in ("--set", setting)]
    with pytest.raises(SystemExit) as caught:
        main(["train", "digits", "--method", "loud", "--model", "tiny", "--data", "stripes", "--out", "run", *options])
    assert not caught.value.code, capsys.readouterr().err
    assert evaluate(Path("run"), attacks=["fgsm:eps=0.01"], progress=Progress(quiet=True))["clean"] == 100


@pytest.mark.parametrize("command", ["attacks", "rules"])
def test_attacks_and_rules_list_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    offer(other, monkeypatch, "", **{command: {"mine": "mine"}})
    with pytest.raises(SystemExit):
        main([command])
    assert "plug-in offering:mine" in " ".join(capsys.readouterr().out.replace("│", " ").split())
