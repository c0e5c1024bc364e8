"""`hiresnn audit` on targets: what the card and the next command say, and what is refused or verified."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hiresnn import data
from hiresnn.app.audit import PAGE, audit, paper_of, verify
from hiresnn.app.folder import MODEL, RunFolder, locked
from hiresnn.app.networks import load
from hiresnn.app.recipe import override
from hiresnn.audit import PRESETS, AuditConfig, Preset, parse_bound
from hiresnn.audit.card import read_card
from hiresnn.audit.presets import Choice, Stage, stage_attack
from hiresnn.audit.run import ADVERSARIAL, CARD
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.progress import Progress

ONE = Stage(
    rules=("own",),
    sample=4,
    iterations=2,
    queries=2,
    directions=2,
    noise=2,
    attacks=(stage_attack("apgd", Choice.BEST, iterations=3, loss="dlr"), stage_attack("square", queries=2)),
)
COMMAND = "hiresnn audit runs/run"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Presets that take a second."""
    monkeypatch.setitem(PRESETS, "quick", Preset("quick", 20, (ONE,)))
    monkeypatch.setitem(PRESETS, "standard", Preset("standard", 20, (ONE, replace(ONE, sample=2))))


@pytest.fixture
def runs(trained, tmp_path):
    """The trained runs, to write in."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def audited(target, **changes):
    values = {"bounds": ("8/255", "26/255", "inf"), "batch_size": 15, "eps": "26/255", **changes}
    names = ("preset", "bounds", "attacks", "seed", "batch_size", "views")
    config = AuditConfig(**{name: values.pop(name) for name in names if name in values})
    return audit(str(target), config, progress=Progress(quiet=True), **values)


def shown(count):
    split = data.in_turn(data.load("digits").test, count)
    return split.images.float() / 255, split.labels


def test_the_card_of_a_run_describes_it_and_verifies_wherever_the_run_is(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    card, folder = audited("runs/run", command=COMMAND)
    assert (folder, read_card(folder / CARD)) == (Path("runs/run/audit"), card)
    subject, network = card.subject, load(runs / "run" / MODEL)
    assert (subject.name, subject.kind, subject.architecture) == ("run", "run", "vgg5")
    assert (subject.library, subject.method, subject.timesteps) == ("hiresnn", "traditional", 4)
    assert subject.neurons == len(network.neurons)
    assert (card.data.name, card.data.split, card.data.images, card.data.size) == ("digits", "test", 20, [1, 8, 8])
    assert (card.setting.bounds, card.setting.command) == (["0", "8/255", "26/255", "inf"], COMMAND)
    assert (card.setting.headline, card.setting.target) == ("26/255", "runs/run")
    assert str(torch.__version__).startswith(card.environment["torch"])  # the package may leave out "+cu132"
    images, labels = shown(20)
    assert card.clean.count == int((network(images).argmax(1) == labels).sum())
    assert verify(folder).problems == ()
    assert "the network's weights are not those that the card names" in verify(folder, "runs/same").problems
    with pytest.raises(RunError, match=r"name a card\.json of hiresnn audit"):
        verify(runs / "run" / "recipe.toml")
    moved = runs.rename(runs.parent / "moved") / "run" / "audit"
    assert verify(moved).problems == ()
    other = shutil.copytree(moved, moved.parents[1] / "card of another folder")
    with pytest.raises(RunError, match="run folder runs/run does not exist"):
        verify(other)


def test_a_repeated_audit_does_no_work_and_another_network_in_the_folder_does_its_own(runs):
    out = runs / "out"
    first, folder = audited(runs / "run", out=out)
    units = {path: path.stat().st_mtime_ns for path in out.glob("cache-*/*")}
    again, _ = audited(runs / "run", out=out)
    assert {path: path.stat().st_mtime_ns for path in out.glob("cache-*/*")} == units
    assert (again.curve, again.attacks, folder) == (first.curve, first.attacks, out)
    other, _ = audited(runs / "same", out=out)
    assert other.subject.fingerprint != first.subject.fingerprint
    assert len(list(out.glob("cache-*"))) == 2


def test_the_page_is_written_while_the_folder_is_locked(runs):
    def page(card):
        with pytest.raises(RunError, match="is in use"):
            locked(runs / "out", "audit folder")
        return card.conclusion.headline

    card, folder = audited(runs / "plain", out=runs / "out", page=page)
    assert (folder / PAGE).read_text() == card.conclusion.headline


def test_the_defaults_are_the_recipes_bound_and_pgd_and_the_presets_images(runs, tiny):
    card, _ = audited(runs / "run", bounds=("inf",), eps=None)
    recipe = RunFolder.open(runs / "run").recipe
    assert card.at(card.setting.headline).eps == pytest.approx(recipe.attack.eps)
    assert card.data.images == 20
    assert audited(runs / "plain", images=10**6, bounds=())[0].data.images == len(data.load("digits").test)
    changes = {"attack.eps": "8/255", "attack.step": "0.01", "attack.iterations": "3", "attack.random_start": "true"}
    paper = paper_of(override(tiny, changes), parse_bound("4/255"))
    assert paper == {"step": pytest.approx(0.005), "iterations": 3, "random_start": True}
    paper = paper_of(None, parse_bound("16/255"))
    assert paper == {"step": pytest.approx(0.02), "iterations": 7}  # sec. 5.1: 0.01 at 8/255, 7 iterations


def test_an_ann_is_audited_with_its_own_gradient_alone(runs):
    card, _ = audited(runs / "plain")
    assert (card.subject.method, card.subject.neurons, card.subject.timesteps) == ("ann", 0, None)
    assert card.activity is None
    assert {row.rule for row in card.attacks} == {"own", None}


def test_twins_attacks_and_views_are_run_and_the_next_step_keeps_what_was_asked_for(runs):
    card, folder = audited(
        runs / "run",
        eps="16/255",
        bounds=("4/255",),
        twins=(str(runs / "same"),),
        attacks=("fgsm:rule=straight-through",),
        views=("int8",),
        seed=3,
    )
    (twin,) = card.setting.twins
    assert twin.startswith("same (")
    row = next(row for row in card.attacks if row.attack == "transfer")
    assert (row.label, row.rule, row.shown > 0, row.backward > 0) == (f"transfer from {twin}", None, True, True)
    assert (card.attacks[-1].label, card.attacks[-1].rule) == ("fgsm:rule=straight-through (added)", "straight-through")
    found = json.loads((folder / "deployed.json").read_bytes())
    assert found["views"]["float"]["own"] == [point.worst.percent for point in card.curve]
    assert card.conclusion.next_step == (
        f"hiresnn audit {runs / 'run'} --eps 16/255 --bounds 4/255 --attack fgsm:rule=straight-through "
        f"--twin {runs / 'same'} --as int8 --seed 3 --batch 15 --preset standard"
    )


@pytest.mark.parametrize("twins", [("run",), ("same", "same"), ("copy",)])
def test_a_twin_with_the_weights_of_the_network_or_of_another_twin_is_refused(runs, twins):
    shutil.copytree(runs / "run", runs / "copy")
    with pytest.raises(UsageError, match=f"the twin .*{twins[-1]} has the weights of the audited network or of"):
        audited(runs / "run", twins=tuple(str(runs / twin) for twin in twins))
    assert not (runs / "run" / "audit").exists()


NETWORK = """
import torch
from torch import nn
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear({pixels}, {classes}))
def always_zero():
    made = network()
    nn.init.zeros_(made[1].weight)
    made[1].bias.data = torch.eye({classes})[0]
    return made
