"""Targets: a run, a weights file, or a function that returns a network; and one sentence for everything else."""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from hiresnn.app.folder import MODEL
from hiresnn.app.targets import PREFIX, ModelSource, audit_folder, resolve_model
from hiresnn.errors import RunError, UsageError
from hiresnn.network import SpikingNetwork

SOURCE = """
import sys
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
number = 3

def sized(classes):
    return Net()
"""


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """A file with functions that return networks, which imports another beside it."""
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    (tmp_path / "beside.py").write_text("CLASSES = 7\n")
    before = list(sys.path)
    yield path
    assert sys.path == before
    for name in [name for name in sys.modules if name == "beside" or name.startswith(PREFIX)]:
        del sys.modules[name]


def test_a_run_folder_is_its_network_with_its_recipe(trained: Path) -> None:
    found = resolve_model(str(trained / "run"))
    assert isinstance(found.model, SpikingNetwork)
    assert (found.name, found.kind, found.library, found.architecture) == ("run", "run", "hiresnn", "vgg5")
    assert found.recipe is not None
    assert found.recipe.method == "traditional"
    assert found.source == ""


def test_a_run_is_called_by_its_folder_however_it_is_named(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained / "same")
    assert resolve_model(".").name == "same"
    assert resolve_model("../run/").name == "run"


def test_the_weights_in_a_run_are_the_run(trained: Path) -> None:
    found = resolve_model(str(trained / "plain" / MODEL))
    assert (found.name, found.kind, found.folder) == ("plain", "run", trained / "plain")
    assert found.recipe is not None
    assert found.recipe.method == "ann"
    assert (found.library, found.architecture) == ("hiresnn", "vgg5")


def test_weights_elsewhere_are_a_network_without_a_recipe(trained: Path, tmp_path: Path) -> None:
    shutil.copy(trained / "run" / MODEL, tmp_path / "best.safetensors")
    found = resolve_model(str(tmp_path / "best.safetensors"))
    assert isinstance(found.model, SpikingNetwork)
    assert (found.name, found.kind, found.recipe, found.library) == ("best", "file", None, "hiresnn")
    shutil.copy(trained / "run" / MODEL, tmp_path / MODEL)  # the name alone makes no run
    assert resolve_model(str(tmp_path / MODEL)).kind == "file"


def test_a_function_in_a_file_is_called_for_its_network(source: Path) -> None:
    found = resolve_model(f"{source}:network")
    assert isinstance(found.model, nn.Module)
    assert found.model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)
    assert (found.name, found.kind, found.recipe) == ("mine-network", "function", None)
    assert (found.library, found.architecture) == ("mylib", "Net")
    assert found.source == hashlib.sha256(SOURCE.encode()).hexdigest()


def test_a_class_and_a_network_at_hand_will_do_and_so_does_any_callable(source: Path) -> None:
    assert resolve_model(f"{source}:Net").architecture == "Net"
    assert isinstance(resolve_model(f"{source}:made").model, nn.Module)
    plain = resolve_model(f"{source}:plain")
    assert plain.model(torch.zeros(2, 1, 8, 8)).shape == (2, 64)
    assert (plain.architecture, plain.library) == ("function", "own code")


def test_each_call_makes_a_network_anew(source: Path) -> None:
    one, other = resolve_model(f"{source}:network").model, resolve_model(f"{source}:network").model
    assert one is not other


def test_the_source_tells_whether_the_file_has_changed(source: Path) -> None:
    before = resolve_model(f"{source}:network").source
    source.write_text(SOURCE + "\n# changed\n")
    assert resolve_model(f"{source}:network").source not in ("", before)


def test_a_function_of_an_installed_module_is_called_too() -> None:
    found = resolve_model("torch.nn:Flatten")
    assert (found.kind, found.name) == ("function", "torch.nn-Flatten")
    assert (found.architecture, found.library) == ("Flatten", "torch")
    assert len(found.source) == 64


