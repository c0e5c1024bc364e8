"""What training costs: measured in processes of its own, and what such a process says when it fails."""

import json
import mmap
import subprocess
import sys
from typing import Any

import pytest

from hiresnn.app.recipe import Recipe, dump, override, read
from hiresnn.errors import RunError
from reproduction import cost

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
        cost.measure(recipe(method), 2, channels=3, size=32, classes=10) for method in ("traditional", "hire")
    )
    # Kept for the backward pass, at least: the input currents of 16 x 32 x 32 + 2 x 32 x 16 x 16 + 32 neurons of 8
    # images over 8 steps in float32 are 8.0 MiB; HIRE keeps those of a period of 2 steps.
    currents = 4 * 8 * 8 * (16 * 1024 + 2 * 32 * 256 + 2 * 16)
    assert currents < traditional["peak_bytes"] < 8 * currents
    assert currents / 4 < hire["peak_bytes"] < 0.6 * traditional["peak_bytes"]
    assert traditional["seconds_per_batch"] > 0
    assert traditional["processor_seconds_per_batch"] > 0
    assert (traditional["device"], traditional["batch_size"], traditional["batches"]) == ("cpu", 8, 2)


def test_the_error_of_a_process_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.CompletedProcess([], 2, "", "a warning\ndevice is 'cuda', but torch sees no GPU\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(RunError, match=r"cost of vgg5-cifar10-cpu hire ended with 2 \(device is 'cuda', but torch"):
        cost.measure(recipe("hire"), 1, channels=3, size=32, classes=10)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
def test_an_earlier_peak_does_not_count() -> None:
    block = mmap.mmap(-1, 64 * 2**20)  # not malloc's: that may keep what is freed, where a command ran before this
    block.write(bytes(64 * 2**20))
    high = cost._memory("cpu", cost.PEAK)
    assert high >= cost._memory("cpu", cost.IN_USE) >= 64 * 2**20
    block.close()
    cost._forget_peak("cpu")
    assert cost._memory("cpu", cost.PEAK) <= high - 32 * 2**20


@pytest.mark.parametrize(
    ("method", "changes"),
    [("traditional", {}), ("rate", {}), ("gaussian", {"snn.optimizer": '"sgd"', "snn.train_neurons": "false"})],
)
def test_the_command_prints_the_cost_of_every_kind_of_training(
    method: str,
    changes: dict[str, str],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[bool] = []
    monkeypatch.setattr(cost, "keep_memory", lambda: kept.append(True))  # it would last beyond this test
    path = tmp_path / "recipe.toml"
    tiny = {"model.width": "0.1", "snn.timesteps": "2", "noise.periods": "2", "snn.batch_size": "4"}
    values = {"method": method, "compile": '"never"', "device": '"cpu"', **tiny, **changes}
    path.write_text(dump(override(read("digits"), values)))
    assert cost.main([str(path), *["--batches", "1", "--channels", "1", "--size", "8", "--classes", "10"]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["fused"], found["batches"], found["batch_size"], kept) == (False, 1, 4, [True])
    assert min(found["traditional_seconds_per_batch"], found["traditional_processor_seconds_per_batch"]) > 0


def test_an_unknown_recipe_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost.main(["vgg6", *["--batches", "1", "--channels", "3", "--size", "32", "--classes", "10"]]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "vgg6" in said.err
