"""A network of the user's own: trained by every method, loaded again, and never executed without being named."""

import json
import shutil
import sys

import pytest
import torch

import hiresnn
from hiresnn import data
from hiresnn.app import analyze
from hiresnn.app.build import ann_of
from hiresnn.app.evaluate import evaluate
from hiresnn.app.folder import MODEL, SOURCE, RunFolder
from hiresnn.app.recipe import override
from hiresnn.app.targets import UserCode, load_run, own_code, resolve_model
from hiresnn.app.train import ann_key, train
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.models import OwnNetwork
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

MINE = """
from torch import nn
from parts import block

def network(num_classes):
    return nn.Sequential(
        block(1, 4), nn.MaxPool2d(2), block(4, 8), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, num_classes)
    )

def lists():
    return [1]

def ten():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU(), nn.Linear(10, 10))

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def three():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU())

def larger():
    return nn.Sequential(nn.Flatten(), nn.Linear(100, 10), nn.ReLU(), nn.Linear(10, 10))
"""
PARTS = """
from torch import nn

def block(before, after):
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU())
"""
SMALL = {
    "data.train_images": "64", "ann.epochs": "2", "snn.epochs": "1", "method": "hire", "noise.step": "0.05",
    "conversion.rescale": "true",
}  # fmt: skip


def code_in(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(MINE)
    (folder / "parts.py").write_text(PARTS)
    return folder / "mine.py"


def own(recipe, source, **changes):
    return override(recipe, {**SMALL, "model.source": json.dumps(str(source)), **changes})


def fit(recipe, out, *, resume=False):
    return train(recipe, out=out, resume=resume, progress=Progress(quiet=True))


@pytest.fixture(autouse=True)
def _no_parts():
    """Each test has files of its own, and one process imports only one file of each name."""
    sys.modules.pop("parts", None)


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    """A folder with mine.py, a run of it by HIRE, and its ANN. Read only."""
    folder = tmp_path_factory.mktemp("own")
    sys.modules.pop("parts", None)  # of a test before the first that takes this folder: it runs before `_no_parts`
    fit(own(tiny, f"{code_in(folder)}:network"), folder / "runs" / "hire")
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """The same in a folder that a test may change; its recipe names the code by the path of `finished`."""
    for name in ("runs", "mine.py", "parts.py"):
        (shutil.copytree if (finished / name).is_dir() else shutil.copy)(finished / name, tmp_path / name)
    recipe = tmp_path / "runs" / "hire" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(finished), str(tmp_path)))
    source = tmp_path / "runs" / "hire" / SOURCE
    source.write_text(source.read_text().replace(str(finished), str(tmp_path)))
    return tmp_path


def test_a_run_of_an_own_network_holds_what_loads_it_again(finished, capsys):
    run = finished / "runs" / "hire"
    record = RunFolder.open(run).read_json(SOURCE)
    assert record["path"] == str((finished / "mine.py").resolve())
    assert set(record["files"]) == {"mine.py", "parts.py"}
    network = hiresnn.load(run)
    assert capsys.readouterr().err == f"Executing {finished / 'mine.py'}:network, the code of the network in {run}.\n"
    assert list(network.neurons) == ["network.0.2", "network.2.2"]
    images = data.load("digits").test.images[:50].float() / 255
    again = resolve_model(str(run))
    assert torch.equal(network(images), again.model(images))
    assert (again.architecture, again.library, again.kind) == ("mine-network", "hiresnn", "run")


def test_images_are_normalised_in_front_of_the_network_unless_the_recipe_says_no(tiny, tmp_path):
    dataset, recipe = data.load("digits"), own(tiny, f"{code_in(tmp_path)}:network")
    state = ann_of(recipe, dataset, dataset.train, own_code(recipe)).state_dict()
    mean, std = data.channel_statistics(dataset.train)
    assert state["normalise.mean"].flatten().tolist() == pytest.approx(mean)
    assert state["normalise.std"].flatten().tolist() == pytest.approx(std)
    plain = ann_of(override(recipe, {"model.normalise": "false"}), dataset, dataset.train, own_code(recipe))
    assert "normalise.mean" not in plain.state_dict()
    symmetric = ann_of(override(recipe, {"model.normalise": "symmetric"}), dataset, dataset.train, own_code(recipe))
    assert symmetric.normalise(torch.tensor([[[[0.0, 0.5, 1.0]]]])).flatten().tolist() == [-1, 0, 1]


