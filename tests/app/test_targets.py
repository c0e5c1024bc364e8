"""Targets: a run, a weights file, or a function that returns a network; and one sentence for everything else."""

import hashlib
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hiresnn.app.folder import MODEL
from hiresnn.app.targets import PREFIX, ModelSource, audit_folder, resolve_model
from hiresnn.errors import RunError, UsageError
from hiresnn.network import SpikingNetwork

SOURCE = """
from dataclasses import dataclass
import beside
import torch
from torch import nn

@dataclass
class Width:
    classes: int = beside.CLASSES

class Net(nn.Module):
    library = "mylib"
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, Width().classes)
    def forward(self, images):
        return self.linear(images.flatten(1))

def network():
    return Net()

def plain():
    return lambda images: images.flatten(1)

def nothing():
    return None

made = Net()

def fails():
    raise RuntimeError("first\\nsecond")

def ours():
    import hiresnn
    return hiresnn.load("gone.safetensors")
"""


@pytest.fixture
def source(tmp_path):
    """A file with functions that return networks, which imports another beside it."""
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    (tmp_path / "beside.py").write_text("CLASSES = 7\n")
    before = list(sys.path)
    yield path
    assert sys.path == before
    for name in [name for name in sys.modules if name == "beside" or name.startswith(PREFIX)]:
        del sys.modules[name]


def test_a_run_is_its_network_with_its_recipe_however_it_is_named(trained, monkeypatch):
    monkeypatch.chdir(trained / "same")
    for text, name, method in (
        (".", "same", "traditional"),
        ("../run/", "run", "traditional"),
        (str(trained / "plain" / MODEL), "plain", "ann"),
    ):
        target = resolve_model(text)
        assert (target.name, target.kind, target.library, target.architecture) == (name, "run", "hiresnn", "vgg5")
        assert (target.recipe.method, target.source) == (method, "")


def test_weights_elsewhere_are_a_network_without_a_recipe(trained, tmp_path):
    for name in ("best.safetensors", MODEL):  # the name alone makes no run
        shutil.copy(trained / "run" / MODEL, tmp_path / name)
        target = resolve_model(str(tmp_path / name))
        assert isinstance(target.model, SpikingNetwork)
        assert (target.name, target.kind, target.recipe, target.library) == (name[:-12], "file", None, "hiresnn")


def test_a_function_in_a_file_is_called_for_its_network(source):
    target = resolve_model(f"{source}:network")
    assert isinstance(target.model, nn.Module)
    assert target.model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert (target.name, target.kind, target.recipe) == ("mine-network", "function", None)
    assert (target.library, target.architecture) == ("mylib", "Net")
    assert target.source == hashlib.sha256(SOURCE.encode()).hexdigest()


def test_a_class_and_a_network_at_hand_will_do_and_so_does_any_callable(source, trained):
    assert resolve_model(f"{source}:Net").architecture == "Net"
    assert isinstance(resolve_model(f"{source}:made").model, nn.Module)
    plain = resolve_model(f"{source}:plain")
    assert plain.model(torch.zeros(2, 1, 8, 8)).shape == (2, 64)
    assert (plain.architecture, plain.library) == ("function", "own code")
    installed = resolve_model("torch.nn:Flatten")
    assert (installed.kind, installed.name) == ("function", "torch.nn-Flatten")
    assert (installed.architecture, installed.library, len(installed.source)) == ("Flatten", "torch", 64)
    path = source.with_name("bare.py")
    path.write_text(f"import hiresnn\ndef network():\n    return hiresnn.load({str(trained / 'run' / MODEL)!r})\n")
    loaded = resolve_model(f"{path}:network")
    assert (loaded.architecture, loaded.library) == ("vgg5", "hiresnn")


def test_each_call_makes_a_network_anew_and_tells_whether_the_file_has_changed(source):
    first, second = resolve_model(f"{source}:network"), resolve_model(f"{source}:network")
    assert first.model is not second.model
    source.write_text(SOURCE + "\n# changed\n")
    assert resolve_model(f"{source}:network").source not in ("", first.source)


