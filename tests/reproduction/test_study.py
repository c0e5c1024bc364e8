"""Runs and values are named after what decides them, made once and found again."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hiresnn.errors import UsageError
from reproduction.paper import VGG5, Run

from .conftest import study_in


def run(method, seed=0, twin=None, **changes):
    return Run(VGG5, method, seed, twin, tuple((key.replace("__", "."), text) for key, text in changes.items()))


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("ann", {"snn__timesteps": "4", "conversion__threshold_scale": "1.0", "noise__step": "0.1"}),
        ("traditional", {"noise__step": "0.1", "noise__periods": "1"}),
        ("rate", {"noise__step": "0.1"}),
        ("hire", {"attack__eps": "0.1", "attack__iterations": "3"}),
    ],
)
def test_changes_that_do_not_matter_to_a_method_do_not_rename_its_run(study, method, changes):
    assert study.name(run(method, **changes)) == study.name(run(method))


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("hire", {"noise__step": "0.1"}),
        ("hire", {"snn__train_neurons": "false"}),
        ("traditional", {"snn__timesteps": "3"}),
        ("traditional", {"twin": "same-ann"}),
        ("ann", {"ann__epochs": "3"}),
        ("ann", {"twin": "independent"}),
    ],
)
def test_changes_that_matter_rename_the_run(study, method, changes):
    assert study.name(run(method, **changes)) != study.name(run(method))


def test_the_content_of_the_data_decides_and_not_its_place(tiny, tmp_path):
    def written(path, level):
        images, labels = np.full((20, 8, 8), level, np.uint8), np.arange(20) % 10
        np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
        return path

    def named(path):
        scale = tiny.changed(seeds=None, sources={"digits": str(path)}, networks=[])
        assert scale.recipe(run("ann")).data.source == str(path)
        return study_in(tmp_path, scale).name(run("ann"))

    first, other = written(tmp_path / "first.npz", 7), written(tmp_path / "other.npz", 8)
    moved = Path(shutil.copy(first, tmp_path / "moved.npz"))
    assert named(first) == named(moved)
    assert named(first) != named(other)


def test_a_twin_shares_the_ann_or_nothing(tiny):
    seeds = {
        twin: (recipe.seed, recipe.ann_seed)
        for twin in (None, "same-ann", "independent")
        for recipe in [tiny.recipe(run("hire", 3, twin))]
    }
    assert seeds == {None: (3, 3), "same-ann": (1003, 3), "independent": (4, 4)}


def test_too_few_test_images_are_refused(study):
    with pytest.raises(
        UsageError, match=r"measures on 20,000 test images of vgg5-cifar10, and its data have \d+; give"
    ):
        study.test(VGG5, 20_000)
    assert len(study.test(VGG5, 20)) == 20
