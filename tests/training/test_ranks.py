"""Ranks among themselves: who may leave when, what is let go of, and what torchrun must have set."""

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
    """In place of DistributedDataParallel, which needs connections."""

    def __init__(self, module: nn.Module, **_: object) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: torch.Tensor, window: Window) -> torch.Tensor:
        logits: torch.Tensor = self.module(images, window)
        return logits


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the connections of two processes, which are not there."""
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
    among.present(model, torch.zeros(1, 2), Window(1, 1))
    return weakref.ref(model)


def test_ranks_wait_for_each_other_before_they_part(calls: list[str]) -> None:
    with joined() as among:
        assert (among.rank, among.size) == (1, 2)
        assert calls == ["init_process_group"]
    assert calls == ["init_process_group", "barrier", "destroy_process_group"]


def test_a_rank_that_fails_waits_for_nobody(calls: list[str]) -> None:
    with pytest.raises(KeyError), joined():
        raise KeyError
    assert calls == ["init_process_group", "destroy_process_group"]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_leading_rank_ends_first_with_what_all_raised(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setattr(ranks.dist, "get_rank", lambda: rank)
    monkeypatch.setattr(ranks.time, "sleep", lambda seconds: calls.append(f"{seconds} s"))
    with pytest.raises(UsageError), joined():
        raise UsageError
    assert calls[1:-1] == ["3.0 s"] * rank


def test_what_averages_gradients_is_gone_before_the_connections_are(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks.dist, "destroy_process_group", lambda: calls.append(f"model: {model()}"))
    with joined() as among:
        model = presented(among)
        assert model() is not None
    assert calls[-1] == "model: None"


def test_a_model_is_let_go_of_when_the_next_is_presented(calls: list[str]) -> None:
    among = Ranks(0, 2)
    first, second = presented(among), presented(among)
    gc.collect()
    assert first() is None
    assert second() is not None


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "MASTER_ADDR"])
def test_a_world_of_several_without_the_rest_is_refused(
    calls: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)
    message = f"the environment has WORLD_SIZE=2 without {name}; start several processes by torchrun"
    with pytest.raises(UsageError, match=message), joined():
        pass
    assert calls == []


def test_a_rank_without_a_world_is_alone(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE")
    with joined() as among:
        assert among is ALONE
    assert calls == []
