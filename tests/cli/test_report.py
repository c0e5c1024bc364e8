"""`hiresnn report`: folders or a card in, one HTML file out."""

import json
from pathlib import Path

import pytest

from hiresnn.app.recipe import dump, read
from hiresnn.cli import main


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "mine"
    path.mkdir()
    (path / "recipe.toml").write_text(dump(read("digits")))
    (path / "result.json").write_text(json.dumps({"clean": 91.25, "attacks": {}, "images": 80, "seed": 0}))
    return path


def exit_code(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["report", *map(str, arguments)])
    code = caught.value.code
    return code if isinstance(code, int) else 0


def test_a_run_becomes_a_page(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    assert exit_code(run, "-o", out) == 0
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "91.2" in page
    assert capsys.readouterr().out.startswith(f"Wrote {out} (")


def test_help_names_both_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "card.json" in text
    assert "--out" in text


@pytest.mark.parametrize("name", ["page.txt", "model.safetensors", "page"])
def test_only_an_html_file_is_written(name: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(run, "-o", tmp_path / name) == 2
    assert "not an HTML file" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_an_error_leaves_an_earlier_page_unchanged(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    out.write_text("earlier")
    assert exit_code(run, tmp_path / "nowhere", "-o", out) == 1
    assert "does not exist" in capsys.readouterr().err
    assert out.read_text() == "earlier"


def test_a_damaged_card_gives_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tmp_path / "card.json"
    card.write_text("{}")
    assert exit_code(card, "-o", tmp_path / "page.html") == 1
    assert "is not a readable audit card" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_missing_output_folder_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(run, "-o", tmp_path / "none" / "page.html") == 2
    assert "there is no folder" in capsys.readouterr().err


def test_a_damaged_file_of_a_run_is_noted_and_the_page_is_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "audit").mkdir()
    (run / "audit" / "card.json").write_text("{}")
    assert exit_code(run, "-o", tmp_path / "page.html") == 0
    heard = capsys.readouterr()
    assert heard.err.startswith("Not in the page: ")
    assert "card.json" in heard.err
    assert "card.json is not a readable audit card" in (tmp_path / "page.html").read_text(encoding="utf-8")