TABLE = [
    ("nowhere", RunError, "run folder .*nowhere does not exist"),
    ("empty", RunError, r"run folder .*empty has no recipe\.toml"),
    ("absent.safetensors", RunError, r"there is no file .*absent\.safetensors"),
    ("junk.safetensors", RunError, r"junk\.safetensors is damaged or cut short"),
    ("notes.txt", UsageError, r"is no run folder, no network of hiresnn zoo, .*; name one of"),
    ("mine.py", UsageError, r"is no run folder, no network of hiresnn zoo, .*; name one of"),
    ("absent.py:network", UsageError, r"there is no file .*absent\.py; name a Python file and its function"),
    ("mine.py:netwrok", UsageError, r"has no function 'netwrok'; did you mean .network.\? or add one"),
    ("mine.py:nothing", UsageError, "mine.py:nothing returned NoneType; it must return a network: images -> logits"),
    ("mine.py:fails", UsageError, r"mine\.py:fails failed: RuntimeError: first \(--debug shows where\)"),
    ("mine.py:ours", RunError, r"^there is no file gone\.safetensors"),
    ("syntax.py:network", UsageError, r"the import of .*syntax\.py failed: SyntaxError: "),
]


@pytest.mark.parametrize(("text", "error", "message"), TABLE)
def test_anything_else_is_refused_in_one_sentence(source, tmp_path, text, error, message):
    (tmp_path / "empty").mkdir()
    for name in ("junk.safetensors", "notes.txt", "syntax.py"):
        (tmp_path / name).write_text("def network(:\n")
    with pytest.raises(error, match=message) as caught:
        resolve_model(str(tmp_path / text))
    assert "\n" not in str(caught.value)


def test_a_function_may_import_what_lies_beside_its_file_when_it_is_called(tmp_path):
    (tmp_path / "beside_when_called.py").write_text("from torch.nn import Flatten\n")
    path = tmp_path / "late.py"
    path.write_text("def network():\n    import beside_when_called\n    return beside_when_called.Flatten()\n")
    assert isinstance(resolve_model(f"{path}:network").model, nn.Flatten)


def test_a_function_that_asks_for_the_number_of_classes_gets_that_of_the_data(tmp_path):
    path = tmp_path / "asks.py"
    path.write_text("from torch import nn\ndef network(num_classes):\n    return nn.Linear(64, num_classes)\n")
    assert resolve_model(f"{path}:network", source="digits").model.out_features == 10
    with pytest.raises(UsageError, match="missing 1 required positional argument: 'num_classes'"):
        resolve_model(f"{path}:network")


def test_files_of_one_name_are_two_modules_but_what_they_import_beside_them_needs_two_names(source):
    other = source.parent / "other" / source.name
    other.parent.mkdir()
    other.write_text(SOURCE.replace("import beside\n", "class beside:\n    CLASSES = 5\n"))
    models = [resolve_model(f"{path}:network").model for path in (source, other, source)]
    assert [model(torch.zeros(1, 64)).shape[1] for model in models] == [7, 5, 7]
    assert type(models[0]).__module__ == type(models[2]).__module__ != type(models[1]).__module__
    (other.parent / "beside").mkdir()
    (other.parent / "beside" / "__init__.py").write_text("CLASSES = 5\n")
    other.write_text(SOURCE)
    with pytest.raises(
        UsageError, match=r"imports beside/__init__\.py, but .*beside\.py .* already imported; rename one"
    ):
        resolve_model(f"{other}:network")


def test_no_two_targets_leave_their_evidence_in_one_folder(trained, source):
    def folder(text, kind="function", name="net-network"):
        return audit_folder(text, ModelSource(nn.Flatten(), name, kind)).as_posix()

    here = Path.cwd()
    assert folder("net.py:network") == folder(f"{here}/net.py:network") == "audits/net-network"
    assert folder("a/net.py:network") == folder("./b/../a/net.py:network") == "audits/a/net-network"
    assert folder("package.net:network", name="package.net-network") == "audits/package.net-network"
    assert folder("a/best.safetensors", "file", "best") == "audits/a/best"
    assert folder("/elsewhere/best.safetensors", "file", "best") == "audits/elsewhere/best"
    run = resolve_model(str(trained / "run"))
    assert audit_folder(str(trained / "run"), run) == trained / "run" / "audit"
