"""`hiresnn train`: options become a recipe, the recipe becomes a run."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hiresnn.cli import main
from hiresnn.runs.recipe import override, read


class Trainer:
    """Stands in for the training: remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.interrupted = False

    def __call__(self, recipe: Any, *, out: Path | None, resume: bool, progress: Any, ranks: Any) -> Path:
        self.asked = {"recipe": recipe, "out": out, "resume": resume, "quiet": progress.quiet, "processes": ranks.size}
        if self.interrupted:
            raise KeyboardInterrupt
        return out or Path("runs/digits")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    stand_in = ModuleType("hiresnn.runs.train")
    stand_in.train = Trainer()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hiresnn.runs.train", stand_in)
    return stand_in.train  # type: ignore[attr-defined,no-any-return]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["train", *arguments])
    return int(caught.value.code or 0)


def test_a_name_alone_trains_the_shipped_recipe(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("digits") == 0
    assert trainer.asked == {"recipe": read("digits"), "out": None, "resume": False, "quiet": False, "processes": 1}
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
        (["nope"], 'no shipped recipe "nope"'),
        (["digits", "--set", "snn.lr"], "--set snn.lr is not KEY=VALUE"),
        (["digits", "--set", "snn.lr=-1"], "--set: snn.lr = -1 is not allowed"),
        (["digits", "--method", "hires"], '--method: method = "hires" is not allowed; it must be one of'),
        (["digits", "--data", ""], '--data: data.source = "" is not allowed; it must not be empty'),
    ],
)
def test_wrong_requests_end_with_two_and_a_sentence(
    trainer: Trainer, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err
    assert trainer.asked == {}


def test_an_interrupt_says_how_to_continue(trainer: Trainer, capsys: pytest.CaptureFixture[str]) -> None:
    trainer.interrupted = True
    assert run("digits", "--out", "my runs/a") == 130
    continued = "Interrupted. Continue with: hiresnn train digits --out 'my runs/a' --resume"
    assert continued in capsys.readouterr().err


def test_an_interrupted_resumed_run_is_told_to_resume_once(
    trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.interrupted = True
    assert run("digits", "--resume") == 130
    assert "hiresnn train digits --resume\n" in capsys.readouterr().err
