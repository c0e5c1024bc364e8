"""`hiresnn zoo`, `publish` and `board`: what they print, and the files they write."""

from pathlib import Path

import pytest
import torch

from hiresnn import from_pretrained
from hiresnn.cli import main
from hiresnn.hub.pretrained import copy, names


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    code = caught.value.code
    return code if isinstance(code, int) else 0


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    copy("digits-hire", tmp_path / "mine")
    return tmp_path / "mine"


def test_the_zoo_lists_every_network_with_its_worst_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("zoo") == 0
    text = capsys.readouterr().out
    for name in (*names(), "worst case", "32/255", "overestimated", "Next: hiresnn zoo show"):
        assert name in text
    assert run("zoo", "list") == 0
    assert capsys.readouterr().out == text


def test_a_network_is_shown_without_the_metadata_of_hubs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("zoo", "show", "digits-hire") == 0
    text = capsys.readouterr().out
    assert text.startswith("# digits-hire\n")
    assert "| 32/255 |" in text


def test_a_network_is_copied_to_a_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("zoo", "copy", "digits-hire", tmp_path / "new") == 0
    assert f"Next: hiresnn evaluate {tmp_path / 'new'}" in capsys.readouterr().out
    assert run("audit", tmp_path / "new", "--verify", tmp_path / "new" / "audit" / "card.json") == 0
    assert run("zoo", "copy", "nothing", tmp_path / "other") == 2
    assert "no network 'nothing'" in capsys.readouterr().err


def test_a_dry_run_writes_a_folder_that_loads(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("publish", mine, "me/mine", "--dry-run", tmp_path / "out", "--license", "mit") == 0
    text = capsys.readouterr().out
    assert "Wrote 9 files" in text
    assert "nothing was uploaded" in text
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(from_pretrained(tmp_path / "out")(images), from_pretrained(mine)(images))
    assert run("publish", mine, "mine", "--dry-run", tmp_path / "again") == 2
    assert "write user/name" in capsys.readouterr().err


def test_publishing_uploads_a_complete_folder(
    mine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def upload(folder: Path, repository: str, *, private: bool) -> str:
        assert (folder / "README.md").is_file()
        assert private
        return f"https://example.org/{repository}"

    monkeypatch.setattr("hiresnn.hub.publish.upload", upload)
    assert run("publish", mine, "me/mine", "--private") == 0
    assert "Published 9 files: https://example.org/me/mine" in capsys.readouterr().out


def test_a_board_is_written_and_says_what_counts(
    mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiresnn.hub.pretrained.names", lambda: ["digits-hire", "robust-digits"])
    (mine / "audit" / "adversarial.npz").unlink()
    out = tmp_path / "board.html"
    assert run("board", "zoo", mine, "-o", out) == 0
    text = capsys.readouterr().out
    assert "Unverified: mine: " in text
    assert f"Wrote {out}: 2 of 3 audits verified." in text
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert run("board", mine, "-o", tmp_path / "board.txt") == 2
    assert "not an HTML file" in capsys.readouterr().err
    wrong = tmp_path / "result.json"
    wrong.write_text("{}")
    assert run("board", wrong, "-o", out) == 1
    assert "0 of 1 audits verified" in capsys.readouterr().out
