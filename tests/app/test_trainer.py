"""A stage trains epoch by epoch, logs each, keeps a state after each, and goes on from it to the same weights."""

import dataclasses
import errno
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn.app.context import RunContext
from hiresnn.app.folder import METRICS, RESUME, RunFolder
from hiresnn.app.recipe import Recipe
from hiresnn.app.schema import Snn
from hiresnn.app.trainer import Trainer, read_resume, resume_bytes
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import NotFiniteError, RunError
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.progress import Progress
from hiresnn.training import Method
from hiresnn.training.noise import CraftedNoise, Noise

EPOCHS = 3


class Poison(Noise):
    """Makes the victim, a parameter, NaN at the given call."""

    victim: nn.Parameter

    def __init__(self, call: int) -> None:
        self.left = call

    def apply(self, images: Tensor) -> Tensor:
        """The images themselves."""
        self.left -= 1
        if self.left == 0:
            nn.init.constant_(self.victim, math.nan)
        return images


class Training:
    """Everything that a stage needs, made anew from seed 0: a network, its optimiser, ten images in batches of 4."""

    def __init__(self, folder: RunFolder, method: Method | None = None, *, hidden: int = 16) -> None:
        self.folder = folder
        torch.manual_seed(0)
        dropout = nn.Dropout(0.2)
        ann = nn.Sequential(nn.Flatten(), nn.Linear(4, hidden), nn.ReLU(), dropout, nn.Linear(hidden, 3))
        self.network: SpikingNetwork = spiking_graph(ann, 4)
        if method is not None and isinstance(method.noise, Poison):
            method.noise.victim = list(self.network.parameters())[-1]  # the readout: no spike hides it
        self.method = method or Method(2, CraftedNoise(0.05, 0.08))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1.0)
        split = Split(torch.randint(256, (10, 1, 2, 2), dtype=torch.uint8), torch.arange(10) % 3)
        generator = torch.Generator().manual_seed(1)
        self.batches = Batches(split, 4, shuffle=True, generator=generator)
        dataset = DataSet("tiny", split, split, ("a", "b", "c"))
        context = RunContext(folder.recipe, folder, dataset, Progress(quiet=True), "cpu")
        settings = Snn(
            timesteps=4, epochs=EPOCHS, batch_size=4, lr=1e-2, decay=0.5, milestones=(0.5,), train_neurons=True
        )
        self.trainer = Trainer(context, "SNN", settings, self.method, self.network, self.optimizer, self.batches)

    def fit(self) -> dict[str, Tensor]:
        self.trainer.training().run()
        return self.network.state_dict()


@pytest.fixture
def folder(tmp_path: Path, tiny: Recipe) -> RunFolder:
    return RunFolder.create(tmp_path / "run", tiny)


