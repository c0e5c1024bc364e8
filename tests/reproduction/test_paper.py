"""The printed numbers, and the scales: every recipe valid, the paper's setting, sizes as documented."""

import pytest

from hiresnn.training.methods import METHOD_NAMES
from reproduction.paper import CLAIMS, SCALES, TWINS, Run, printed

NETWORKS = ["vgg5-cifar10", "resnet12-cifar10", "vgg11-cifar100", "resnet12-cifar100"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        # Read off the paper's pages, table by table: first, last and odd ones.
        ("table1/vgg5-cifar10/ann/white/fgsm", 13.3),
        ("table1/vgg5-cifar10/rate/black/pgd", 16.0),
        ("table1/resnet12-cifar10/traditional/white/pgd", 0.2),
        ("table2/resnet12-cifar100/clean_change", -3.0),
        ("table2/vgg11-cifar100/over_ann/pgd", -0.7),
        ("table3/vgg5-cifar10/hire/pgd", 14.9),
        ("table5/vgg5-cifar10/hire/black/fgsm", 46.2),
        ("table7/int32/mac", 3.2),
        ("fig9/black/gain_max", 9.7),
        ("fig10a/latency_gain_max", 25.0),
        ("fig11b/over_ann", 53.0),
    ],
)
def test_numbers_are_the_papers(path, value):
    assert printed(*path.split("/")) == value


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("table", "box"), [("table2", "white"), ("table3", "black")])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_printed_gains_are_the_differences_of_the_printed_accuracies(network, table, box, attack):
    """Two transcriptions of the paper check each other; it rounds, and prints 24.7 as 25."""
    ours = CLAIMS[table][network]["hire"][attack]
    for other in ("traditional", "ann"):
        gain = ours - CLAIMS["table1"][network][other][box][attack]
        assert gain == pytest.approx(CLAIMS[table][network][f"over_{other}"][attack], abs=0.31)


@pytest.mark.parametrize("name", SCALES)
def test_every_recipe_of_a_scale_is_valid_for_every_method_and_grid(name):
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


def test_the_papers_scale_has_the_papers_setting():
    scale, said = SCALES["paper"], CLAIMS["setting"]
    assert set(scale.networks) == {*CLAIMS["table1"], "vgg5-mnist"}
    for network in CLAIMS["table1"]:
        recipe = scale.recipe(Run(network, "hire", 0))
        assert recipe.snn.timesteps == said["timesteps"][recipe.model.name]
        assert recipe.noise.step == recipe.noise.limit == said["noise_step"][network]
        assert (recipe.noise.periods, recipe.model.width, recipe.model.hidden) == (said["periods"], 1.0, 4096)
        assert (recipe.ann.epochs, recipe.ann.lr, recipe.ann.decay) == (240, 0.01, 0.1)
        assert [round(240 * at) for at in recipe.ann.milestones] == list(said["ann"]["milestones"])
        assert (recipe.snn.epochs, recipe.snn.batch_size, recipe.snn.lr) == (30, 32, 1e-4)
        assert (recipe.attack.eps, recipe.attack.step, recipe.attack.iterations) == (8 / 255, 0.01, 7)
        if "vgg" in network:  # 150 and 200 steps: the 25 times of Fig. 10a
            assert scale.networks[network].rate_timesteps == 25 * recipe.snn.timesteps
        assert scale.cost_recipe(Run(network, "hire", 0)).snn.batch_size == CLAIMS["fig7"]["batch_size"]
    assert scale.images == 0


def test_smoke_never_compiles_and_needs_no_download():
    for network in SCALES["smoke"].networks:
        recipe = SCALES["smoke"].recipe(Run(network, "hire", 0))
        assert (recipe.compile, recipe.data.source) == ("never", "digits")
