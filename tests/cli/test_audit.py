"""`hiresnn audit`: options reach the audit; the card becomes a table, a page and an exit code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hiresnn.app import audit as module
from hiresnn.app.audit import ADVERSARIAL, CARD, AuditRequest
from hiresnn.audit import PRESETS, AuditConfig, Card, Preset
from hiresnn.audit.presets import Choice, Stage, stage_attack
from hiresnn.cli import main
from hiresnn.cli.audit import PAGE, table
from hiresnn.errors import RunError
from hiresnn.report.reading import read_card

NETWORK = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["audit", *arguments])
    code = caught.value.code
    return code if isinstance(code, int) else 0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of the user's own, and a preset of a second."""
    (tmp_path / "mine.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    attacks = (stage_attack("apgd", Choice.BEST, iterations=2),)
    few = Stage(rules=("own",), sample=4, iterations=2, queries=2, directions=2, noise=2, attacks=attacks)
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 200, (few,)))
    return tmp_path


OPTIONS = ("mine.py:network", "--data", "digits", "--images", "100", "--bounds", "2/255,8/255,inf")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[AuditRequest]:
    """The requests that reach the audit, which is not run."""
    seen: list[AuditRequest] = []

    def noted(request: AuditRequest, **_: Any) -> None:
        seen.append(request)
        raise RunError("not run.")

    monkeypatch.setattr(module, "audit", noted)
    return seen


def test_results_are_written_and_the_curve_is_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*OPTIONS) == 0
    text = capsys.readouterr().out
    folder = here / "audits" / "mine-network"
    assert {CARD, PAGE, ADVERSARIAL} <= {path.name for path in folder.iterdir()}
    card = read_card(folder / CARD)
    assert (folder / PAGE).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert card.conclusion.headline in text
    assert f"Next: {card.conclusion.next_step}" in text
    for reason in card.conclusion.reasons:
        assert f"- {reason}" in text
    assert f"Written: {Path('audits/mine-network') / CARD} and {Path('audits/mine-network') / PAGE}" in text
    assert card.setting.command == "hiresnn audit " + " ".join(OPTIONS)


def test_the_command_on_the_card_repeats_the_audit(here: Path, asked: list[AuditRequest]) -> None:
    run("mine.py:network", "--data", "a b", "--attack", "pgd:step=2/255")
    assert asked[0].command == "hiresnn audit mine.py:network --data 'a b' --attack pgd:step=2/255"


def test_the_defaults_are_the_targets_and_the_presets(asked: list[AuditRequest]) -> None:
    assert run("runs/a") == 1
    assert asked == [AuditRequest("runs/a", AuditConfig(), command="hiresnn audit runs/a")]
    assert asked[0].config.bounds is None
    assert (asked[0].source, asked[0].images, asked[0].eps, asked[0].out, asked[0].replace) == (*[None] * 4, False)