def stopped_after(epochs: int, training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `training` die between the state and the log of an epoch, the worst moment."""
    written = training.folder.write_metrics

    def die(rows: list[dict[str, Any]]) -> None:
        if len(rows) == epochs:
            raise KeyboardInterrupt
        written(rows)

    with monkeypatch.context() as patch:
        patch.setattr(training.folder, "write_metrics", die)
        with pytest.raises(KeyboardInterrupt):
            training.fit()


def timeless(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_every_epoch_is_logged_with_the_rate_of_the_schedule_and_the_neurons(folder: RunFolder) -> None:
    training = Training(folder)
    training.fit()
    rows = folder.read_metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert [row["lr"] for row in rows] == [1e-2, 1e-2, 5e-3]  # half of 3 epochs rounds to 2
    assert {row["stage"] for row in rows} == {"snn"}
    (name, lif), *_ = training.network.neurons.items()
    assert rows[-1]["thresholds"] == {name: lif.threshold.item()}
    assert rows[-1]["leaks"] == {name: lif.leak.item()}
    for row in rows:
        assert math.isfinite(row["loss"])
        assert 0 <= row["train_accuracy"] <= 100
        assert row["seconds"] >= 0


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_stage_that_died_goes_on_to_the_weights_noise_and_log_of_one_that_did_not(
    folder: RunFolder, tmp_path: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    whole = Training(RunFolder.create(tmp_path / "whole", tiny))
    expected = whole.fit()
    stopped_after(epochs, Training(folder), monkeypatch)
    torch.rand(5)  # the random state of the new process is another
    again = Training(folder)
    found = again.fit()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    assert isinstance(again.method.noise, CraftedNoise)
    assert isinstance(whole.method.noise, CraftedNoise)
    assert again.method.noise.kappa is not None
    assert whole.method.noise.kappa is not None
    assert torch.equal(again.method.noise.kappa, whole.method.noise.kappa)
    assert timeless(folder.read_metrics()) == timeless(whole.folder.read_metrics())


@pytest.mark.parametrize("part", ["noise", "order", "random", "optimizer"])
def test_each_part_of_the_state_matters(
    folder: RunFolder, tmp_path: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    expected = Training(RunFolder.create(tmp_path / "whole", tiny)).fit()
    fresh = Training(folder)
    start = fresh.trainer._state(fresh.trainer.training())
    stopped_after(1, Training(folder), monkeypatch)
    state = read_resume(folder.path / RESUME)
    if part in ("noise", "random"):
        state["ranks"][0][part] = start["ranks"][0][part]
    else:
        state[part] = start[part]
    folder.write_bytes(RESUME, resume_bytes(state))
    found = Training(folder).fit()
    assert not all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_finished_stage_is_not_trained_again(folder: RunFolder) -> None:
    expected = {name: tensor.clone() for name, tensor in Training(folder).fit().items()}
    before = (folder.path / RESUME).stat().st_mtime_ns
    found = Training(folder).fit()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert (folder.path / RESUME).stat().st_mtime_ns == before


def test_no_epochs_leave_the_network_as_converted(folder: RunFolder) -> None:
    training = Training(folder)
    before = {name: tensor.clone() for name, tensor in training.network.state_dict().items()}
    settings = training.trainer.settings.model_copy(update={"epochs": 0})
    training.trainer = dataclasses.replace(training.trainer, settings=settings)
    assert all(torch.equal(before[name], tensor) for name, tensor in training.fit().items())
    assert not folder.has(RESUME)


def test_a_loss_that_is_not_finite_names_epoch_and_batch_and_keeps_the_last_good_epoch(folder: RunFolder) -> None:
    # Three batches an epoch, one period a batch: the fifth is the second batch of the second epoch.
    with pytest.raises(NotFiniteError) as caught:
        Training(folder, Method(noise=Poison(5))).fit()
    assert str(caught.value) == (
        "SNN training, epoch 2 of 3: the loss is nan at batch 2. "
        f"The state after epoch 1 is in {folder.path}. Lower snn.lr and train into another --out."
    )
    state = read_resume(folder.path / RESUME)
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert [row["epoch"] for row in folder.read_metrics()] == [1]
    Training(folder, Method()).fit()  # and it can be continued
    assert len(folder.read_metrics()) == EPOCHS


def test_a_loss_that_is_not_finite_in_the_first_epoch_promises_no_state(folder: RunFolder) -> None:
    with pytest.raises(NotFiniteError, match=r"epoch 1 of 3: the loss is nan at batch 1\. Lower snn\.lr"):
        Training(folder, Method(noise=Poison(1))).fit()
    assert not folder.has(RESUME)


def test_a_full_disk_keeps_the_state_of_the_epoch_before(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_after(1, Training(folder), monkeypatch)
    before = (folder.path / RESUME).read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match=r"the disk is full: .*metrics\.jsonl|the disk is full: .*resume\.pt"):
            Training(folder).fit()
        patch.setattr(folder, "write_metrics", lambda rows: None)
        with pytest.raises(RunError, match=r"the disk is full: .*resume\.pt \([\d,]+ bytes\) could not be written"):
            Training(folder).fit()
    assert (folder.path / RESUME).read_bytes() == before
    Training(folder).fit()
    assert len(folder.read_metrics()) == EPOCHS


def test_the_state_of_another_stage_is_refused(folder: RunFolder) -> None:
    training = Training(folder)
    folder.write_bytes(RESUME, resume_bytes({"stage": "ANN"}))
    with pytest.raises(RunError, match=r"resume\.pt is of the ANN training; delete it to train from the start"):
        training.fit()


def test_the_state_of_another_network_is_refused_in_one_sentence(folder: RunFolder) -> None:
    Training(folder, hidden=15).fit()
    with pytest.raises(RunError, match=r"resume\.pt does not fit this run \(.*size mismatch.*\); delete it") as caught:
        Training(folder).fit()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["model", "optimizer", "ranks", "noise", "random", "order", "rows"])
def test_a_state_without_one_of_its_parts_is_refused(folder: RunFolder, part: str) -> None:
    training = Training(folder)
    state = training.trainer._state(training.trainer.training())
    del (state["ranks"][0] if part in ("noise", "random") else state)[part]
    folder.write_bytes(RESUME, resume_bytes(state))
    with pytest.raises(RunError, match=rf"resume\.pt does not fit this run \('{part}'\)"):
        training.fit()


def test_a_state_cut_short_is_refused_and_nothing_is_harmed(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_after(2, Training(folder), monkeypatch)
    path = folder.path / RESUME
    path.write_bytes(path.read_bytes()[:-100])
    log = (folder.path / METRICS).read_bytes()
    with pytest.raises(RunError, match=r"resume\.pt is damaged \(\w+\); delete it to train from the start"):
        Training(folder).fit()
    assert (folder.path / METRICS).read_bytes() == log


def test_the_states_of_gpus_that_are_not_here_do_not_matter(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped_after(1, Training(folder), monkeypatch)
    state = read_resume(folder.path / RESUME)
    state["ranks"][0]["cuda_random"] = [torch.get_rng_state()] * 8
    folder.write_bytes(RESUME, resume_bytes(state))

    def missing(states: list[Tensor]) -> None:
        raise IndexError("tuple index out of range")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # Optimisers ask the GPU whether a graph is being captured.
    for device in ("accelerator", "cuda"):  # the newer and the older name
        check = f"_{device}_graph_capture_health_check"
        monkeypatch.setattr(torch.optim.Optimizer, check, lambda self: None, raising=False)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", missing)
    Training(folder).fit()
    assert read_resume(folder.path / RESUME)["ranks"][0]["cuda_random"] == []
