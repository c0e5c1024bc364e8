"""A recipe may extend another and then says only what differs."""

from pathlib import Path

import pytest

from hiresnn.app.recipe import dump, override, read, shipped_text, stated_keys
from hiresnn.errors import RecipeError


def test_a_file_extends_a_shipped_recipe_and_another_file(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('extends = "digits"\nname = "base"\n[snn]\nepochs = 3\n[ann]\nepochs = 2\n')
    (tmp_path / "sub").mkdir()
    mine = tmp_path / "sub" / "mine.toml"
    mine.write_text('extends = "../base.toml"\n[snn]\nepochs = 1\n')
    expected = override(read("digits"), {"name": "base", "snn.epochs": "1", "ann.epochs": "2"})
    assert read(mine) == expected
    assert "extends" not in dump(read(mine))
    assert stated_keys(str(mine)) == {"extends", "snn.epochs"}
    assert stated_keys("digits") == set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extends = "vgg5-cifar"', 'did you mean "vgg5-cifar10"'),
        ("extends = 3", "extends = 3 is not allowed; name a recipe in quotes"),
        ('extends = "mine.toml"', "recipes extend each other"),
        ('extends = "digits"\n[snn]\nepoch = 1', r"mine\.toml: unknown key snn\.epoch; did you mean"),
        ('extends = "digits"\nsnn = 3', "snn = 3 is not allowed; it must be a section"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        read(path)


def test_shipped_recipes_say_only_what_differs() -> None:
    assert len(shipped_text("vgg5-cifar10-mid").splitlines()) < 25
