"""Networks by name, from the archive of a release, from a folder and from a hub; those of the zoo are as audited."""

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch

import hiresnn
from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app import zoo
from hiresnn.app.audit import verify
from hiresnn.app.folder import METRICS
from hiresnn.app.recipe import override, read
from hiresnn.app.zoo import ARCHIVE, FOLDER_VARIABLE, Archive, folder_of, folders, names
from hiresnn.errors import RunError, UsageError
from hiresnn.hub.pretrained import (
    ALLOWED,
    CARD,
    COPIED,
    README,
    copy,
    from_pretrained,
    model_card,
    shipped,
)

from ..scripts import imported

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "networks.py"
RECIPES = {
    "digits-traditional": ("digits", {"method": "traditional"}),
    "digits-hire": ("digits", {"method": "hire"}),
    "robust-digits": ("robust-digits", {}),
    "digits-consistency": ("robust-digits", {"method": "consistency"}),
    "cifar10-traditional": ("vgg5-cifar10-cpu", {"method": "traditional", "model.hidden": "96"}),
    "cifar10-hire": ("vgg5-cifar10-cpu", {"method": "hire", "model.hidden": "96"}),
    "robust-cifar10": ("robust-cifar10-cpu", {"model.hidden": "96"}),
}
"""Network -> the recipe that trained it, and what was set; docs/share.md has the commands."""


def test_the_networks_are_those_that_the_documentation_names():
    assert set(names()) == set(RECIPES)


@pytest.fixture(scope="module", params=shipped(), ids=list(folders()))
def network(request):
    return request.param


def test_a_network_is_complete_and_as_its_recipe_and_its_card_say(network):
    assert network.notes == ()
    files = {str(path.relative_to(network.path)) for path in network.path.rglob("*") if path.is_file()}
    assert files | {METRICS} == {*COPIED, README, CARD}  # a converted network has no epochs of its own
    recipe, changes = RECIPES[network.name]
    assert network.recipe == override(read(recipe), {**changes, "seed": "0"})
    assert (network.path / README).read_text(encoding="utf-8") == model_card(network, network.name, "mit")
    assert verify(network.path / CARD, str(network.path)).problems == ()


@pytest.mark.parametrize("name", [name for name, (recipe, _) in RECIPES.items() if "digits" in recipe])
def test_a_network_has_the_accuracy_of_its_result(name):
    (run,) = [run for run in shipped() if run.name == name]
    assert run.outcome is not None
    network = hiresnn.from_pretrained(name)
    assert not network.training
    assert accuracy(network, data.load("digits").test) == pytest.approx(run.outcome.clean, abs=0.6)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """As if installed from the wheel, with an empty cache; the release has one network, `far`."""
    monkeypatch.setattr(zoo, "__file__", str(tmp_path / "lib" / "site" / "hiresnn" / "app" / "zoo.py"))
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "cache"))
    shutil.copytree(folder_of("digits-hire"), tmp_path / "networks" / "far")
    digest = imported(SCRIPT).write(tmp_path / "networks.zip", tmp_path / "networks")
    monkeypatch.setattr(zoo, "ARCHIVE", Archive((tmp_path / "networks.zip").as_uri(), digest, ("far",)))
    return tmp_path


def test_a_network_that_is_not_in_the_package_is_downloaded_once(installed):
    assert "far" in names()
    assert "far" not in folders()
    expected = from_pretrained("digits-hire")(IMAGES)
    assert torch.equal(from_pretrained("far")(IMAGES), expected)
    (installed / "networks.zip").unlink()
    assert torch.equal(from_pretrained("far")(IMAGES), expected)
    assert folder_of("far").is_relative_to(installed / "cache")


