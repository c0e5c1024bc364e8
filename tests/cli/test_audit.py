"""`hiresnn audit`: options reach the audit; the card becomes a table, a page and an exit code."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from hiresnn.app import audit as module
from hiresnn.app.audit import PAGE
from hiresnn.app.recipe import dump, read
from hiresnn.app.targets import resolve_model
from hiresnn.app.zoo import folder_of
from hiresnn.audit import PRESETS, AuditConfig, Preset
from hiresnn.audit.card import Longer, read_card
from hiresnn.audit.presets import Choice, Stage, stage_attack
from hiresnn.audit.run import ADVERSARIAL, CARD
from hiresnn.cli.audit import _cost, table
from hiresnn.data import in_turn, load
from hiresnn.errors import RunError
from hiresnn.hub.pretrained import copy
from hiresnn.report.words import in_words

from ..foreign import paper_networks
from .commands import plain, rows, run

NETWORK = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a network of the user's own, and a preset of a second."""
    (tmp_path / "mine.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    attacks = (stage_attack("apgd", Choice.BEST, iterations=2),)
    few = Stage(rules=("own",), sample=4, iterations=2, queries=2, directions=2, noise=2, attacks=attacks)
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 200, (few,)))
    return tmp_path


OPTIONS = ("mine.py:network", "--data", "digits", "--images", "100", "--bounds", "2/255,8/255,inf")


Asked = list[tuple[str, AuditConfig, dict[str, Any]]]


@pytest.fixture
def asked(monkeypatch):
    """Target, settings and options that reach the audit, which is not run."""
    seen: Asked = []

    def noted(target, config, **options):
        seen.append((target, config, options))
        raise RunError("not run.")

    monkeypatch.setattr(module, "audit", noted)
    return seen


def test_results_are_written_and_the_curve_is_printed(here, capsys):
    assert run("audit", *OPTIONS) == 0
    text = capsys.readouterr().out
    folder = here / "audits" / "mine-network"
    assert {CARD, PAGE, ADVERSARIAL} <= {path.name for path in folder.iterdir()}
    card = read_card(folder / CARD)
    assert (folder / PAGE).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert card.conclusion.headline in text
    assert f"Next: {card.conclusion.next_step}" in text
    for reason in card.conclusion.reasons:
        assert f"- {in_words(reason, card.attacks)}" in text
    assert f"Written: {Path('audits/mine-network') / CARD} and {Path('audits/mine-network') / PAGE}" in text
    assert card.setting.command == "hiresnn audit " + " ".join(OPTIONS)
    check_table(card, text)


def test_a_quiet_audit_prints_only_its_result(here, capsys):
    assert run("audit", *OPTIONS) == 0
    spoken = capsys.readouterr()
    assert run("audit", *OPTIONS, "--quiet", "--out", "quiet") == 0
    quiet = capsys.readouterr()
    assert len(spoken.err) > 0
    assert quiet.err == ""
    headline = read_card(here / "quiet" / CARD).conclusion.headline
    assert headline in quiet.out
    assert headline in spoken.out


@pytest.mark.parametrize(
    ("expected", "more"),
    [(0, "probably break no more images"), (1, "break about 1 more image"), (2, "break about 2 more images")],
)
def test_the_cost_says_what_a_longer_search_would_find(expected, more):
    longer = Longer(factor=2.17, expected=expected, high=5, gradients=9)
    card = SimpleNamespace(
        budget=SimpleNamespace(gradients_per_image=9.0, seconds_per_image=0.5),
        longer=longer,
    )
    assert f"Estimate: a search 2.2 times as long would {more} (at most 5)." in _cost(card)


def test_options_reach_the_audit(asked):
    assert run("audit", "runs/a") == 1
    options = "--preset thorough --data cifar10 --images 50 --eps 4/255 --bounds 2/255,inf --attack autoattack --twin b"
    more = "--attack apgd:loss=dlr --twin c --seed 5 --batch 64 --out there --replace --as int8 --as int8"
    run("audit", "a b", *options.split(), *more.split())
    (target, config, plain), (other, settings, full) = asked
    assert (target, config, plain["command"]) == ("runs/a", AuditConfig(), "hiresnn audit runs/a")
    assert [plain[name] for name in ("eps", "source", "images", "out", "replace")] == [None, None, None, None, False]
    attacks = ("autoattack", "apgd:loss=dlr")
    assert settings == AuditConfig("thorough", "4/255", ("2/255", "inf"), attacks, 5, 64, views=("int8",))
    assert full.pop("command").startswith("hiresnn audit 'a b' --preset thorough --data cifar10")
    assert (other, list(full.pop("twins")), full.pop("out")) == ("a b", ["b", "c"], Path("there"))
    assert [full[name] for name in ("eps", "source", "images", "replace")] == ["4/255", "cifar10", 50, True]


