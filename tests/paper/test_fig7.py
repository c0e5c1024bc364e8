"""Fig. 7 on costs that are given, so that every ratio is known."""

from dataclasses import replace
from typing import Any

import pytest

from hiresnn.charts import print as plotting
from hiresnn.paper import fig7 as module
from hiresnn.paper.artefact import ARTEFACTS, Artefact
from hiresnn.paper.fig7 import fig7
from hiresnn.runs.recipe import Recipe

from .conftest import StubStudy
from .drawn import heights, names

MIB = 2**20
PEAK = {"vgg5": 100.0, "vgg11": 200.0, "resnet12": 400.0}
SHARE = {"vgg5": 0.8, "vgg11": 0.6, "resnet12": 1.1}


def given(recipe: Recipe, batches: int, *, channels: int, size: int, classes: int) -> dict[str, Any]:
    """HIRE takes SHARE of the memory, 5 % more time on VGG5 and 10 % less elsewhere; a second seed doubles all.

    By the clock everything of HIRE takes twice as long as that: the machine was busy.
    """
    assert (batches, channels, size, classes) == (3, 1, 8, 10)
    name, hire = recipe.model.name, recipe.method == "hire"
    seconds = 0.02 * ((1.05 if name == "vgg5" else 0.9) if hire else 1)
    factor = 1 + recipe.seed
    return {
        "peak_bytes": PEAK[name] * MIB * (SHARE[name] if hire else 1) * factor,
        "seconds_per_batch": seconds * factor * (2 if hire else 1),
        "processor_seconds_per_batch": 2 * seconds * factor,
        "left_bytes": 0, "fused": False, "device": "cpu", "processor": "a processor", "threads": 2,
        "batch_size": 32, "batches": batches,
    }  # fmt: skip


@pytest.fixture
def artefact(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> Artefact:
    monkeypatch.setattr(module, "measure", given)
    return fig7(stub)


def test_costs_are_in_mib_and_milliseconds(artefact: Artefact) -> None:
    rows: list[Any] = artefact.tables[0].rows
    assert [row[:3] for row in rows[:2]] == [
        ["VGG5", "CIFAR-10", "traditional SNN"],
        ["VGG5", "CIFAR-10", "HIRE-SNN"],
    ]
    # seeds 100 and 200 MiB, 20 and 40 ms
    assert [cell.mean for cell in rows[0][3:]] == pytest.approx([150, 30, 60])
    assert rows[1][3].values == pytest.approx((80, 160))


def test_ratios_are_taken_seed_by_seed(artefact: Artefact) -> None:
    rows: list[Any] = artefact.tables[1].rows
    assert [row[2].mean for row in rows] == pytest.approx([0.8, 0.6, 1.1])
    assert [row[3].mean for row in rows] == pytest.approx([2.1, 1.8, 1.8])
    assert [row[4].mean for row in rows] == pytest.approx([1.05, 0.9, 0.9])
    assert rows[0][2].deviation == pytest.approx(0)


def test_the_claims_are_the_largest_saving_and_the_largest_extra_time(artefact: Artefact) -> None:
    saving, extra = artefact.tables[2].rows
    assert saving[1:] == pytest.approx([25.0, 40.0, 15.0])
    assert extra[1:] == pytest.approx([0.0, 5.0, 5.0])


def test_a_network_that_takes_longer_is_named(artefact: Artefact) -> None:
    assert artefact.notes[-1] == ("HIRE took longer here, where the paper has no extra time: VGG5 by 5.0 %.")


def test_on_a_gpu_the_claim_on_time_goes_by_the_clock(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure", lambda recipe, n, **shape: {**given(recipe, n, **shape), "device": "cuda"})
    artefact = fig7(stub)
    assert artefact.tables[2].rows[1][2] == pytest.approx(110)
    assert artefact.figure is not None
    time = artefact.figure(plotting).axes[1]
    assert heights(time)["crafted noise (HIRE)"] == pytest.approx([2.1, 1.8, 1.8])
    assert time.get_ylabel() == "time of a batch\n(traditional = 1)"


def test_bars_stand_beside_the_claims_of_the_paper(artefact: Artefact) -> None:
    drawn = artefact.figure(plotting)
    memory, time = drawn.axes
    assert heights(memory)["crafted noise (HIRE)"] == pytest.approx([0.8, 0.6, 1.1])
    assert heights(time)["traditional"] == [1, 1, 1]
    assert heights(time)["crafted noise (HIRE)"] == pytest.approx([1.05, 0.9, 0.9])
    assert time.get_ylabel() == "processor time of a batch\n(traditional = 1)"
    claims = [
        [line.get_ydata()[0] for line in axes.lines if line.get_label() == "claim of the paper"] for axes in drawn.axes
    ]
    assert claims == [[0.75], [1.0]]
    assert "claim of the paper" in names(drawn)


def test_networks_that_are_too_small_to_tell_are_called_so(
    stub: StubStudy, monkeypatch: pytest.MonkeyPatch, artefact: Artefact
) -> None:
    assert not any("too small" in note for note in artefact.notes)
    stub.scale = replace(stub.scale, cost_batches=4)  # another key: measured anew
    monkeypatch.setattr(
        module, "measure", lambda recipe, batches, **shape: {**given(recipe, 3, **shape), "peak_bytes": MIB}
    )
    assert any("too small for either claim" in note for note in fig7(stub).notes)


def test_a_scale_without_a_network_says_so(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure", given)
    stub.networks = ("vgg5-cifar10",)
    artefact = fig7(stub)
    assert len(artefact.tables[0].rows) == 2
    assert "Left out here: VGG11 on CIFAR-100, ResNet12 on CIFAR-10." in artefact.notes


def test_a_plan_starts_no_process(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "measure", None)
    jobs = stub.plan([ARTEFACTS["fig7"]])
    assert [job.kind for job in jobs] == ["measure"] * (3 * 2 * 2)  # networks, methods, seeds
    assert all(job.seconds > module.STARTING for job in jobs)
