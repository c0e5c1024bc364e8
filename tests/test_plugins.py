"""What an installed package adds through entry points."""

import sys
from pathlib import Path

import pytest

from hiresnn import plugins
from hiresnn.app.recipe import Recipe, dump, override, parse, read
from hiresnn.app.schema import MODEL_NAMES
from hiresnn.app.train import train
from hiresnn.app.trainer import training_price
from hiresnn.cli import main
from hiresnn.errors import RecipeError, UsageError
from hiresnn.models import MODELS
from hiresnn.progress import Progress
from hiresnn.training import method

from .offering import offer

CODE = """
import torch
from torch import nn
from hiresnn.training import CraftedNoise, Method


def loud(periods, step, bound, state):
    return Method(periods, CraftedNoise(10 * step, bound), state)


def wrong(*arguments):
    return "hire"


def failing(*arguments):
    raise ValueError("no disk")


def tiny(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, num_classes))

"""
METHODS = {"loud": "loud", "wrong": "wrong", "missing": "nothing", "hire": "wrong"}
MODELS_OFFERED = {"tiny": "tiny", "vgg5": "failing"}


@pytest.fixture(autouse=True)
def offering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(tmp_path, monkeypatch, CODE, methods=METHODS, models=MODELS_OFFERED)
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


def test_a_broken_method_is_found_before_a_folder_is_created(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'wrong' returned str"):
        train(small(method="wrong"), out=tmp_path / "run", progress=Progress(quiet=True))
    assert not (tmp_path / "run").exists()


def test_the_price_of_an_unknown_method_is_unknown() -> None:
    assert training_price(small(method="loud")) is None


def test_a_network_of_a_plugin_becomes_its_source() -> None:
    recipe = parse(dump(small()).replace('name = "vgg5"', 'name = "tiny"'), "a recipe")
    assert (recipe.model.name, recipe.model.source) == (None, "offering:tiny")


def test_the_names_of_the_packages_networks_are_those_of_the_schema() -> None:
    assert set(MODEL_NAMES) == set(MODELS)


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
