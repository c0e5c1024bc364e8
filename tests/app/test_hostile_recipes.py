"""Hostile values in recipes end in one sentence: every key times a table of values, and properties of --set."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiresnn import data
from hiresnn.app.memory import require_memory
from hiresnn.app.recipe import Recipe, dump, flatten, override, parse, read
from hiresnn.app.train import train
from hiresnn.errors import HiresnnError, RecipeError, UsageError
from hiresnn.progress import Progress

DIGITS = read("digits")
HOSTILE = [
    "1e308", "-1e308", "inf", "nan", "1e-320", "10000000000000000000", "-1", "0", "true", '""', "[]", "{}", "[[1]]",
    "0x" + "f" * 6000, "9" * 5000, "[" * 10_000, '"' + "a" * 1_000_000 + '"', '"../../escape"',
    '"/absolute"', '"a\\u0000b"', "1979-05-27", "{a = {b = {c = 1}}}", "\ud800",
]  # fmt: skip


def sentence(error: HiresnnError) -> str:
    text = str(error)
    assert "\n" not in text
    assert len(text) < 1000
    return text


@pytest.mark.parametrize("key", [*flatten(DIGITS), "noise", "snn", "data.new", "x.y.z"])
def test_no_hostile_value_is_a_traceback_or_changes_what_is_written(key: str) -> None:
    for value in HOSTILE:
        try:
            recipe = override(DIGITS, {key: value})
        except RecipeError as error:
            sentence(error)
            continue
        assert parse(dump(recipe), "dump") == recipe
        try:
            require_memory(recipe, data.load("digits"), "cpu")
        except HiresnnError as error:
            sentence(error)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.width", "1e308"),
        ("model.hidden", str(10**18)),
        ("snn.timesteps", str(10**18)),
        ("noise.step", "1e308"),
        ("name", '"../../esc"'),
        ("name", '"/tmp/esc"'),
        ("name", '".."'),
    ],
)
def test_the_values_that_broke_version_one_are_refused_by_key(key: str, value: str) -> None:
    with pytest.raises(RecipeError, match=rf"{key} = .* is not allowed"):
        override(DIGITS, {key: value})


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"model.hidden": "1000000"}, r"model\.width and model\.hidden"),
        ({"model.width": "1000"}, r"model\.width and model\.hidden"),
        ({"snn.timesteps": "10000", "snn.batch_size": "1000000", "model.width": "8"}, r"snn\.timesteps"),
    ],
)
def test_a_training_that_cannot_fit_is_refused_before_anything_is_allocated_or_written(
    tmp_path: Path, changes: dict[str, str], key: str
) -> None:
    with pytest.raises(UsageError, match=rf"takes at least [\d,.]+ GiB .* lower {key}"):
        train(override(DIGITS, changes), out=tmp_path / "run", progress=Progress(quiet=True))
    assert not list(tmp_path.iterdir())


def test_the_estimate_of_memory_is_below_what_a_small_training_takes() -> None:
    require_memory(DIGITS, data.load("digits"), "cpu")


def test_a_long_recipe_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text("# " + "a" * 2**20)
    with pytest.raises(RecipeError, match="larger than"):
        read(tmp_path / "long.toml")


@pytest.mark.parametrize("text", ["a" * 5000, "a\0b", "caf\udce9", "~nouser/x"])
def test_an_odd_name_of_a_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(text)
    sentence(caught.value)


# Any TOML value that a recipe may hold, as text for --set.
NUMBERS = st.floats(1e-6, 0.999).map(repr)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1).map(str),
        "method": st.sampled_from(["ann", "traditional", "gaussian"]),
        "snn.lr": NUMBERS,
        "snn.timesteps": st.integers(2, 10_000).map(str),
        "noise.step": NUMBERS,
        "noise.bound": st.one_of(NUMBERS, st.just("none")),
        "attack.eps": st.one_of(NUMBERS, st.integers(0, 255).map(lambda level: f"{level}/255")),
        "data.source": st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1).map(
            lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        ),
        "data.augment": st.sampled_from(["true", "false"]),
        "snn.milestones": st.lists(st.floats(0.01, 0.99), unique=True, max_size=5).map(lambda each: str(sorted(each))),
    },
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(CHANGES)
def test_any_recipe_is_written_and_read_back_equal(changes: dict[str, str]) -> None:
    recipe = override(DIGITS, changes)
    assert parse(dump(recipe), "dump") == recipe
    assert flatten(parse(dump(recipe), "dump")) == flatten(recipe)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(CHANGES, CHANGES)
def test_overrides_one_after_another_are_one_override(first: dict[str, str], second: dict[str, str]) -> None:
    assert override(override(DIGITS, first), second) == override(DIGITS, {**first, **second})


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(flatten(DIGITS))), st.text())
def test_any_text_for_set_is_taken_or_refused_in_a_sentence(key: str, text: str) -> None:
    try:
        recipe: Any = override(DIGITS, {key: text})
    except RecipeError as error:
        sentence(error)
    else:
        assert isinstance(recipe, Recipe)
