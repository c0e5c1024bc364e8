"""A recipe is checked whole: a mistake is named by file, key, value and remedy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiresnn.app.recipe import (
    Recipe,
    changed,
    digest,
    dump,
    flatten,
    override,
    read,
    shipped,
    shipped_text,
    stated_keys,
    text_of,
)
from hiresnn.errors import RecipeError
from hiresnn.files import parse_toml
from hiresnn.network import CLOSEST

DIGITS = read("digits")


def reread(recipe):
    return Recipe.model_validate(parse_toml(dump(recipe), "dump"))


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_recipe_describes_itself_and_reads_back_equal(name):
    command, description = shipped_text(name).splitlines()[:2]
    assert command in (f"# hiresnn train {name}", "# hiresnn quickstart")
    assert description == f"# {shipped()[name]}"
    assert shipped()[name].endswith(".")
    assert read(name).name == name
    assert len(shipped()) == 16
    recipe = override(read(name), {"noise.bound": "0.05", "attack.eps": "0.1", "ann.seed": "7"})
    assert reread(recipe) == recipe


@pytest.mark.parametrize(
    ("name", "model", "timesteps", "noise_step"),
    [
        ("vgg5-cifar10", "vgg5", 6, 0.013),
        ("vgg11-cifar100", "vgg11", 8, 0.025),
        ("resnet12-cifar10", "resnet12", 10, 0.008),
        ("resnet12-cifar100", "resnet12", 10, 0.015),
    ],
)
def test_full_scale_recipes_hold_the_hyperparameters_of_section_5_1(name, model, timesteps, noise_step):
    recipe = read(name)
    assert (recipe.model.name, recipe.snn.timesteps, recipe.noise.step) == (model, timesteps, noise_step)
    assert recipe.noise.limit == noise_step
    assert recipe.noise.periods == 2
    assert (recipe.ann.epochs, recipe.ann.lr, recipe.ann.decay) == (240, 0.01, 0.1)
    assert [round(fraction * 240) for fraction in recipe.ann.milestones] == [150, 180, 210]
    assert (recipe.snn.epochs, recipe.snn.batch_size, recipe.snn.lr, recipe.snn.decay) == (30, 32, 1e-4, 0.2)
    assert recipe.snn.milestones == (0.6, 0.8, 0.9)
    assert (recipe.model.dropout, recipe.model.width, recipe.conversion.leak) == (0.2, 1.0, 1.0)
    assert (recipe.attack.eps, recipe.attack.step, recipe.attack.iterations) == (8 / 255, 0.01, 7)
    assert recipe.data.train_images == 0


def test_a_bound_is_read_as_a_fraction_and_written_as_one():
    recipe = override(DIGITS, {"attack.eps": "8/255", "attack.extra_eps": '["1/255", 0.25]'})
    assert recipe.attack.eps == 8 / 255
    assert recipe.attack.extra_eps == (1 / 255, 0.25)
    assert 'eps = "8/255"' in dump(recipe)


def test_the_noise_bound_is_the_step_and_the_seed_of_the_ann_that_of_the_run_unless_they_are_given():
    recipe = override(DIGITS, {"noise.step": "0.02", "seed": "3"})
    assert (recipe.noise.limit, recipe.ann_seed) == (0.02, 3)
    given = override(recipe, {"noise.bound": "0.05", "ann.seed": "5"})
    assert (given.noise.limit, given.ann_seed) == (0.05, 5)
    assert override(given, {"ann.seed": "none"}).ann_seed == 3


def test_a_recipe_names_a_network_of_the_package_or_an_own_one():
    mine = override(DIGITS, {"model.source": '"mine.py:network"'})
    assert (mine.model.name, mine.model.label) == (None, "mine-network")
    assert reread(mine) == mine
    assert override(DIGITS, {"model.source": '"torchvision.models:resnet18"'}).model.label == "resnet18"
    assert "source" not in DIGITS.keyed()["model"]


def test_override_reads_toml_values_takes_anything_else_as_text_and_changes_a_copy():
    recipe = override(
        DIGITS, {"snn.lr": "2e-3", "snn.milestones": "[0.5]", "data.source": "folder/x.npz", "data.augment": "true"}
    )
    assert (recipe.snn.lr, recipe.snn.milestones) == (0.002, (0.5,))
    assert (recipe.data.source, recipe.data.augment) == ("folder/x.npz", True)
    assert read("digits") == DIGITS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snn.lr": "-1"}, "--set: snn.lr = -1 is not allowed; it must be greater than 0"),
        ({"seed": str(2**63)}, f"--set: seed = {2**63} is not allowed; it must be less than {2**63}"),
        ({"snn.epochs": "2.5"}, "--set: snn.epochs = 2.5 is not allowed; it must be a whole number"),
        ({"data.augment": "yes"}, "--set: data.augment = 'yes' is not allowed; it must be true or false"),
        ({"model.normalise": "1"}, 'write true, false or "symmetric"'),
        ({"snn.milestones": "[0.5, 0.4]"}, "fractions of the training that increase"),
        ({"snn.milestones": "0.5"}, "it must be a list"),
        ({"attack.eps": "300/255"}, "attack.eps = '300/255' is not allowed; '300/255' is too"),
        ({"attack.eps": "8/0"}, "write one from 0 to 1, or a fraction such as 8/255"),
        ({"method": "hir"}, 'did you mean "hire"? choose one of ann, traditional, hire'),
        ({"model.name": "vgg"}, "it must be 'vgg5', 'vgg11'"),
        ({"model.name": "none"}, "neither a name nor a source; name a network of the package"),
        ({"name": '"../../escape"'}, "leave out slashes"),
        ({"snn": "3"}, "--set: snn = 3 is not allowed; it must be a section"),
        ({"snn.timestep": "3"}, 'unknown key snn.timestep; did you mean "timesteps"?'),
        ({"snnn.lr": "3"}, 'unknown key snnn; did you mean "snn"?'),
        ({"seed.x": "3"}, "seed is a value, not a section"),
        ({"noise.periods": "7"}, "noise.periods = 7 leaves no timestep of 6 to a period"),
        ({"ann.select": "robust", "data.holdout_images": "0"}, "data.holdout_images"),
        ({"ann.activation": "qcfs"}, "conversion.rescale"),
        ({"ann.activation": "qcfs", "conversion.rescale": "true", "model.source": "a.py:f"}, "hiresnn.models.QCFS"),
        ({"snn.distil": "0.5", "method": "trades"}, "replace the loss of method trades"),
        ({"snn.recompute": "true", "method": "mpd-sgr"}, "snn.recompute"),
        ({"snn.rounding": "int99"}, "write intN"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_key_value_and_remedy(changes, message):
    with pytest.raises(RecipeError) as caught:
        override(DIGITS, changes)
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


VGG5 = shipped_text("vgg5-cifar10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            VGG5.replace("timesteps =", "timestep =").replace('source = "cifar10"', "source = 3"),
            r'recipe file .*mine\.toml: unknown key snn\.timestep; did you mean "timesteps"\? choose .* '
            r"\(wrong as well: data\.source, snn\.timesteps\)\.$",
        ),
        (VGG5.replace("timesteps =", "# timesteps ="), r"key snn\.timesteps is missing; add it under \[snn\]"),
        ('name = "a"\nseed = = 1\n', r"mine\.toml, line 2 is no TOML: 'seed = = 1' "),
        ('name = "a"\nmilestones = [0.1,', r"mine\.toml, the last line is no TOML: 'milestones = \[0\.1,' "),
        ('name = "\xff"', r"mine\.toml is not UTF-8 text"),
        ('extends = "vgg5-cifar"', 'did you mean "vgg5-cifar10"'),
        ("extends = 3", "extends = 3 is not allowed; name a recipe in quotes"),
        ('extends = "mine.toml"', "recipes extend each other"),
        ('extends = "digits"\n[snn]\nepoch = 1', r"mine\.toml: unknown key snn\.epoch; did you mean"),
        ('extends = "digits"\nsnn = 3', "snn = 3 is not allowed; it must be a section"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(RecipeError, match=message):
        read(path)
    if "\xff" in text:
        with pytest.raises(RecipeError, match=message):
            text_of(path)


def test_what_is_no_recipe_is_refused(tmp_path):
    with pytest.raises(RecipeError, match=r"is a folder; name the TOML file in it"):
        read(tmp_path)
    with pytest.raises(RecipeError, match=r"'vgg5-cifar'; did you mean .vgg5-cifar10.\? choose one of digits, "):
        read("vgg5-cifar")


def test_a_file_extends_a_shipped_recipe_and_another_file(tmp_path):
    (tmp_path / "base.toml").write_text('extends = "digits"\nname = "base"\n[snn]\nepochs = 3\n[ann]\nepochs = 2\n')
    (tmp_path / "sub").mkdir()
    mine = tmp_path / "sub" / "mine.toml"
    mine.write_text('extends = "../base.toml"\n[snn]\nepochs = 1\n')
    assert read(mine) == override(DIGITS, {"name": "base", "snn.epochs": "1", "ann.epochs": "2"})
    assert "extends" not in dump(read(mine))
    assert stated_keys(str(mine)) == {"extends", "snn.epochs"}
    assert stated_keys("digits") == set()


def test_keys_that_came_later_are_not_part_of_the_key_at_their_defaults():
    assert "condition" not in DIGITS.keyed()["snn"]
    assert override(DIGITS, {"snn.condition": ">="}).keyed()["snn"]["condition"] == ">="
    assert override(DIGITS, {"snn.reset": "zero"}).keyed()["snn"]["reset"] == "zero"


def test_equal_parts_have_equal_digests_whatever_their_order():
    # sha256 of {"a":1,"b":[0.5]}, by sha256sum
    assert digest({"b": [0.5], "a": 1}) == digest({"a": 1, "b": [0.5]}) == "bdad23344c9c37f9"
    assert digest({"a": 2, "b": [0.5]}) != digest({"a": 1, "b": [0.5]})


# Any TOML value that a recipe may hold, as text for --set.
NUMBERS = st.floats(1e-6, 0.999).map(repr)
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), min_size=1)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1).map(str),
        "method": st.sampled_from(["ann", "traditional", "gaussian"]),
        "snn.lr": NUMBERS,
        "snn.timesteps": st.integers(2, 10_000).map(str),
        "noise.bound": st.one_of(NUMBERS, st.just("none")),
        "attack.eps": st.one_of(NUMBERS, st.integers(0, 255).map(lambda level: f"{level}/255")),
        "data.source": TEXTS.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
        "data.augment": st.sampled_from(["true", "false"]),
        "snn.milestones": st.lists(st.floats(0.01, 0.99), unique=True, max_size=5).map(lambda row: str(sorted(row))),
    },
)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(CHANGES, CHANGES)
def test_any_recipe_is_read_back_equal_and_overrides_one_after_another_are_one_override(first, second):
    recipe = override(override(DIGITS, first), second)
    assert recipe == override(DIGITS, {**first, **second})
    assert reread(recipe) == recipe
    assert changed(DIGITS, flatten(recipe)) == recipe


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.sampled_from([*flatten(DIGITS), "noise", "data.new", "x.y.z"]), st.text())
def test_any_text_for_set_is_taken_or_refused_in_a_sentence(key, text):
    message = ""
    try:
        recipe = override(DIGITS, {key: text})
        assert reread(recipe) == recipe
    except RecipeError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1000


def test_the_recipe_for_own_networks_converts_as_fit():
    conversion = read("own").conversion
    options = {name: getattr(conversion, name.replace("v_init", "start")) for name in CLOSEST}
    assert options == CLOSEST
