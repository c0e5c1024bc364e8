"""`hiresnn zoo` and `hiresnn publish`: what they print, and the files they write."""

import re

import pytest
import torch

from hiresnn import from_pretrained
from hiresnn.app.zoo import folders
from hiresnn.hub.pretrained import copy

from .commands import run


@pytest.fixture
def mine(tmp_path):
    copy("digits-hire", tmp_path / "mine")
    return tmp_path / "mine"


def test_the_zoo_lists_networks_with_their_worst_case_and_how_to_get_the_others(capsys, monkeypatch):
    local = {name: path for name, path in folders().items() if "digits" in name}
    monkeypatch.setattr("hiresnn.app.zoo.folders", lambda: local)
    assert run("zoo") == 0
    text = capsys.readouterr().out
    for name in (*local, "worst case", "32/255", "overestimated", "Next: hiresnn zoo show"):
        assert name in text
    assert "Not in the package: cifar10-hire, cifar10-traditional, robust-cifar10. from_pretrained and" in text
    assert run("zoo", "list") == 0
    assert capsys.readouterr().out == text


def test_a_network_is_shown_without_the_metadata_of_hubs(capsys):
    assert run("zoo", "show", "digits-hire") == 0
    text = capsys.readouterr().out
    assert text.startswith("# digits-hire\n")
    assert "| 32/255 |" in text


def test_a_network_is_copied_to_a_run_folder(tmp_path, capsys):
    assert run("zoo", "copy", "digits-hire", tmp_path / "new") == 0
    assert f"Next: hiresnn evaluate {tmp_path / 'new'}" in capsys.readouterr().out
    assert run("audit", tmp_path / "new", "--verify", tmp_path / "new" / "audit" / "card.json") == 0


def test_a_dry_run_writes_a_folder_that_loads(mine, tmp_path, capsys):
    assert run("publish", mine, "me/mine", "--dry-run", tmp_path / "out", "--license", "mit") == 0
    text = capsys.readouterr().out
    assert "Wrote 9 files" in text
    assert "nothing was uploaded" in text
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(from_pretrained(tmp_path / "out")(images), from_pretrained(mine)(images))


def test_a_dry_run_needs_no_folder(mine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (("--dry-run",), ("--dry-run", "--license", "mit")):
        assert run("publish", mine, "me/mine", *arguments) == 0
        text = capsys.readouterr().out
        assert re.search(r"KiB  model.safetensors\n", text)
        assert "can be published as me/mine: 9 files; nothing was uploaded." in text
    assert list(tmp_path.glob("*")) == [mine]


def test_publishing_uploads_a_complete_folder(mine, monkeypatch, capsys):
    def upload(folder, repository, *, private):
        assert (folder / "README.md").is_file()
        assert private
        return f"https://example.org/{repository}"

    monkeypatch.setattr("hiresnn.hub.pretrained.upload", upload)
    assert run("publish", mine, "me/mine", "--private") == 0
    assert "Published 9 files: https://example.org/me/mine" in capsys.readouterr().out