def test_options_reach_the_audit(asked: list[AuditRequest]) -> None:
    run(
        "a", "--preset", "thorough", "--data", "cifar10", "--images", "50", "--eps", "4/255", "--bounds", "2/255,inf",
        "--attack", "autoattack", "--attack", "apgd:loss=dlr,rule=arctan/alpha=4", "--twin", "b", "--twin", "c",
        "--seed", "5", "--batch", "64", "--out", "there", "--replace",
    )  # fmt: skip
    (request,) = asked
    config = request.config
    assert (request.target, config.preset, request.source, request.images) == ("a", "thorough", "cifar10", 50)
    assert (request.eps, config.bounds) == ("4/255", ("2/255", "inf"))
    assert config.attacks == ("autoattack", "apgd:loss=dlr,rule=arctan/alpha=4")
    assert (request.twins, config.seed, config.batch_size) == (("b", "c"), 5, 64)
    assert (request.out, request.replace) == (Path("there"), True)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing argument 'TARGET'"),
        (("mine.py:network", "--preset", "fast"), 2, "'fast' is not one of 'quick', 'standard', 'thorough'"),
        (("mine.py:network", "--images", "0"), 2, "--images"),
        (("mine.py:network", "--seed", "-1"), 2, "--seed"),
        (("mine.py:network", "--batch", "0"), 2, "--batch"),
        (("mine.py:network",), 2, "has no data set of its own; name one with --data"),
        (("mine.py:other", "--data", "digits"), 2, "has no function 'other'"),
        (("mine.py:network", "--data", "digits", "--bounds", "2/255,,inf"), 2, "bound '' is not a number"),
        (("mine.py:network", "--data", "digits", "--eps", "0"), 2, "eps is 0"),
        (("mine.py:network", "--data", "digits", "--attack", "pgd:eps=0.1"), 2, "names eps"),
        (("nowhere",), 1, "run folder nowhere does not exist"),
    ],
)
def test_errors_go_to_standard_error_with_their_exit_code(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert run(*arguments) == code
    caught = capsys.readouterr()
    # A usage error stands in a box whose lines break anywhere.
    assert re.sub(r"[\s│]", "", message) in re.sub(r"[\s│]", "", caught.err)
    assert caught.out == ""
    assert not (here / "audits" / "mine-network" / CARD).exists()


def test_an_interruption_names_the_command_that_continues(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "audit", interrupted)
    assert run("runs/a", "--preset", "standard") == 130
    assert "Continue with: hiresnn audit runs/a --preset standard" in capsys.readouterr().err


def test_the_help_names_targets_and_output_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    for words in ("TARGET", "FILE.py:FUNCTION", "--preset", "thorough", "--twin", "card.json", "report.html"):
        assert words in text


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[:1] == "│"]


@pytest.fixture
def card(here: Path) -> Card:
    assert run(*OPTIONS) == 0
    return read_card(here / "audits" / "mine-network" / CARD)


def test_the_table_has_one_row_per_bound_with_all_accuracies(card: Card, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    capsys.readouterr()
    Console(width=120).print(table(card))
    text = capsys.readouterr().out
    title = text.splitlines()[0]
    assert all(word in title for word in ("mine", "100 images", "quick"))
    clean, *attacked = rows(text)
    interval = f"{card.clean.low:.1f} - {card.clean.high:.1f}"
    assert clean == ["clean", "", "", "", f"{card.clean.percent:.1f}", interval]
    assert [row[0] for row in attacked] == ["2/255", "8/255", "inf"]
    for row, point in zip(attacked, card.curve[1:], strict=True):
        shares = (point.noise, point.fgsm, point.pgd, point.worst)
        assert row[1:5] == [f"{share.percent:.1f}" for share in shares]
        assert row[5] == f"{point.worst.low:.1f} - {point.worst.high:.1f}"


def test_a_folder_with_brackets_and_colons_is_printed_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*OPTIONS, "--out", "audits [v2] :key:") == 0
    assert f"Written: audits [v2] :key:/{CARD} and" in capsys.readouterr().out


def test_the_headlines_row_is_bold(card: Card) -> None:
    assert [row.style for row in table(card).rows] == [None, None, "bold", None]


def test_a_card_is_confirmed_or_not_by_its_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*OPTIONS) == 0
    path = here / "audits" / "mine-network" / CARD
    capsys.readouterr()
    assert run("mine.py:network", "--verify", str(path)) == 0
    assert "Confirmed: " in capsys.readouterr().out
    values = json.loads(path.read_text())
    values["curve"][1]["worst"]["count"] -= 1
    path.write_text(json.dumps(values))
    assert run("mine.py:network", "--verify", str(path)) == 1
    text = capsys.readouterr().out
    assert "at 2/255 the images leave" in text
    assert "Not confirmed" in text


def test_an_option_that_a_check_would_ignore_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("mine.py:network", "--verify", "card.json", "--data", "digits") == 2
    assert "--data has no effect with --verify" in capsys.readouterr().err


def test_the_help_says_that_a_file_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert "executes that file" in text
