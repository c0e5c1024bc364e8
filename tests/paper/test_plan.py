"""Jobs in groups that need only earlier groups, estimates, and the stand-in for figures that are not there."""

import math
from dataclasses import replace

import pytest

from hiresnn.paper.plan import Job, Unmeasured, attack_seconds, training_seconds, waves
from hiresnn.paper.scales import Setting
from hiresnn.runs.recipe import override, read


def test_a_wave_needs_only_earlier_waves() -> None:
    jobs = [Job("c", "measure", 1, ("a", "b")), Job("a", "ann", 1), Job("b", "hire", 1, ("a",)), Job("d", "ann", 1)]
    assert [[job.name for job in wave] for wave in waves(jobs)] == [["a", "d"], ["b"], ["c"]]


def test_what_is_not_in_the_list_is_taken_as_done() -> None:
    assert [len(wave) for wave in waves([Job("b", "hire", 1, ("trained before",))])] == [1]


def test_a_circle_is_an_error() -> None:
    with pytest.raises(ValueError, match="circle: a, b"):
        waves([Job("a", "ann", 1, ("b",)), Job("b", "ann", 1, ("a",))])


def test_what_is_unmeasured_can_be_used_like_any_json_value() -> None:
    nothing = Unmeasured()
    assert math.isnan(nothing["layers"][0] + 1)
    assert math.isnan(nothing.get("x"))
    assert list(nothing) == [] == list(nothing.items())
    assert not nothing
    assert f"{nothing:.1f}" == "nan"


def test_times_are_estimated_from_images_epochs_and_steps() -> None:
    setting = replace(Setting("digits"), training_images=1000, ann_ms=2.0, step_ms=0.5)
    changes = {"ann.epochs": "3", "snn.epochs": "2", "snn.timesteps": "4", "method": "hire"}
    recipe = override(read("digits"), changes)
    # 3 epochs x 1,000 images x 2 ms = 6 s; 2 x 1,000 x 4 steps x 0.5 ms = 4 s
    assert training_seconds(recipe, setting) == (6.0, 4.0)
    assert training_seconds(override(recipe, {"data.train_images": "500"}), setting) == (3.0, 2.0)
    assert training_seconds(override(recipe, {"method": "ann"}), setting)[1] == 0
    # 100 images x 4 steps x 0.5 ms x (7 gradients + a third for the forward pass alone)
    assert attack_seconds(recipe, setting, 100, 7) == pytest.approx(0.2 * (7 + 1 / 3))
