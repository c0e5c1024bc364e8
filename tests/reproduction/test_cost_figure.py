"""Fig. 7 with given costs, so that every ratio is known."""

from typing import Any

import pytest

from reproduction import charts
from reproduction.measurements import Measurement
from reproduction.page import Page

from .conftest import TWO_SEEDS, page
from .drawn import heights, names

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


def test_costs_are_in_mib_and_milliseconds(made: Page) -> None:
    rows: list[Any] = made.tables[0].rows
    assert [row[:3] for row in rows[:2]] == [
        ["VGG5", "CIFAR-10", "traditional SNN"],
        ["VGG5", "CIFAR-10", "HIRE-SNN"],
    ]
    # seeds 100 and 200 MiB, 20 and 40 ms
    assert [cell.mean for cell in rows[0][3:]] == pytest.approx([150, 30, 60])
    assert rows[1][3].values == pytest.approx((80, 160))


def test_ratios_are_taken_seed_by_seed(made: Page) -> None:
    rows: list[Any] = made.tables[1].rows
    assert [row[2].mean for row in rows] == pytest.approx([0.8, 0.6, 1.1])
    assert [row[3].mean for row in rows] == pytest.approx([2.1, 1.8, 1.8])
    assert [row[4].mean for row in rows] == pytest.approx([1.05, 0.9, 0.9])
    assert rows[0][2].deviation == pytest.approx(0)


def test_the_claims_are_the_largest_saving_and_the_largest_extra_time(made: Page) -> None:
    less, no_more = made.claims
    assert (less.paper, less.ours, no_more.paper, no_more.ours) == pytest.approx((25.0, 40.0, 0.0, 5.0))
    assert (less.verdict, less.found, less.paper) == ("agrees", "40.0 %", 25.0)
    assert (no_more.verdict, no_more.found) == ("differs", "VGG5 +5.0 %, VGG11 -10.0 %, ResNet12 -10.0 %")
    assert made.images == "random images, batches of 32"


def test_on_a_gpu_the_claim_on_time_uses_the_clock() -> None:
    made = page("fig7", lambda wanted: cost(wanted, device="cuda"))
    assert made.claims[1].ours == pytest.approx(110)
    assert made.figure is not None
    time = made.figure(charts).axes[1]
    assert list(heights(time).values())[1] == pytest.approx([2.1, 1.8, 1.8])
    assert time.get_ylabel() == "time of a batch\n(traditional = 1)"


def test_bars_stand_beside_the_claims_of_the_paper(made: Page) -> None:
    assert made.figure is not None
    figure = made.figure(charts)
    memory, time = figure.axes
    assert list(heights(memory).values())[1] == pytest.approx([0.8, 0.6, 1.1])
    traditional, hire = heights(time).values()
    assert traditional == [1, 1, 1]
    assert hire == pytest.approx([1.05, 0.9, 0.9])
    assert time.get_ylabel() == "processor time of a batch\n(traditional = 1)"
    claims = [
        [line.get_ydata()[0] for line in axes.lines if line.get_label() == "claim of the paper"] for axes in figure.axes
    ]
    assert claims == [[0.75], [1.0]]
    assert "claim of the paper" in names(figure)


def test_networks_that_are_too_small_are_called_so(made: Page) -> None:
    assert not any("too small" in note for note in made.notes)
    small = page("fig7", lambda wanted: cost(wanted, peak_bytes=MIB))
    assert any("too small for either claim" in note for note in small.notes)


def test_a_network_that_the_scale_lacks_is_named() -> None:
    made = page("fig7", cost, TWO_SEEDS.only(["vgg5-cifar10"]))
    assert len(made.tables[0].rows) == 2
    assert any(
        note.startswith("Left out") and "VGG11 on CIFAR-100, ResNet12 on CIFAR-10." in note for note in made.notes
    )


def test_the_memory_of_two_machines_is_not_divided() -> None:
    """Times are: both methods take turns in one process."""
    made = page("fig7", lambda wanted: cost(wanted, threads=8 if wanted.method == "hire" else 1))
    assert [claim.verdict for claim in made.claims] == ["not judged", "differs"]
    assert [[cell.known for cell in row[2:]] for row in made.tables[1].rows] == [[False, True, True]] * 3  # type: ignore[union-attr]
    assert "a processor, 1 threads; a processor, 8 threads" in made.notes[0]
