"""A recipe is checked whole: every fault is named by file, key, value and mend."""

from pathlib import Path

import pytest

from hiresnn.app.recipe import digest, dump, override, parse, read, shipped, shipped_text
from hiresnn.errors import RecipeError
from hiresnn.training.methods import METHOD_NAMES

NAMES = {
    "digits",
    "vgg5-cifar10",
    "vgg11-cifar100",
    "resnet12-cifar10",
    "resnet12-cifar100",
    "vgg5-cifar10-cpu",
    "robust-cifar10-mid",
    "vgg11-cifar100-cpu",
    "resnet12-cifar10-cpu",
    "vgg5-cifar10-mid",
    "robust-digits",
    "robust-cifar10-cpu",
    "own",
}


def test_the_promised_recipes_are_shipped() -> None:
    assert set(shipped()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_shipped_recipe_is_valid_opens_with_its_command_and_describes_itself(name: str) -> None:
    command, description = shipped_text(name).splitlines()[:2]
    assert command in (f"# hiresnn train {name}", "# hiresnn quickstart")
    assert description == f"# {shipped()[name]}"
    assert shipped()[name].endswith(".")
    assert read(name).name == name


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_dumped_recipe_reads_back_equal(name: str) -> None:
    recipe = override(read(name), {"noise.bound": "0.05", "attack.eps": "0.1", "ann.seed": "7"})
    assert parse(dump(recipe), "dump") == recipe


@pytest.mark.parametrize(
    ("name", "model", "timesteps", "noise_step"),
    [
        ("vgg5-cifar10", "vgg5", 6, 0.013),
        ("vgg11-cifar100", "vgg11", 8, 0.025),
        ("resnet12-cifar10", "resnet12", 10, 0.008),
        ("resnet12-cifar100", "resnet12", 10, 0.015),
    ],
)
def test_full_scale_recipes_hold_the_hyperparameters_of_section_5_1(
    name: str, model: str, timesteps: int, noise_step: float
) -> None:
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


def test_a_bound_is_read_as_a_fraction_and_written_as_one() -> None:
    recipe = override(read("digits"), {"attack.eps": "8/255", "attack.extra_eps": '["1/255", 0.25]'})
    assert recipe.attack.eps == 8 / 255
    assert recipe.attack.extra_eps == (1 / 255, 0.25)
    assert 'eps = "8/255"' in dump(recipe)


def test_the_noise_bound_is_the_step_where_none_is_given() -> None:
    recipe = override(read("digits"), {"noise.step": "0.02"})
    assert recipe.noise.limit == 0.02
    assert override(recipe, {"noise.bound": "0.05"}).noise.limit == 0.05


def test_the_ann_has_the_seed_of_the_run_unless_it_has_its_own() -> None:
    recipe = override(read("digits"), {"seed": "3"})
    assert recipe.ann_seed == 3
    assert override(recipe, {"ann.seed": "5"}).ann_seed == 5
    assert override(override(recipe, {"ann.seed": "5"}), {"ann.seed": "none"}).ann_seed == 3


def test_override_reads_toml_values_and_takes_anything_else_as_text() -> None:
    recipe = override(
        read("digits"),
        {"snn.lr": "2e-3", "snn.milestones": "[0.5]", "data.source": "folder/x.npz", "data.augment": "true"},
    )
    assert (recipe.snn.lr, recipe.snn.milestones) == (0.002, (0.5,))
    assert (recipe.data.source, recipe.data.augment) == ("folder/x.npz", True)


def test_an_override_leaves_the_recipe_it_started_from_alone() -> None:
    before = read("digits")
    override(before, {"snn.lr": "0.5"})
    assert before == read("digits")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("snn.lr", "-1", "--set: snn.lr = -1 is not allowed; it must be greater than 0"),
        ("snn.lr", "nan", "--set: snn.lr = NaN is not allowed; it must be finite"),
        ("seed", "-1", "--set: seed = -1 is not allowed; it must be at least 0"),
        ("seed", str(2**63), f"--set: seed = {2**63} is not allowed; it must be less than {2**63}"),
        ("ann.seed", str(2**63), f"--set: ann.seed = {2**63} is not allowed; it must be less than {2**63}"),
        ("data.source", '"caf\udce9"', "is not allowed; it must be UTF-8; rename the file or folder of this name"),
        ("snn.epochs", "2.5", "--set: snn.epochs = 2.5 is not allowed; it must be a whole number"),
        ("snn.epochs", "true", "--set: snn.epochs = true is not allowed; it must be a whole number"),
        ("snn.epochs", "none", "--set: snn.epochs = none is not allowed; it must be a whole number"),
        ("data.augment", "yes", '--set: data.augment = "yes" is not allowed; it must be true or false'),
        ("model.dropout", "1", "--set: model.dropout = 1 is not allowed; it must be less than 1"),
        ("conversion.percentile", "101", "it must be at most 100"),
        ("snn.milestones", "[0.5, 0.4]", "fractions of the training that increase"),
        (
            "snn.milestones",
            "[0.5, 1.0]",
            "--set: snn.milestones.1 = 1.0 is not allowed; it must be less than 1",
        ),
        ("attack.eps", "300/255", "--set: attack.eps = \"300/255\" is not allowed; '300/255' is too"),
        ("attack.eps", "8/0", "write one from 0 to 1, or a fraction such as 8/255"),
        ("method", "hir", 'did you mean "hire"? choose one of ann, traditional, hire'),
        ("device", "gpu", '--set: device = "gpu" is not allowed'),
        ("snn", "3", "--set: snn = 3 is not allowed; it must be a section"),
        ("snn.timestep", "3", 'unknown key snn.timestep; did you mean "timesteps"?'),
        ("snnn.lr", "3", 'unknown key snnn; did you mean "snn"?'),
        ("seed.x", "3", "'seed' is a value, not a section"),
        ("noise.periods", "7", "noise.periods = 7 leaves no whole timestep per period of snn.timesteps = 6"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_key_value_and_mend(key: str, value: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(read("digits"), {key: value})
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_one_timestep_suits_a_method_without_periods() -> None:
    recipe = override(read("digits"), {"snn.timesteps": "1", "method": "traditional"})
    assert recipe.snn.timesteps == 1
    with pytest.raises(RecipeError, match="at most 1 periods"):
        override(recipe, {"method": "hire"})


def test_poisson_encoding_goes_with_every_method() -> None:
    for method in METHOD_NAMES:
        recipe = override(read("digits"), {"snn.encoding": "poisson", "method": method})
        assert (recipe.snn.encoding, recipe.method) == ("poisson", method)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_several_faults_names_the_typo_and_the_other_keys(tmp_path: Path) -> None:
    text = shipped_text("vgg5-cifar10").replace("timesteps =", "timestep =").replace("holdout_images = 0", "")
    path = write(tmp_path / "mine.toml", text.replace('source = "cifar10"', "source = 3"))
    with pytest.raises(RecipeError) as caught:
        read(path)
    # source is no text, timesteps is missing, timestep is unknown.
    assert f'recipe file {path}: unknown key snn.timestep; did you mean "timesteps"?' in str(caught.value)
    assert str(caught.value).endswith("(wrong as well: data.source, snn.timesteps).")


def test_a_missing_key_is_named_with_its_section(tmp_path: Path) -> None:
    lines = [line for line in shipped_text("vgg5-cifar10").splitlines() if not line.startswith("timesteps")]
    path = write(tmp_path / "mine.toml", "\n".join(lines))
    with pytest.raises(RecipeError, match=r"mine\.toml: key snn\.timesteps is missing; add it under \[snn\]"):
        read(path)


def test_a_syntax_error_is_named_with_file_and_line(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.toml", 'name = "a"\nseed = = 1\n')
    with pytest.raises(RecipeError, match=r"mine\.toml, line 2 is no TOML: 'seed = = 1' "):
        read(path)


def test_a_text_that_ends_too_early_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"mine\.toml, the last line is no TOML: 'milestones = \[0\.1,' "):
        read(write(tmp_path / "mine.toml", 'name = "a"\nmilestones = [0.1,'))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"mine\.toml is not UTF-8 text"):
        read(path)


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"is a folder; name the TOML file in it"):
        read(tmp_path)


def test_an_unknown_name_is_answered_with_the_nearest_and_all_shipped_names() -> None:
    with pytest.raises(RecipeError, match=r"'vgg5-cifar'; did you mean .vgg5-cifar10.\? choose one of digits, "):
        read("vgg5-cifar")


def test_keys_that_came_later_are_not_part_of_the_key_at_their_defaults() -> None:
    recipe = read("digits")
    assert "condition" not in recipe.keyed()["snn"]
    assert override(recipe, {"snn.condition": ">="}).keyed()["snn"]["condition"] == ">="
    assert override(recipe, {"snn.reset": "zero"}).keyed()["snn"]["reset"] == "zero"


def test_equal_parts_have_equal_digests_whatever_their_order() -> None:
    # sha256 of {"a":1,"b":[0.5]}, by sha256sum
    assert digest({"b": [0.5], "a": 1}) == digest({"a": 1, "b": [0.5]}) == "bdad23344c9c37f9"
    assert digest({"a": 2, "b": [0.5]}) != digest({"a": 1, "b": [0.5]})
