"""What training costs: measured in processes of its own; Fig. 7 of given costs."""

import mmap
import sys
from typing import Any

import pytest

from hiresnn.app.recipe import Recipe, override, read
from reproduction import cost as module
from reproduction.page import Page
from reproduction.study import Measurement

from .conftest import page

LONG = {
    "model.width": "0.25",
    "model.hidden": "16",
    "snn.timesteps": "8",
    "noise.periods": "4",
    "snn.batch_size": "8",
    "precision": '"float32"',
    "compile": '"never"',
    "device": '"cpu"',
}
"""A small network whose activations over 8 steps weigh far more than its weights."""


def recipe(method: str, **changes: str) -> Recipe:
    return override(read("vgg5-cifar10-cpu"), {"method": method, **LONG, **changes})


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of one phase is read from /proc")
def test_shorter_periods_hold_less_memory() -> None:
    traditional, hire = (
        module.measure(recipe(method), 2, channels=3, size=32, classes=10) for method in ("traditional", "hire")
    )
    # Kept for the backward pass, at least: the input currents of 16 x 32 x 32 + 2 x 32 x 16 x 16 + 32 neurons of 8
    # images over 8 steps in float32 are 8.0 MiB; HIRE keeps those of a period of 2 steps.
    currents = 4 * 8 * 8 * (16 * 1024 + 2 * 32 * 256 + 2 * 16)
    assert currents < traditional["peak_bytes"] < 8 * currents
    assert currents / 4 < hire["peak_bytes"] < 0.6 * traditional["peak_bytes"]
    assert traditional["seconds_per_batch"] > 0
    assert traditional["processor_seconds_per_batch"] > 0
    assert (traditional["device"], traditional["batch_size"], traditional["batches"]) == ("cpu", 8, 2)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_an_earlier_peak_does_not_count() -> None:
    block = mmap.mmap(-1, 64 * 2**20)  # not malloc's: that may keep what is freed, where a command ran before this
    block.write(bytes(64 * 2**20))
    high = module._memory("cpu", module.PEAK)
    assert high >= module._memory("cpu", module.IN_USE) >= 64 * 2**20
    block.close()
    module._forget_peak("cpu")
    assert module._memory("cpu", module.PEAK) <= high - 32 * 2**20


MIB = 2**20
PEAK = {"vgg5": 100.0, "vgg11": 200.0, "resnet12": 400.0}
SHARE = {"vgg5": 0.8, "vgg11": 0.6, "resnet12": 1.1}


def cost(wanted: Measurement, **changes: Any) -> dict[str, Any]:
    """HIRE takes SHARE of the memory, 5 % more time on VGG5 and 10 % less elsewhere; a second seed doubles all.

    By the clock everything of HIRE takes twice as long as that: the machine was busy.
    """
    assert wanted.kind == "cost"
    name, hire = wanted.network.partition("-")[0], wanted.method == "hire"
    seconds = 0.02 * ((1.05 if name == "vgg5" else 0.9) if hire else 1)
    factor = 1 + (wanted.seed or 0)
    traditional = 0.02 * factor
    return {
        "traditional_seconds_per_batch": traditional,
        "traditional_processor_seconds_per_batch": 2 * traditional,
        "peak_bytes": PEAK[name] * MIB * (SHARE[name] if hire else 1) * factor,
        "seconds_per_batch": seconds * factor * (2 if hire else 1),
        "processor_seconds_per_batch": 2 * seconds * factor,
        "left_bytes": 0, "fused": False, "device": "cpu", "processor": "a processor", "threads": 2,
        "batch_size": 32, "batches": 3, **changes,
    }  # fmt: skip


@pytest.fixture
def made() -> Page:
    return page("fig7", cost)


def test_the_claims_are_the_largest_saving_and_the_largest_extra_time(made: Page) -> None:
    less, no_more = made.claims
    assert (less.paper, less.ours, no_more.paper, no_more.ours) == pytest.approx((25.0, 40.0, 0.0, 5.0))
    assert (less.verdict, less.numbers, less.paper) == ("agrees", "40.0 %", 25.0)
    assert (no_more.verdict, no_more.numbers) == ("differs", "VGG5 +5.0 %, VGG11 -10.0 %, ResNet12 -10.0 %")
    assert made.images == "random images, batches of 32"


def test_the_memory_of_two_machines_is_not_divided() -> None:
    """Times are: both methods take turns in one process."""
    made = page("fig7", lambda wanted: cost(wanted, threads=8 if wanted.method == "hire" else 1))
    assert [claim.verdict for claim in made.claims] == ["not judged", "differs"]
    assert [[cell.known for cell in row[2:]] for row in made.tables[1].rows] == [[False, True, True]] * 3
    assert "a processor, 1 threads; a processor, 8 threads" in made.notes[0]