"""


def function(folder, name="network", *, pixels=64, classes=10):
    path = folder / "mine.py"
    path.write_text(NETWORK.format(pixels=pixels, classes=classes))
    return f"{path}:{name}"


def test_a_function_is_audited_and_its_card_makes_verification_run_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    card, folder = audited(function(tmp_path), source="digits")
    assert folder == Path("audits/mine-network")
    assert (card.subject.kind, card.subject.method, card.subject.neurons) == ("function", None, 0)
    (tmp_path / "mine.py").write_text("raise RuntimeError('executed')")
    with pytest.raises(UsageError, match="may not choose the code"):
        verify(folder)
    forged = json.loads((folder / CARD).read_text())
    forged["subject"]["kind"] = "run"  # the target is still mine.py:network
    (folder / CARD).write_text(json.dumps(forged))
    with pytest.raises(UsageError, match="names Python code"):
        verify(folder)
    assert verify(folder, function(tmp_path)).problems == ()


SPIKING = """
import torch
from torch import nn
class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x)
    @staticmethod
    def backward(ctx, grad):
        return grad / (1 + 10 * ctx.saved_tensors[0].abs()) ** 2
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(64, 32, bias=False), nn.Linear(32, 10)
    def forward(self, images):
        potential = total = 0
        for _ in range(4):
            potential = potential + self.first(images.flatten(1))
            spikes = Spike.apply(potential - 0.5)
            potential = potential - 0.5 * spikes
            total = total + self.head(spikes)
        return total / 4