def test_of_two_processes_that_download_the_faster_one_wins(installed, monkeypatch):
    archive = zoo.zipfile.ZipFile

    def slow(content):
        monkeypatch.setattr(zoo.zipfile, "ZipFile", archive)
        zoo.folder_of("far")  # by the other process, meanwhile
        marked.touch()
        return archive(content)

    marked = zoo.ARCHIVE.cache / "far" / "marked"
    monkeypatch.setattr(zoo.zipfile, "ZipFile", slow)
    assert (folder_of("far") / "marked").exists()
    assert list(zoo.ARCHIVE.cache.parent.iterdir()) == [zoo.ARCHIVE.cache]


def test_a_folder_of_networks_replaces_the_download(installed, monkeypatch):
    (installed / "networks.zip").unlink()
    with pytest.raises(RunError, match=f"cannot be downloaded .* set {FOLDER_VARIABLE}"):
        from_pretrained("far")
    monkeypatch.setenv(FOLDER_VARIABLE, str(installed / "networks"))
    assert folder_of("far") == installed / "networks" / "far"
    assert [run.name for run in shipped()] == list(folders())
    (installed / "networks" / "far" / CARD).unlink()
    assert [run.name for run in shipped()] == [name for name in folders() if name != "far"]


def test_a_server_that_never_answers_is_given_up(installed, monkeypatch):
    monkeypatch.setattr(zoo, "TIMEOUT", 0.1)
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/networks.zip"
        monkeypatch.setattr(zoo, "ARCHIVE", zoo.ARCHIVE._replace(address=address))
        with pytest.raises(RunError, match=r"cannot be downloaded .*timed out"):
            from_pretrained("far")


def test_another_file_than_the_expected_is_refused(installed):
    with (installed / "networks.zip").open("ab") as file:
        file.write(os.urandom(1))
    with pytest.raises(RunError, match="is not the file that this version expects"):
        folder_of("far")
    assert "far" not in folders()


@pytest.mark.skipif(not (ROOT / "networks").is_dir(), reason="the networks of the release are in the repository only")
def test_the_digest_is_that_of_the_networks_in_the_repository(tmp_path):
    assert imported(SCRIPT).write(tmp_path / "networks.zip") == ARCHIVE.digest
    assert {path.name for path in (ROOT / "networks").iterdir()} == set(ARCHIVE.names)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_loads_bit_identically(run, kind):
    network = from_pretrained(kind(run))
    assert torch.equal(network(IMAGES), from_pretrained("digits-hire")(IMAGES))


def test_a_name_comes_before_a_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run.rename("digits-traditional")
    hire, traditional = (from_pretrained(name)(IMAGES) for name in ("digits-hire", "digits-traditional"))
    assert not torch.equal(hire, traditional)
    assert torch.equal(from_pretrained("./digits-traditional")(IMAGES), hire)
    assert torch.equal(from_pretrained(Path("digits-hire"))(IMAGES), hire)


@pytest.mark.parametrize(
    ("name", "message"),
    [("digits-hier", 'did you mean "digits-hire"'), ("a/b/c", "user/name"), ("mine/model.safetensors", "is a file")],
)
def test_what_is_no_network_is_refused(run, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        from_pretrained(name)


def test_a_repository_is_downloaded_without_anything_that_runs_code(run, hub, monkeypatch):
    network = from_pretrained("me/mine", revision="v1")
    assert torch.equal(network(IMAGES), from_pretrained(run)(IMAGES))
    assert hub.asked == [("me/mine", {"revision": "v1", "allow_patterns": ALLOWED})]
    assert {pattern.rpartition(".")[2] for pattern in ALLOWED} == {"safetensors", "json", "toml"}
    with pytest.raises(RunError, match=r"no folder me/other, and .*cannot be downloaded \(OSError: 404\); check"):
        from_pretrained("me/other")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'huggingface[-_]hub"):
        from_pretrained("me/mine")


def test_a_copy_is_a_new_folder_with_the_same_files(run):
    assert (run / CARD).read_bytes() == (folder_of("digits-hire") / CARD).read_bytes()
    with pytest.raises(UsageError, match="exists and is not replaced"):
        copy("digits-hire", run)
