"""`hiresnn train`: options become a recipe, the recipe becomes a run."""

from pathlib import Path
from typing import Any

import pytest

from hiresnn.app.folder import RunFolder
from hiresnn.app.recipe import dump, override, read, shipped, shipped_text

from .commands import run, stand_in


class Trainer:
    """Stands in for the training: remembers what it was asked for."""

    def __init__(self):
        self.asked: dict[str, Any] = {}
        self.interrupted = False

    def __call__(self, recipe, *, out, progress, ranks, **options):
        self.asked = {"recipe": recipe, "out": out, "quiet": progress.quiet, "processes": ranks.size, **options}
        if self.interrupted:
            raise KeyboardInterrupt
        return out or Path("runs/digits")


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    stand_in(monkeypatch, "hiresnn.app.train", train=trainer)
    return trainer


def test_a_name_alone_trains_the_shipped_recipe(trainer, capsys):
    assert run("train", "digits") == 0
    clamp = ["data.train_images", "data.holdout_images"]
    usual = {"out": None, "resume": False, "quiet": False, "processes": 1, "clamp": clamp, "log": None}
    assert trainer.asked == {"recipe": read("digits"), **usual}
    run_folder = "runs/digits-hire-seed0"
    assert capsys.readouterr().out == f"Run folder: {run_folder}\nNext: hiresnn evaluate {run_folder}\n"


def test_options_change_the_recipe(trainer, capsys):
    options = "--method traditional --seed 3 --data 1.5 --set snn.lr=2e-3 --log mine.py:log"
    assert (
        run("train", "digits", *options.split(), "--set", "model.width = 0.5", "--out", "o", "--resume", "--quiet") == 0
    )
    # The data source is text even where it looks like a number.
    changes = {"method": "traditional", "seed": "3", "data.source": '"1.5"', "snn.lr": "0.002", "model.width": "0.5"}
    assert trainer.asked["recipe"] == override(read("digits"), changes)
    assert [trainer.asked[name] for name in ("out", "resume", "quiet", "log")] == [Path("o"), True, True, "mine.py:log"]
    assert capsys.readouterr() == ("o\n", "")


def test_an_interrupt_offers_resume_once_the_folder_has_its_recipe(trainer, tmp_path, capsys):
    trainer.interrupted = True
    out = tmp_path / "my runs"
    assert run("train", "digits", "--out", out) == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"
    RunFolder.create(out, read("digits")).close()
    assert run("train", "digits", "--out", out) == 130
    assert capsys.readouterr().err == f"\nInterrupted. Continue with: hiresnn resume '{out}'\n"


def test_resume_takes_the_recipe_from_the_folder(trainer, tmp_path):
    stored = override(read("digits"), {"snn.lr": "0.5", "seed": "4"})
    RunFolder.create(tmp_path / "run", stored).close()
    assert run("resume", tmp_path / "run") == 0
    asked = trainer.asked
    assert (asked["recipe"], asked["out"], asked["resume"]) == (stored, tmp_path / "run", True)


def test_counts_of_a_recipe_are_clamped_unless_the_user_set_them(trainer, tmp_path):
    run("train", "vgg5-cifar10-cpu", "--data", "mine.npz")
    assert trainer.asked["clamp"] == ["data.train_images", "data.holdout_images"]
    run("train", "vgg5-cifar10-cpu", "--set", "data.train_images=100")
    assert trainer.asked["clamp"] == ["data.holdout_images"]
    (tmp_path / "mine.toml").write_text('extends = "digits"\n[data]\nholdout_images = 7\n')
    run("train", tmp_path / "mine.toml")
    assert trainer.asked["clamp"] == ["data.train_images"]


def test_a_network_and_weights_of_ones_own_go_into_the_recipe(trainer, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("trained.pt").touch()
    assert run("train", "digits", "--model", "mine.py:network", "--weights", "trained.pt") == 0
    changes = {"model.source": '"mine.py:network"', "model.weights": '"trained.pt"', "ann.epochs": "0"}
    assert trainer.asked["recipe"] == override(read("digits"), changes)
    assert trainer.asked["recipe"].model.name is None
    assert "The ANN has the weights in trained.pt and is not trained further" in capsys.readouterr().err
    run("train", "digits", "--model", "mine.py:network", "--weights", "trained.pt", "--set", "ann.epochs=3")
    assert trainer.asked["recipe"].ann.epochs == 3
    assert "not trained further" not in capsys.readouterr().err
    (tmp_path / "mine.toml").write_text('extends = "digits"\n[model]\nsource = "mine.py:network"\n[ann]\nepochs = 7\n')
    run("train", tmp_path / "mine.toml", "--weights", "trained.pt")
    assert (trainer.asked["recipe"].ann.epochs, trainer.asked["recipe"].model.label) == (7, "mine-network")
    run("train", tmp_path / "mine.toml", "--model", "resnet12")
    assert (trainer.asked["recipe"].model.name, trainer.asked["recipe"].model.source) == ("resnet12", None)


def test_recipes_lists_names_with_descriptions(capsys):
    assert run("recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[name, text] for name, text in shipped().items()]
    assert run("recipes", "list") == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_a_recipe_is_shown_with_its_comments_or_completed(tmp_path, capsys):
    assert run("recipes", "show", "digits") == 0
    assert capsys.readouterr().out == shipped_text("digits")
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "digits"\nseed = 7\n')
    assert run("recipes", "show", mine) == 0
    assert capsys.readouterr().out == mine.read_text()
    assert run("recipes", "show", mine, "--resolved") == 0
    assert capsys.readouterr().out == dump(read(mine))


def test_a_copy_is_the_same_recipe_and_valid(tmp_path, capsys):
    mine = tmp_path / "mine.toml"
    assert run("recipes", "copy", "vgg5-cifar10-cpu", mine) == 0
    assert read(mine) == read("vgg5-cifar10-cpu")
    assert f"hiresnn train {mine}" in capsys.readouterr().out
    assert run("recipes", "check", mine) == 0
    assert f"{mine} is valid: vgg5-cifar10-cpu, vgg5 of width" in capsys.readouterr().out
