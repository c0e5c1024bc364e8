"""What an installed package adds through entry points is found by name, and imported only when it is used."""

import sys

import pytest

from hiresnn.attacks import parse
from hiresnn.calls import offered, plugin
from hiresnn.errors import UsageError

from .offering import offer

CODE = """
def still(model, images, labels, *, eps=8 / 255):
    return images.clone()
"""


@pytest.fixture(autouse=True)
def offering(tmp_path, monkeypatch):
    offer(tmp_path, monkeypatch, CODE, attacks={"still": "still", "missing": "nothing", "fgsm": "nothing"})


def test_plugins_are_listed_without_being_imported():
    assert {"still", "missing"} <= offered("attacks").keys()
    assert offered("rules").keys().isdisjoint({"still", "missing"})
    assert "offering" not in sys.modules


def test_a_name_is_imported_when_it_is_used():
    assert plugin("attacks", "still").__name__ == "still"
    assert plugin("attacks", "unknown") is None
    assert "offering" in sys.modules


def test_what_cannot_be_imported_is_named():
    with pytest.raises(UsageError, match=r"plug-in 'missing' \(offering:nothing\) failed: AttributeError"):
        plugin("attacks", "missing")


def test_names_of_the_package_win():
    assert parse("fgsm:eps=2/255")
