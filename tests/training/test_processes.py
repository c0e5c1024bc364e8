"""Two and three processes train the network that one trains, and end with one sentence when a process dies."""

import signal
from functools import partial

import pytest
import torch

from hiresnn.cli import main
from hiresnn.errors import DataError, LostProcessError, UsageError
from hiresnn.training import ALONE, joined

from ..forked import several
from .together import CASES, train_and_lose_one, trained


@pytest.fixture(scope="module", params=[2, 3])
def processes(request, tmp_path_factory):
    """The folder of a training by several processes, and (exit code, standard error) of each."""
    folder = tmp_path_factory.mktemp(f"{request.param}-processes")
    ended = several(request.param, partial(train_and_lose_one, folder))
    return folder, [(code, errors) for code, _, errors in ended]


def test_several_processes_train_the_network_and_the_noise_of_one(processes):
    folder, ended = processes
    ranks = [torch.load(folder / f"{rank}.pt") for rank in range(len(ended))]
    for number, case in enumerate(CASES):
        alone = trained(*case, ALONE)
        for rank in ranks:
            for name, weights in alone["weights"].items():
                torch.testing.assert_close(rank[number]["weights"][name], weights, atol=1e-6, rtol=1e-5)
            for found, expected in zip(rank[number]["results"], alone["results"], strict=True):
                assert found == pytest.approx(expected, rel=1e-6)
        # A rank whose part of a batch was empty has a row of zeros, which belongs to no image.
        kappa = torch.cat([rank[number]["kappa"] for rank in ranks])[: len(alone["kappa"])]
        torch.testing.assert_close(kappa, alone["kappa"])
        assert alone["kappa"].abs().max() > 0


def test_when_a_process_is_killed_the_others_end_with_one_sentence(processes):
    *others, (killed, _) = processes[1]
    assert killed == -signal.SIGKILL
    for rank, (code, errors) in enumerate(others):
        assert code == 1
        assert errors.startswith(
            f"LostProcessError: another of the {len(others) + 1} training processes ended, so process {rank} stops"
        )
        assert len(errors.splitlines()) == 1, errors


@pytest.mark.parametrize(("error", "printed"), [(LostProcessError, True), (DataError, False)])
def test_a_process_that_does_not_lead_prints_only_that_another_ended(error, printed, monkeypatch, capsys):
    def failing(_):
        raise error("a sentence")

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("hiresnn.app.recipe.text_of", failing)
    with pytest.raises(SystemExit):
        main(["recipes", "show", "digits"])
    assert capsys.readouterr().err == ("Error: a sentence\n" if printed else "")


ENVIRONMENT = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


@pytest.mark.parametrize("missing", ["RANK", "LOCAL_RANK", "MASTER_ADDR", "WORLD_SIZE"])
def test_variables_of_torchrun_come_together(monkeypatch, missing):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    if missing == "WORLD_SIZE":
        with joined() as ranks:
            assert ranks is ALONE
        return
    with pytest.raises(UsageError, match=f"WORLD_SIZE is 2 without {missing}; start torchrun"), joined():
        pass
