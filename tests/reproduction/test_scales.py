"""Every scale is whole: its recipes exist, its changes are allowed, its grids are usable."""

from fractions import Fraction

import pytest

from hiresnn.app.recipe import read
from hiresnn.errors import UsageError
from hiresnn.training.methods import METHOD_NAMES
from reproduction.claims import claims
from reproduction.measurements import TWINS, Run
from reproduction.scales import SCALES


@pytest.mark.parametrize("name", SCALES)
def test_every_recipe_of_a_scale_is_valid_for_every_method_and_grid(name: str) -> None:
    scale = SCALES[name]
    assert scale.swept
    assert set(scale.swept) <= set(scale.networks)
    for network in scale.networks:
        assert scale.recipe(Run(network, "hire", 0)).model.name == network.partition("-")[0]
        for method in METHOD_NAMES:
            for twin in (None, *TWINS):
                if (method, twin) != ("ann", "same-ann"):
                    scale.recipe(Run(network, method, 0, twin))
        for timesteps in scale.timesteps:
            scale.recipe(Run(network, "hire", 0, None, (("snn.timesteps", str(timesteps)),)))
        for step in scale.noise_steps:
            scale.recipe(Run(network, "hire", 0, None, (("noise.step", str(step)),)))


@pytest.mark.parametrize("name", SCALES)
def test_grids_increase(name: str) -> None:
    scale = SCALES[name]
    eps = [float(Fraction(text)) for text in scale.eps]
    for grid in (scale.timesteps, scale.noise_steps, eps, scale.iterations):
        assert len(grid) > 1
        assert list(grid) == sorted(set(grid))


def test_the_papers_scale_has_the_papers_setting() -> None:
    scale, said = SCALES["paper"], claims().setting
    assert set(scale.networks) == {*claims().table1, "vgg5-mnist"}
    for network in claims().table1:
        recipe = scale.recipe(Run(network, "hire", 0))
        assert recipe.snn.timesteps == said.timesteps[recipe.model.name]
        assert recipe.noise.step == recipe.noise.limit == said.noise_step[network]
        assert (recipe.noise.periods, recipe.model.width, recipe.model.hidden) == (said.periods, 1.0, 4096)
        assert (recipe.ann.epochs, recipe.ann.lr, recipe.ann.decay) == (240, 0.01, 0.1)
        assert [round(240 * at) for at in recipe.ann.milestones] == list(said.ann.milestones)
        assert (recipe.snn.epochs, recipe.snn.batch_size, recipe.snn.lr) == (30, 32, 1e-4)
        assert (recipe.attack.eps, recipe.attack.step, recipe.attack.iterations) == (8 / 255, 0.01, 7)
        if "vgg" in network:  # 150 and 200 steps: the 25 times of Fig. 10a
            assert scale.networks[network].rate_timesteps == 25 * recipe.snn.timesteps
    assert scale.images == 0


def test_the_full_scale_is_one_network_at_the_papers_size() -> None:
    scale = SCALES["full"]
    recipe, printed = (SCALES[name].recipe(Run("vgg5-cifar10", "hire", 0)) for name in ("full", "paper"))
    assert recipe == printed.model_copy(update={"precision": "bfloat16"})
    assert (scale.images, scale.boxes, scale.seeds_of("vgg5-cifar10", "rate")) == (0, ("white", "same-ann"), ())
    assert scale.eps == ("1/255", "2/255", "4/255", "8/255")
    assert scale.with_seeds(2).seeds_of("vgg5-cifar10", "rate") == ()


def test_the_mid_scale_trains_vgg11_and_resnet12_on_all_images() -> None:
    for name, epochs in (("vgg11-cifar100", 40), ("resnet12-cifar10", 30)):
        mid, cpu = (SCALES[scale].recipe(Run(name, "hire", 0)) for scale in ("mid", "cpu"))
        assert (mid.data.train_images, cpu.data.train_images) == (0, 20_000)
        assert (mid.ann.epochs, mid.snn.epochs, cpu.snn.epochs) == (epochs, 6, 2)
        assert mid.snn.lr == cpu.snn.lr


def test_the_mid_scale_is_the_recipe_at_full_width() -> None:
    scale = SCALES["mid"]
    recipe = scale.recipe(Run("vgg5-cifar10", "hire", 0))
    assert recipe == read("vgg5-cifar10-mid").model_copy(update={"name": "vgg5-cifar10", "method": "hire"})
    assert (recipe.model.width, recipe.data.train_images, scale.boxes) == (1.0, 0, ("white",))


def test_asked_seeds_are_for_every_network_and_method() -> None:
    scale = SCALES["cpu"].with_seeds(5)
    assert scale.seeds == 5
    assert {(setting.seeds, setting.rate_seeds) for setting in scale.networks.values()} == {(5, 5), (5, 0)}
    with pytest.raises(UsageError, match="at least 1"):
        scale.with_seeds(0)


def test_some_networks_alone() -> None:
    scale = SCALES["cpu"].only(["resnet12-cifar10", "vgg5-cifar10"])
    assert list(scale.networks) == ["vgg5-cifar10", "resnet12-cifar10"]
    with pytest.raises(UsageError, match=r"scale cpu has no network 'vgg7'; it has vgg5-cifar10, "):
        SCALES["cpu"].only(["vgg5-cifar10", "vgg7"])


def test_smoke_never_compiles_and_needs_no_download() -> None:
    for network in SCALES["smoke"].networks:
        recipe = SCALES["smoke"].recipe(Run(network, "hire", 0))
        assert (recipe.compile, recipe.data.source) == ("never", "digits")
