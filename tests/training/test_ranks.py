"""Several processes: who may leave when, what is released, and what torchrun must have set."""

import gc
import weakref

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.neurons import Window
from hiresnn.training import ALONE, Ranks, joined, ranks

ENVIRONMENT = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


class Averaging(nn.Module):
    """Stands in for DistributedDataParallel, which needs connections."""

    def __init__(self, module: nn.Module, **_: object) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor, window: Window) -> torch.Tensor:
        logits: torch.Tensor = self.module(images, window)
        return logits


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls made to torch.distributed by a pretended rank 1 of 2."""
    made: list[str] = []
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    for name in ("init_process_group", "barrier", "destroy_process_group"):
        monkeypatch.setattr(ranks.dist, name, lambda *_, name=name, **__: made.append(name))
    monkeypatch.setattr(ranks.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(ranks, "DistributedDataParallel", Averaging)
    return made


def presented(among: Ranks) -> "weakref.ref[nn.Module]":
    model = nn.Flatten()
    among.presenter(model)(torch.zeros(1, 2), Window(1, 1))
    return weakref.ref(model)


def test_ranks_wait_for_each_other_before_they_leave(calls: list[str]) -> None:
    with joined() as among:
        assert (among.rank, among.size) == (1, 2)
        assert calls == ["init_process_group"]
    assert calls == ["init_process_group", "barrier", "destroy_process_group"]


def test_a_rank_that_fails_waits_for_nobody(calls: list[str]) -> None:
    with pytest.raises(KeyError), joined():
        raise KeyError
    assert calls == ["init_process_group", "destroy_process_group"]


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_0_ends_first_when_all_ranks_raise(calls: list[str], monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(ranks.dist, "get_rank", lambda: rank)
    monkeypatch.setattr(ranks.time, "sleep", lambda seconds: calls.append(f"{seconds} s"))
    with pytest.raises(UsageError), joined():
        raise UsageError
    assert calls[1:-1] == ["3.0 s"] * rank


def test_the_model_is_released_before_the_connections_are_closed(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks.dist, "destroy_process_group", lambda: calls.append(f"model: {model()}"))
    with joined() as among:
        model = presented(among)
        assert model() is not None
    assert calls[-1] == "model: None"


def test_a_model_is_released_when_the_next_is_presented(calls: list[str]) -> None:
    among = Ranks(0, 2)
    first, second = presented(among), presented(among)
    gc.collect()
    assert first() is None
    assert second() is not None


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "MASTER_ADDR"])
def test_several_processes_without_the_variables_of_torchrun_are_refused(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)
    message = f"the environment has WORLD_SIZE=2 without {name}; start several processes with torchrun"
    with pytest.raises(UsageError, match=message), joined():
        pass
    assert calls == []


def test_a_process_without_world_size_trains_alone(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE")
    with joined() as among:
        assert among is ALONE
    assert calls == []
