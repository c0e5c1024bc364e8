"""`hiresnn recipes`: list, show, copy."""

from pathlib import Path

import pytest

from hiresnn.app.recipe import dump, read, shipped, shipped_text
from hiresnn.cli import main


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["recipes", *arguments])
    return int(caught.value.code or 0)


def test_the_list_has_a_line_a_recipe_with_name_and_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[name, text] for name, text in shipped().items()]
    assert run("list") == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_show_prints_the_recipe_with_its_comments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "digits") == 0
    assert capsys.readouterr().out == shipped_text("digits")


def test_show_takes_a_file_and_completes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "digits"\nseed = 7\n')
    assert run("show", str(mine)) == 0
    assert capsys.readouterr().out == mine.read_text()
    assert run("show", str(mine), "--resolved") == 0
    assert capsys.readouterr().out == dump(read(mine))


def test_an_unknown_name_is_wrong_usage_and_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "digit") == 2
    assert "no recipe file and no recipe of the package is called 'digit'; did you mean" in capsys.readouterr().err


def test_a_copy_is_the_same_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.toml"
    assert run("copy", "vgg5-cifar10-cpu", str(target)) == 0
    assert read(target) == read("vgg5-cifar10-cpu")
    assert f"hiresnn train {target}" in capsys.readouterr().out


def test_a_recipe_is_checked_without_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('extends = "digits"\nseed = 7\n')
    assert run("check", str(mine)) == 0
    assert "is valid: digits, vgg5 of width" in capsys.readouterr().out
    mine.write_text('extends = "digits"\n[model]\nname = "vgg55"\n')
    assert run("check", str(mine)) == 2
    assert "there is no model 'vgg55'; did you mean" in capsys.readouterr().err


def test_a_copy_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "mine.toml"
    target.write_text("mine")
    assert run("copy", "digits", str(target)) == 2
    assert target.read_text() == "mine"
    assert "exists and is not replaced" in capsys.readouterr().err


def test_a_copy_into_a_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("copy", "digits", str(tmp_path / "gone" / "mine.toml")) == 1
    assert "mine.toml could not be written: No such file or directory" in capsys.readouterr().err