def test_images_of_several_sizes_are_audited_in_one(here, capsys):
    (here / "two.py").write_text(NETWORK.replace("64, 10", "64, 2"))
    for name, size in (("train/a/1", (8, 9)), ("train/b/1", (20, 30)), ("test/a/1", (8, 9)), ("test/b/1", (16, 16))):
        (here / "photos" / name).parent.mkdir(parents=True)
        Image.new("L", size, 200).save(here / "photos" / f"{name}.png")
    assert run("audit", "two.py:network", "--data", "photos") == 1
    assert "--size 8 of hiresnn audit" in capsys.readouterr().err
    arguments = ("two.py:network", "--data", "photos", "--size", "8")
    assert run("audit", *arguments, "--out", "there") == 0
    card = read_card(here / "there" / CARD)
    assert card.data.size == [1, 8, 8]
    capsys.readouterr()
    assert run("audit", *arguments, "--verify", "there/card.json") == 0
    assert "data set" not in capsys.readouterr().err  # it was checked
    assert run("audit", "two.py:network", "--verify", "there/card.json") == 0
    assert "name it with --data" in capsys.readouterr().err
    assert run("audit", "two.py:network", "--data", "digits", "--verify", "there/card.json") == 1
    assert "--data names digits" in capsys.readouterr().out


MINE = f"""{Path(paper_networks.__file__).read_text(encoding="utf-8")}

def network():
    return Network(modules=weights(144, 10))

def normalised():
    return nn.Sequential(nn.Identity(), network())

def one_step():
    return OneStep(modules=weights(144, 10))
"""


def test_a_network_of_a_paper_is_audited_and_verified_by_one_command_each(here, capsys, monkeypatch):
    (here / "mine.py").write_text(MINE)
    bare = paper_networks.Network(modules=paper_networks.weights(144, 10))
    bare.head.bias.data.copy_(torch.linspace(-0.01, 0.01, 10))
    torch.save({"state_dict": bare.state_dict()}, "trained.pth")
    arguments = ("mine.py:network", "--weights", "trained.pth")
    few = Stage(
        rules=("own", "assg", "hart/width=1"), sample=4, iterations=2, queries=2, directions=2, noise=2, attacks=()
    )
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 200, (few,)))
    assert run("audit", *arguments, "--data", "digits", "--images", "20", "--out", "there") == 0
    card = read_card(here / "there" / CARD)
    assert (card.subject.library, [report.rule for report in card.screening.rules]) == ("own code", list(few.rules))
    assert "--weights trained.pth" in card.conclusion.next_step
    images = load("digits").test
    assert 20 * card.clean.percent == 100 * accuracy_of(bare, in_turn(images, 20))
    assert run("audit", *arguments, "--verify", "there/card.json") == 0
    capsys.readouterr()
    assert run("audit", "mine.py:network", "--verify", "there/card.json") == 1  # other weights
    assert "name them with --weights" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mine.py:one_step",), "one timestep per call; name their number with --timesteps"),
        (("mine.py:network", "--timesteps", "4"), "runs for 5 timesteps by itself"),
        (("mine.py:network", "--weights", "none.pth"), "there is no file none.pth"),
        (("runs/a", "--weights", "none.pth"), "--weights is for the network of a FILE.py:FUNCTION"),
        (("plain.py:network", "--timesteps", "4"), "--timesteps has no effect"),
    ],
)
def test_weights_and_timesteps_that_cannot_be_used_are_refused(here, arguments, message, capsys):
    (here / "mine.py").write_text(MINE)
    (here / "plain.py").write_text(NETWORK)
    assert run("audit", *arguments, "--data", "digits", "--images", "10") == 2
    assert message in plain(capsys.readouterr().err)


