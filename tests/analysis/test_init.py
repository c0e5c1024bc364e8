"""The examples in the docstrings of the measures run."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["accuracy", "activity", "distance", "energy", "prices"])
def test_the_docstring_examples_run(name: str) -> None:
    result = doctest.testmod(import_module(f"hiresnn.analysis.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
