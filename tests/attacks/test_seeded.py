import pytest
import torch

from hiresnn.attacks import seeded


def test_draws_inside_the_block_start_from_the_seed_and_draws_outside_continue():
    torch.manual_seed(5)
    first, second = torch.rand(3), torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), first)
    with seeded(7):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), second)
    assert torch.equal(inside, torch.rand(3, generator=torch.Generator().manual_seed(7)))


def test_the_generator_state_is_restored_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), seeded(7):
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


def test_a_gpu_initialised_later_starts_from_the_callers_seed(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    torch.manual_seed(5)
    with seeded(7):
        torch.rand(3)
    assert seeds[-1] == 5
