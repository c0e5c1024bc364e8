"""The examples in the docstrings of the measures are true."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["accuracy", "activity", "distance", "prices"])
def test_the_examples_run(name: str) -> None:
    result = doctest.testmod(import_module(f"hiresnn.analysis.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