@pytest.mark.parametrize("method", ["ann", "converted", "trades", "mpd-sgr"])
def test_every_method_trains_an_own_network_from_one_ann(tiny, copied, method):
    (ann,) = (copied / "runs" / "ann").iterdir()
    before = (ann / MODEL).read_bytes()
    run = fit(own(tiny, f"{copied / 'mine.py'}:network", method=method), copied / "runs" / f"by-{method}")
    assert list((copied / "runs" / "ann").iterdir()) == [ann]
    assert (ann / MODEL).read_bytes() == before
    assert isinstance(load_run(RunFolder.open(run)), OwnNetwork if method == "ann" else SpikingNetwork)


def test_an_own_network_is_evaluated_and_analysed_as_any_run_by_executing_its_code_once(copied, capsys):
    run, quiet = copied / "runs" / "hire", Progress(quiet=True)
    assert evaluate(run, attacks=["fgsm"], limit=20, progress=quiet)["images"] == 20
    assert capsys.readouterr().err.count("Executing") == 1
    activity = analyze.activity(run / MODEL, limit=4, progress=quiet)["activity"]["clean"]
    assert set(activity["layers"]) == {"network.0.2", "network.2.2"}
    assert capsys.readouterr().err.count("Executing") == 1
    assert (run / "analysis-activity.json").is_file()


def test_the_code_of_a_run_is_found_from_everywhere(tiny, tmp_path, monkeypatch):
    code_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    run = fit(own(tiny, "mine.py:network", method="ann"), tmp_path / "run")
    monkeypatch.chdir(run)
    assert isinstance(load_run(RunFolder.open(run)), OwnNetwork)


def test_changed_code_is_refused_by_the_name_of_the_file(tiny, copied):
    run = copied / "runs" / "hire"
    (copied / "parts.py").write_text(PARTS + "\n# changed\n")
    for refused in (
        lambda: hiresnn.load(run),
        lambda: fit(own(tiny, f"{copied / 'mine.py'}:network"), run, resume=True),
        lambda: evaluate(run, progress=Progress(quiet=True)),
    ):
        with pytest.raises(
            RunError, match=r"^parts\.py of .*mine\.py:network changed after the run .* delete source\.json"
        ):
            refused()
    (run / SOURCE).unlink()
    assert isinstance(hiresnn.load(run), SpikingNetwork)
    (copied / "mine.py").unlink()
    with pytest.raises(UsageError, match=r"there is no file .*mine\.py"):
        hiresnn.load(run)


def test_no_file_chooses_the_code_that_runs(copied):
    run = copied / "runs" / "hire"
    (copied / "mine.py").write_text("raise SystemExit('executed')")
    with pytest.raises(RunError, match=r"network of your own, .*; hiresnn\.load\('.*hire'\) executes it, or pass"):
        hiresnn.load(run / MODEL)
    for text in (run, run / MODEL):
        with pytest.raises(
            UsageError, match=r"Python code.* which a file may not choose to run; if you trust it, name the run"
        ):
            resolve_model(str(text), may_run_code=False)
    network = hiresnn.load(run / MODEL, ann=build_mine(copied / "copy"))
    assert isinstance(network, SpikingNetwork)


def build_mine(folder):
    return UserCode(str(code_in(folder)), "network").network(lambda: 10)


def test_the_ann_is_known_by_the_content_of_code_and_weights_and_not_by_their_path(tiny, tmp_path):
    def key(folder, function="network", weights=False):
        changes = {"model.weights": json.dumps(str(tmp_path / "w.pt"))} if weights else {}
        recipe = own(tiny, f"{tmp_path / folder / 'mine.py'}:{function}", **changes)
        return ann_key(recipe, data.load("digits"), own_code(recipe))

    for name in ("one", "other"):
        code_in(tmp_path / name)
    torch.save(build_mine(tmp_path).state_dict(), tmp_path / "w.pt")
    keys = [key("one"), key("other"), key("one", "ten"), key("one", weights=True)]
    (tmp_path / "other" / "parts.py").write_text(PARTS + "\n")
    torch.save(build_mine(tmp_path).state_dict(), tmp_path / "w.pt")
    keys += [key("other"), key("one", weights=True)]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 5


