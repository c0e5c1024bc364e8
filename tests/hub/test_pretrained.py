"""`from_pretrained`: names, folders and hub repositories, and what it refuses."""

import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import hiresnn
from hiresnn.app.folder import MODEL
from hiresnn.errors import RunError, UsageError
from hiresnn.hub.pretrained import ALLOWED, from_pretrained
from hiresnn.network import SpikingNetwork

IMAGES = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_a_network_of_the_package_loads_by_its_name() -> None:
    network = hiresnn.from_pretrained("digits-hire")
    assert isinstance(network, hiresnn.SpikingNetwork)
    assert not network.training
    assert network(IMAGES).shape == (4, 10)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_folder_loads_bit_identically(run: Path, kind: type) -> None:
    network = from_pretrained(kind(run))
    assert torch.equal(network(IMAGES), from_pretrained("digits-hire")(IMAGES))


def test_a_name_of_the_package_comes_before_a_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run.rename("digits-traditional")
    hire, traditional = (from_pretrained(name)(IMAGES) for name in ("digits-hire", "digits-traditional"))
    assert not torch.equal(hire, traditional)
    assert torch.equal(from_pretrained("./digits-traditional")(IMAGES), hire)


@pytest.mark.parametrize(
    ("name", "words"),
    [("digits-hier", 'did you mean "digits-hire"'), ("a/b/c", "user/name"), ("mine/model.safetensors", "is a file")],
)
def test_what_is_no_network_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        from_pretrained(name)


class Hub(ModuleType):
    """Stands for huggingface_hub: one repository, which is a folder here."""

    def __init__(self, folder: Path) -> None:
        super().__init__("huggingface_hub")
        self.folder, self.asked = folder, []

    def snapshot_download(self, repository: str, **options: Any) -> str:
        self.asked.append((repository, options))
        if repository != "me/mine":
            raise OSError("404\nnot found")
        return str(self.folder)


def test_a_repository_is_downloaded_without_anything_that_runs_code(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(run)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    network = from_pretrained("me/mine", revision="v1")
    assert torch.equal(network(IMAGES), from_pretrained(run)(IMAGES))
    assert hub.asked == [("me/mine", {"revision": "v1", "allow_patterns": list(ALLOWED)})]
    assert {pattern.rpartition(".")[2] for pattern in ALLOWED} == {"safetensors", "json", "toml"}
    with pytest.raises(RunError, match=r"no folder me/other, and .*cannot be downloaded \(OSError: 404\); check"):
        from_pretrained("me/other")


def test_without_the_client_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'hiresnn\[hub\]'"):
        from_pretrained("me/mine")


def test_a_pickle_in_the_place_of_the_weights_is_refused(run: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, run / MODEL)
    with pytest.raises(RunError, match="damaged"):
        from_pretrained(run)
    (run / MODEL).unlink()
    shutil.copy(__file__, run / "pytorch_model.bin")
    with pytest.raises(RunError, match="there is no file"):
        from_pretrained(run)


def test_a_path_with_the_name_of_a_network_of_the_package_is_that_network() -> None:
    assert isinstance(from_pretrained(Path("digits-hire")), SpikingNetwork)