def test_weights_are_those_of_the_network_behind_its_normalisation(here):
    (here / "mine.py").write_text(MINE)
    bare = paper_networks.Network(modules=paper_networks.weights(144, 10))
    torch.nn.init.normal_(bare.head.weight)
    torch.save(bare.state_dict(), "trained.pth")
    loaded = resolve_model("mine.py:normalised", weights=Path("trained.pth")).model
    assert torch.equal(loaded[1].head.weight, bare.head.weight)


def accuracy_of(network, split):
    """Number of images that the network gets right, by the mean of its outputs over time."""
    with torch.no_grad():
        return int((network.eval()(split.images.float() / 255).mean(0).argmax(1) == split.labels).sum())


def test_an_interruption_names_the_command_that_continues(here, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "audit", interrupted)
    assert run("audit", "runs/a", "--preset", "standard") == 130
    assert "Continue with: hiresnn audit runs/a --preset standard" in capsys.readouterr().err


def check_table(card, text):
    """One row per bound with all accuracies."""
    assert [row.style for row in table(card).rows] == [None, None, "bold", None]
    assert all(word in text.splitlines()[0] for word in ("mine", "100 images", "quick"))
    clean, *attacked = rows(text)
    interval = f"{card.clean.low:.1f} - {card.clean.high:.1f}"
    assert clean == ["clean", "", "", "", f"{card.clean.percent:.1f}", interval]
    assert [row[0] for row in attacked] == ["2/255", "8/255", "inf"]
    for row, point in zip(attacked, card.curve[1:], strict=True):
        shares = (point.noise, point.fgsm, point.pgd, point.worst)
        assert row[1:5] == [f"{share.percent:.1f}" for share in shares]
        assert row[5] == f"{point.worst.low:.1f} - {point.worst.high:.1f}"


def test_a_card_is_confirmed_or_not_by_its_images(here, capsys):
    assert run("audit", *OPTIONS) == 0
    path = here / "audits" / "mine-network" / CARD
    capsys.readouterr()
    assert run("audit", "mine.py:network", "--verify", str(path)) == 0
    printed = capsys.readouterr()
    assert "Confirmed: the clean accuracy is that of the card, and " in printed.out
    assert "Not checked: that the attacks ran on the images that stand" in printed.err
    values = json.loads(path.read_text())
    values["curve"][1]["worst"]["count"] -= 1
    path.write_text(json.dumps(values))
    assert run("audit", "mine.py:network", "--verify", str(path)) == 1
    text = capsys.readouterr().out
    assert "at 2/255 the images leave" in text
    assert re.search(r"Not confirmed: \d+ adversarial images checked, (1 problem|[2-9] problems)\.", text)


@pytest.fixture
def trained(tmp_path):
    """A run folder with a recipe and a result."""
    path = tmp_path / "mine"
    path.mkdir()
    (path / "recipe.toml").write_text(dump(read("digits")))
    (path / "result.json").write_text(json.dumps({"clean": 91.25, "attacks": {}, "images": 80, "seed": 0}))
    return path


def test_a_run_becomes_a_page_and_what_is_damaged_is_noted(trained, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert run("report", trained, "-o", out) == 0
    assert "91.2" in out.read_text(encoding="utf-8")
    assert capsys.readouterr().out.startswith(f"Wrote {out} (")
    (trained / "audit").mkdir()
    (trained / "audit" / "card.json").write_text("{}")
    assert run("report", trained, "-o", out) == 0
    assert capsys.readouterr().err.startswith("Not in the page: ")
    page = out.read_text(encoding="utf-8")
    assert "card.json is damaged" in page
    assert run("report", trained, tmp_path / "nowhere", "-o", out) == 1
    assert out.read_text(encoding="utf-8") == page


def test_a_board_is_written_and_says_what_counts(tmp_path, capsys, monkeypatch):
    mine, zoo = tmp_path / "mine", [folder_of("digits-hire"), folder_of("robust-digits")]
    copy("digits-hire", mine)
    (mine / "audit" / "adversarial.npz").unlink()
    monkeypatch.setattr("hiresnn.app.zoo.folders", lambda: {path.name: path for path in zoo})
    out = tmp_path / "board.html"
    assert run("board", "zoo", mine, "-o", out) == 0
    text = capsys.readouterr().out
    assert "Unverified: mine: " in text
    assert f"Wrote {out}: 2 of 3 audits verified." in text
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert run("board", mine, "-o", out) == 1
    assert "0 of 1 audits verified" in capsys.readouterr().out