"""


def test_the_card_of_a_network_that_spikes_in_its_own_loop_is_confirmed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.py").write_text(SPIKING)  # no neuron of it spikes on a black image
    card, folder = audited("loop.py:Network", source="digits")
    assert card.subject.neurons == 1
    assert verify(folder, "loop.py:Network").problems == ()


def test_without_broken_images_the_archive_is_empty_with_the_same_arrays(tmp_path):
    card, folder = audited(function(tmp_path, "always_zero"), source="digits", out=tmp_path / "out")
    assert card.clean.count == card.at("inf").worst.count == 2  # the zeros of 20 digits, every class in turn
    with np.load(folder / ADVERSARIAL, allow_pickle=False) as file:
        assert {name: (values.dtype.str[1:], values.shape) for name, values in file.items()} == {
            "index": ("i8", (0,)),
            "eps": ("f8", (0,)),
            "label": ("i8", (0,)),
            "adversarial": ("f4", (0, 1, 8, 8)),
            "clean": ("f4", (0, 1, 8, 8)),
        }


def archive(path, size=8, classes=10):
    images, labels = np.zeros((2 * classes, size, size, 1), np.uint8), np.arange(2 * classes) % classes
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return str(path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"twins": ("nowhere",)}, RunError, "run folder nowhere does not exist"),
        ({"twins": ({"classes": 100},)}, UsageError, "the twin mine-network .* has 100 output classes"),
        ({"source": "no-such-data"}, HiresnnError, "no-such-data"),
        ({"source": {"size": 16}}, RunError, "has image_size = 8, but the images of .* have 16"),
        ({"source": {"classes": 7}}, RunError, "has num_classes = 10, but the images of .* have 7"),
        ({"target": {}}, UsageError, "has no data set of its own; name one with --data"),
        ({"target": {"pixels": 100}, "source": "digits"}, UsageError, "call 1 of the network, .* 1 x 8 x 8, failed: R"),
        ({"target": {"classes": 100}, "source": "digits"}, UsageError, "mine-network has 100 output classes, but dig"),
        ({"out": "file/audit"}, RunError, "file/audit cannot be written .*choose another"),
    ],
)
def test_a_wrong_request_is_refused_and_writes_no_card(runs, tmp_path, monkeypatch, changes, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    if isinstance(changes.get("source"), dict):
        changes = {**changes, "source": archive(tmp_path / "other.npz", **changes["source"])}
    if "twins" in changes:
        changes = {
            "twins": [twin if isinstance(twin, str) else function(tmp_path, **twin) for twin in changes["twins"]]
        }
    if "target" in changes:
        changes = {**changes, "target": function(tmp_path, **changes["target"])}
    if "out" in changes:
        changes = {"out": tmp_path / changes["out"]}
    with pytest.raises(error, match=message):
        audited(**{"target": runs / "run", **changes})
    assert not (runs / "run" / "audit" / CARD).exists()


def test_a_smaller_audit_replaces_a_larger_one_only_when_it_is_told_to(runs):
    audited(runs / "run", images=20, preset="standard")
    before = (runs / "run" / "audit" / CARD).read_bytes()
    for changes in ({"images": 10, "preset": "standard"}, {"images": 20}):
        with pytest.raises(RunError, match=r"20 images with preset standard.*--replace"):
            audited(runs / "run", **changes)
    assert (runs / "run" / "audit" / CARD).read_bytes() == before
    assert audited(runs / "run", images=10, replace=True)[0].data.images == 10
    assert audited(runs / "run", images=20, preset="standard")[0].data.images == 20
    (runs / "run" / "audit" / CARD).write_text('{"schema_version": 7}')
    with pytest.raises(RunError, match=r"card\.json is damaged .*--replace"):
        audited(runs / "run", images=10)
    audited(runs / "run", images=10, replace=True)