def test_an_ann_starts_from_a_file_of_weights_which_the_run_does_not_need_later(tiny, tmp_path):
    network, path = build_mine(tmp_path), tmp_path / "w.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path)
    changes = {"model.weights": json.dumps(str(path)), "ann.epochs": "0", "method": "ann"}
    recipe = own(tiny, f"{code_in(tmp_path)}:network", **changes)
    run = fit(recipe, tmp_path / "run")
    trained = load_run(RunFolder.open(run))
    assert all(
        torch.equal(trained.state_dict()[f"network.{key}"], value) for key, value in network.state_dict().items()
    )
    torch.save(build_mine(tmp_path).state_dict(), path)
    with pytest.raises(RunError, match=r"w\.pth changed after the run .*run began; restore it"):
        fit(recipe, run, resume=True)
    path.unlink()
    assert isinstance(load_run(RunFolder.open(run)), OwnNetwork)  # the run has weights of its own


def test_networks_of_the_package_start_from_weights_too(trained, tiny, tmp_path):
    weights = trained / "plain" / MODEL
    changes = {"model.weights": json.dumps(str(weights)), "ann.epochs": "0", "method": "ann"}
    run = fit(override(tiny, changes), tmp_path / "run")
    expected, trained_weights = (hiresnn.load(path).state_dict() for path in (weights, run))
    assert all(torch.equal(trained_weights[name], value) for name, value in expected.items())
    assert RunFolder.open(run).read_json("ann.json") != RunFolder.open(trained / "plain").read_json("ann.json")


@pytest.mark.parametrize(
    ("source", "weights", "message"),
    [
        ("mine.py", None, "is no FILE.py:FUNCTION"),
        ("mine.py:lists", None, "mine.py:lists returned list; it must return a torch.nn.Module"),
        ("mine.py:linear", None, "the network has no ReLU"),
        ("mine.py:three", None, "mine.py:three returns 3 logits for the 10 classes of digits; take num_cl"),
        ("mine.py:larger", None, r"mine.py:larger, called .* digits, 1 x 8 x 8 .* RuntimeError: .* data\.size"),
        ("mine.py:network", "absent.pt", "there is no file absent.pt; name a"),
        ("mine.py:network", "w.pt", "w.pt do not fit the network"),
    ],
)
def test_what_does_not_suit_is_refused_before_a_folder_is_made(tiny, tmp_path, monkeypatch, source, weights, message):
    code_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.zeros(1)}, "w.pt")
    changes = {} if weights is None else {"model.weights": json.dumps(weights)}
    with pytest.raises(HiresnnError, match=message):
        fit(own(tiny, source, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_line_says_what_a_conversion_without_rescale_costs_and_the_run_holds_the_report(tiny, tmp_path, heard):
    recipe = own(tiny, f"{code_in(tmp_path)}:network", **{"conversion.rescale": "false", "ann.epochs": "0"})
    train(recipe, out=tmp_path / "run", progress=heard)
    assert any("conversion.rescale is false" in line for line in heard.lines)
    lines = (tmp_path / "run" / "conversion.txt").read_text().splitlines()
    assert "network.0.2  ReLU -> LIF" in lines
    assert "network.0.1  BatchNorm -> part of network.0.0" in lines


def test_a_compiled_network_is_trained_and_one_without_gradients_is_refused(tiny, tmp_path):
    path = code_in(tmp_path)
    path.write_text(
        MINE + "\ndef compiled():\n    import torch\n    return torch.compile(ten(), backend='eager')\n"
        "\nONE = None\ndef once():\n    global ONE\n    ONE = ONE or ten()\n    return ONE\n"
        "\ndef still():\n    return ten().requires_grad_(False)\n"
    )
    fit(own(tiny, f"{path}:linear", method="ann"), tmp_path / "runs" / "linear")  # it needs no ReLU to be an ANN
    run = fit(own(tiny, f"{path}:compiled", **{"ann.epochs": "1"}), tmp_path / "runs" / "compiled")
    assert "layers.network.1.weight" in load_run(RunFolder.open(run)).state_dict()
    twins = [fit(own(tiny, f"{path}:once", seed=str(seed)), tmp_path / "runs" / f"once{seed}") for seed in (0, 1)]
    first, second = (load_run(RunFolder.open(twin)) for twin in twins)
    assert not torch.equal(next(first.parameters()), next(second.parameters()))
    with pytest.raises(UsageError, match="no parameter of the network is trained"):
        fit(own(tiny, f"{path}:still"), tmp_path / "runs" / "still")
