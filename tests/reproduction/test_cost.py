"""What training costs: measured in processes of its own."""

import sys

import pytest

from hiresnn.app.recipe import Recipe, override, read
from reproduction import cost as module

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
