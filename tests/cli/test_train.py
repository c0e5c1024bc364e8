"""`hiresnn train`: options become a recipe, the recipe becomes a run."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiresnn.app.folder import RunFolder
from hiresnn.app.recipe import override, read
from hiresnn.cli import main


class Trainer:
    """Stands in for the training: remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.interrupted = False

    def __call__(
        self,
        recipe: Any,
        *,
        out: Path | None,
        resume: bool,
        progress: Any,
        ranks: Any,
        clamp: Any = (),
        log: Any = None,
    ) -> Path:
        self.asked = {"recipe": recipe, "out": out, "resume": resume, "quiet": progress.quiet, "processes": ranks.size}
        self.asked["clamp"], self.asked["log"] = clamp, log
        if self.interrupted:
            raise KeyboardInterrupt
        return out or Path("runs/digits")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    stand_in = ModuleType("hiresnn.app.train")
    stand_in.train = Trainer()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hiresnn.app.train", stand_in)
    return stand_in.train  # type: ignore[attr-defined,no-any-return]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["train", *arguments])
    return int(caught.value.code or 0)


def test_a_name_alone_trains_the_shipped_recipe(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("digits") == 0
    assert trainer.asked == {
        "recipe": read("digits"),
        "out": None,
        "resume": False,
        "quiet": False,
        "processes": 1,
        "clamp": ["data.train_images", "data.holdout_images"],
        "log": None,
    }
    assert capsys.readouterr().out == "Run folder: runs/digits\nNext: hiresnn evaluate runs/digits\n"


def test_options_change_the_recipe(trainer: Trainer) -> None:
    options = ["--method", "traditional", "--seed", "3", "--data", "1.5", "--set", "snn.lr=2e-3"]
    assert run("digits", *options, "--set", "model.width = 0.5", "--out", "o", "--resume", "--quiet") == 0
    # The data source is text even where it looks like a number.
    changes = {
        "method": "traditional",
        "seed": "3",
        "data.source": '"1.5"',
        "snn.lr": "0.002",
        "model.width": "0.5",
    }
    assert trainer.asked["recipe"] == override(read("digits"), changes)
    assert (trainer.asked["out"], trainer.asked["resume"], trainer.asked["quiet"]) == (Path("o"), True, True)


def test_quiet_prints_only_the_run_folder(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("digits", "--out", "o", "--quiet") == 0
    assert capsys.readouterr() == ("o\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "no recipe of the package is called 'nope'"),
        (["digits", "--set", "snn.lr"], "--set 'snn.lr' is not KEY=VALUE"),
        (["digits", "--set", "snn.lr=-1"], "--set: snn.lr = -1 is not allowed"),
        (["digits", "--method", "hires"], '--method: method = "hires" is not allowed; did you mean "hire"? choose'),
        (["digits", "--epochs", "5"], "write --set ann.epochs=... or --set snn.epochs=..."),
        (["digits", "--data", ""], '--data: data.source = "" is not allowed; it must not be empty'),
    ],
)
def test_wrong_requests_end_with_two_and_a_sentence(
    trainer: Trainer, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert trainer.asked == {}


def test_an_interrupt_offers_resume_once_the_folder_has_its_recipe(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.interrupted = True
    out = tmp_path / "my runs"
    assert run("digits", "--out", str(out)) == 130
    assert capsys.readouterr().err == "\nInterrupted.\n"
    RunFolder.create(out, read("digits")).close()
    assert run("digits", "--out", str(out)) == 130
    assert capsys.readouterr().err == f"\nInterrupted. Continue with: hiresnn resume '{out}'\n"


def test_resume_takes_the_recipe_from_the_folder(trainer: Trainer, tmp_path: Path) -> None:
    stored = override(read("digits"), {"snn.lr": "0.5", "seed": "4"})
    RunFolder.create(tmp_path / "run", stored).close()
    with pytest.raises(SystemExit) as caught:
        main(["resume", str(tmp_path / "run")])
    assert not caught.value.code
    asked = trainer.asked
    assert (asked["recipe"], asked["out"], asked["resume"]) == (stored, tmp_path / "run", True)
    assert asked["clamp"] == ()


def test_counts_of_a_recipe_are_clamped_unless_the_user_set_them(trainer: Trainer, tmp_path: Path) -> None:
    run("vgg5-cifar10-cpu", "--data", "mine.npz")
    assert trainer.asked["clamp"] == ["data.train_images", "data.holdout_images"]
    run("vgg5-cifar10-cpu", "--set", "data.train_images=100")
    assert trainer.asked["clamp"] == ["data.holdout_images"]
    (tmp_path / "mine.toml").write_text('extends = "digits"\n[data]\nholdout_images = 7\n')
    run(str(tmp_path / "mine.toml"))
    assert trainer.asked["clamp"] == ["data.train_images"]


def test_a_network_and_weights_of_ones_own_go_into_the_recipe(
    trainer: Trainer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("digits", "--weights", "trained.pt") == 2
    assert capsys.readouterr().err.startswith("Error: there is no file of weights 'trained.pt'")
    Path("trained.pt").touch()
    assert run("digits", "--model", "mine.py:network", "--weights", "trained.pt") == 0
    changes = {"model.source": '"mine.py:network"', "model.weights": '"trained.pt"', "ann.epochs": "0"}
    assert trainer.asked["recipe"] == override(read("digits"), changes)
    assert trainer.asked["recipe"].model.name is None
    assert "The ANN has the weights in trained.pt and is not trained further" in capsys.readouterr().err
    run("digits", "--model", "mine.py:network", "--weights", "trained.pt", "--set", "ann.epochs=3")
    assert trainer.asked["recipe"].ann.epochs == 3
    assert "not trained further" not in capsys.readouterr().err
    (tmp_path / "mine.toml").write_text('extends = "digits"\n[model]\nsource = "mine.py:network"\n[ann]\nepochs = 7\n')
    run(str(tmp_path / "mine.toml"), "--weights", "trained.pt")
    assert (trainer.asked["recipe"].ann.epochs, trainer.asked["recipe"].model.label) == (7, "mine-network")
    run(str(tmp_path / "mine.toml"), "--model", "resnet12")
    assert (trainer.asked["recipe"].model.name, trainer.asked["recipe"].model.source) == ("resnet12", None)


def test_a_model_that_is_no_function_is_refused(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("digits", "--model", "mine.py") == 2
    assert 'model.source = "mine.py" is not allowed; write FILE.py:FUNCTION' in capsys.readouterr().err
    assert run("digits", "--model", "vgg6") == 2
    assert "--model 'vgg6': did you mean \"vgg16\"? choose one of vgg5, " in capsys.readouterr().err


def test_the_log_reaches_the_training(trainer: Trainer) -> None:
    with pytest.raises(SystemExit):
        main(["train", "digits", "--log", "mine.py:log"])
    assert trainer.asked["log"] == "mine.py:log"