def test_a_network_of_ours_from_a_function_is_ours(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "ours.py"
    path.write_text(f"import hiresnn\ndef network():\n    return hiresnn.load({str(trained / 'run' / MODEL)!r})\n")
    found = resolve_model(f"{path}:network")
    assert (found.kind, found.library, found.architecture) == ("function", "hiresnn", "vgg5")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nowhere", RunError, "run folder .*nowhere does not exist"),
        ("empty", RunError, r"is not a run folder: it has no recipe\.toml"),
        ("absent.safetensors", RunError, r"there is no file .*absent\.safetensors"),
        ("junk.safetensors", RunError, r"junk\.safetensors is damaged or cut short"),
        ("notes.txt", UsageError, r"is no run folder, no \.safetensors file and no FILE\.py:FUNCTION; name one of"),
        ("mine.py", UsageError, r"is no run folder, no \.safetensors file and no FILE\.py:FUNCTION; name one of"),
        ("absent.py:network", UsageError, r"there is no file .*absent\.py; name a Python file and its function"),
        ("mine.py:absent", UsageError, r"mine\.py has no function .absent.; add one"),
        ("mine.py:", UsageError, "has no function ''"),
        ("mine.py:netwrok", UsageError, r"has no function 'netwrok'; did you mean .network.\? add one"),
        ("mine.py:sized", UsageError, "called without arguments, so give each a default"),
        ("mine.py:number", UsageError, "has no function 'number'"),
        (
            "mine.py:nothing",
            UsageError,
            "mine.py:nothing returned NoneType; it must return a network: images -> logits",
        ),
    ],
)
def test_anything_else_is_refused_in_one_sentence(
    source: Path, tmp_path: Path, text: str, error: type[Exception], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("junk.safetensors", "notes.txt"):
        (tmp_path / name).write_text("junk")
    with pytest.raises(error, match=message) as caught:
        resolve_model(str(tmp_path / text))
    assert "\n" not in str(caught.value)


def test_a_run_without_weights_is_refused(trained: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    (run / MODEL).unlink()
    with pytest.raises(RunError, match=r"has no model\.safetensors; finish it"):
        resolve_model(str(run))


@pytest.mark.parametrize("name", ["no_such_module_anywhere", "torch.no_such_part"])
def test_a_module_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"module '{name}' cannot be imported: ModuleNotFoundError: No module named"):
        resolve_model(f"{name}:network")


def test_a_path_without_py_is_taken_for_a_module_and_refused() -> None:
    with pytest.raises(UsageError, match=r"module '\./mine' cannot be imported: "):
        resolve_model("./mine:network")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyError('x')", "KeyError: 'x'"),
        ("raise ValueError", "ValueError"),
        ("raise RuntimeError('first\\nsecond')", "RuntimeError: first"),
        ("import nothing_of_the_kind", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_function_that_fails_is_refused_with_the_first_line_of_its_error(
    tmp_path: Path, body: str, reason: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"def network():\n    {body}\n")
    with pytest.raises(UsageError) as caught:
        resolve_model(f"{path}:network")
    assert str(caught.value) == f"{path}:network failed: {reason} (--debug shows where)"


def test_a_function_that_wants_arguments_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def network(classes):\n    return classes\n")
    with pytest.raises(UsageError, match=r"mine\.py:network failed: TypeError: network\(\) missing 1 required"):
        resolve_model(f"{path}:network")


def test_a_refusal_of_ours_inside_a_function_is_told_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ours.py"
    path.write_text("import hiresnn\ndef network():\n    return hiresnn.load('absent.safetensors')\n")
    with pytest.raises(RunError, match=r"^there is no file absent\.safetensors"):
        resolve_model(f"{path}:network")


def test_a_file_that_is_no_python_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def network(:\n")
    with pytest.raises(UsageError, match=r"mine\.py cannot be imported: SyntaxError: .* \(--debug shows where\)$"):
        resolve_model(f"{path}:network")


def test_a_function_may_import_what_lies_beside_its_file_when_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "beside_when_called", raising=False)
    (tmp_path / "beside_when_called.py").write_text("from torch.nn import Flatten\n")
    path = tmp_path / "late.py"
    path.write_text("def network():\n    import beside_when_called\n    return beside_when_called.Flatten()\n")
    assert isinstance(resolve_model(f"{path}:network").model, nn.Flatten)


def test_the_path_for_imports_is_put_back_when_the_file_fails(tmp_path: Path) -> None:
    path = tmp_path / "fails.py"
    path.write_text("raise LookupError('own trouble')\n")
    before = list(sys.path)
    with pytest.raises(Exception, match="own trouble"):
        resolve_model(f"{path}:network")
    assert sys.path == before


def test_a_class_in_the_users_file_is_own_code(tmp_path: Path) -> None:
    path = tmp_path / "bare.py"
    path.write_text("from torch import nn\nclass Net(nn.Flatten):\n    pass\n")
    found = resolve_model(f"{path}:Net")
    assert (found.architecture, found.library) == ("Net", "own code")


def test_a_network_that_says_nothing_is_called_by_its_class() -> None:
    found = ModelSource(nn.Flatten(), "mine", "function")
    assert (found.architecture, found.library) == ("Flatten", "torch")


def test_a_file_written_by_us_is_ours_whatever_its_class() -> None:
    assert ModelSource(nn.Flatten(), "mine", "file").library == "hiresnn"


def test_files_of_one_name_are_two_modules_each_with_what_lies_beside_it(source: Path) -> None:
    other = source.parent / "other" / source.name
    other.parent.mkdir()
    other.write_text(SOURCE)
    (other.parent / "beside").mkdir()
    (other.parent / "beside" / "__init__.py").write_text("CLASSES = 5\n")
    made = [resolve_model(f"{path}:network").model for path in (source, other, source)]
    assert [model(torch.zeros(1, 64)).shape[1] for model in made] == [7, 5, 7]
    homes = [type(model).__module__ for model in made]
    assert homes[0] == homes[2] != homes[1]
    assert all(type(model) is vars(sys.modules[home])["Net"] for home, model in zip(homes[1:], made[1:], strict=True))


def test_no_two_targets_leave_their_evidence_in_one_folder(trained: Path, source: Path) -> None:
    def folder(text: str, kind: str = "function", name: str = "net-network") -> str:
        return audit_folder(text, ModelSource(nn.Flatten(), name, kind)).as_posix()  # type: ignore[arg-type]

    here = Path.cwd()
    assert folder("net.py:network") == folder(f"{here}/net.py:network") == "audits/net-network"
    assert folder("a/net.py:network") == folder("./b/../a/net.py:network") == "audits/a/net-network"
    assert folder("package.net:network", name="package.net-network") == "audits/package.net-network"
    assert folder("a/best.safetensors", "file", "best") == "audits/a/best"
    assert folder("/elsewhere/best.safetensors", "file", "best") == "audits/elsewhere/best"
    run = resolve_model(str(trained / "run"))
    assert audit_folder(str(trained / "run"), run) == trained / "run" / "audit"
