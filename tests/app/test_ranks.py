"""Training by two processes, as torchrun starts them: the same training, noise of their own, one writer, resume."""

import os
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial

import pytest
import torch

from hiresnn.app.folder import MODEL, RESUME, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.recipe import dump, override
from hiresnn.app.train import load_data, train
from hiresnn.data import Batches, Split
from hiresnn.errors import DataError, RunError, UsageError
from hiresnn.progress import Progress
from hiresnn.training import Ranks
from hiresnn.training import ranks as joining
from hiresnn.training.trainer import read_checkpoint

from ..forked import hiresnn, several

EXACT = {"model.dropout": "0.0", "precision": '"float32"', "ann.epochs": "1", "snn.epochs": "1"}


def command(recipe, folder, out):
    """The arguments of `hiresnn` that train `recipe`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(dump(recipe))
    return ["train", str(folder / "recipe.toml"), "--out", str(out), "--quiet"]


def finished(recipe, folder, out, *more):
    """Exit codes, standard output and errors of `hiresnn train` by two processes."""
    ended = several(2, hiresnn(*command(recipe, folder, out), *more))
    return [code for code, _, _ in ended], "".join(output for _, output, _ in ended), [errors for *_, errors in ended]


def test_a_part_is_of_the_batch_that_one_process_sees():
    split = Split(torch.randint(256, (11, 3, 8, 8), dtype=torch.uint8), torch.arange(11) % 5)

    def batches(*part):
        generator = torch.Generator().manual_seed(0)
        return list(Batches(split, 5, shuffle=True, augment=True, generator=generator, part=part))

    whole = batches(0, 1)
    assert [len(labels) for _, labels in whole] == [5, 5, 1]
    halves = [batches(which, 2) for which in range(2)]
    assert [[len(labels) for _, labels in half] for half in halves] == [[2, 2, 1], [3, 3, 0]]
    for (images, labels), *parts in zip(whole, *halves, strict=True):
        assert torch.equal(images, torch.cat([part[0] for part in parts]))
        assert torch.equal(labels, torch.cat([part[1] for part in parts]))


def test_two_processes_train_as_one(tiny, tmp_path):
    # Shares of 15 and 16 images, and of 1 and 2 in the last batch.
    uneven = {"data.train_images": "158", "ann.batch_size": "31", "snn.batch_size": "31"}
    recipe = override(tiny, {**EXACT, **uneven})
    alone = train(recipe, out=tmp_path / "alone" / "run", progress=Progress(quiet=True))
    together = tmp_path / "together" / "run"
    assert finished(recipe, tmp_path / "together", together) == ([0, 0], f"{together}\n", ["", ""])
    expected, found = (load(path / MODEL).state_dict() for path in (alone, together))
    assert all(torch.allclose(found[name], tensor, atol=1e-5) for name, tensor in expected.items())
    rows = [RunFolder.open(path).read_metrics()[0] for path in (alone, together)]
    assert rows[0]["train_accuracy"] == rows[1]["train_accuracy"]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-5)
    assert [row["stage"] for row in RunFolder.open(together).read_metrics()] == ["snn"]
    names = [sorted(entry.name for entry in path.iterdir()) for path in (alone, together)]
    assert names[0] == names[1]


def test_a_killed_training_goes_on_to_the_same_weights_with_each_processes_own_noise(tiny, tmp_path):
    recipe = override(tiny, {**EXACT, "method": "hire", "model.dropout": "0.2", "snn.epochs": "12"})
    whole = tmp_path / "whole" / "run"
    assert finished(recipe, tmp_path / "whole", whole)[0] == [0, 0]

    out = tmp_path / "killed" / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    process = subprocess.Popen(
        [*torchrun, "hiresnn", *command(recipe, tmp_path / "killed", out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (out / RESUME).is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()  # torchrun passes it on to its workers
    errors = process.communicate()[1]
    assert (out / RESUME).is_file(), errors
    assert not (out / MODEL).exists()
    assert len(RunFolder.open(out).read_metrics()) < 12
    with pytest.raises(RunError, match=r"with 2 processes, not 1 \(start them with torchrun\)"):
        train(recipe, out=out, resume=True, progress=Progress(quiet=True))
    assert finished(recipe, tmp_path / "killed", out, "--resume")[0] == [0, 0]

    expected, found = (load(path / MODEL).state_dict() for path in (whole, out))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    own = [state["noise"]["kappa"] for state in read_checkpoint(out / RESUME)["ranks"]]
    assert [len(kappa) for kappa in own] == [16, 16]
    assert not torch.equal(*own)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"snn.batch_size": "1"}, r"snn.batch_size is 1; give 2 processes an image each"),
        ({"device": '"cuda:0"'}, r"device is 'cuda:0', a single GPU; for 2 processes use cuda or auto"),
    ],
)
def test_what_cannot_be_shared_is_refused(tiny, tmp_path, changes, sentence):
    class Alike(Ranks):
        def gathered(self, value):
            return [value, value]

    with pytest.raises(UsageError, match=sentence):
        train(override(tiny, changes), out=tmp_path / "run", progress=Progress(quiet=True), ranks=Alike(0, 2))
    assert not (tmp_path / "run").exists()


def of_rank(*commands):
    """Run the command of this rank."""
    hiresnn(*commands[int(os.environ["RANK"])])()


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("snn.epochs=2", "snn.epochs is 1 in process 0 but 2 in process 1; start all processes with the same settings"),
        ("snn.lr=0.5", "snn.lr is 0.005 in process 0 but 0.5 in process 1"),
        ("snn.batch_size=1", "snn.batch_size is 1; give 2 processes an image each"),
        ("snn.epocs=1", "snn.epocs"),
    ],
)
def test_what_one_rank_alone_was_told_is_refused_by_all_and_printed_once(tiny, tmp_path, assignment, sentence):
    lead = command(override(tiny, EXACT), tmp_path, tmp_path / "run")
    (code, _, errors), (other_code, _, other_errors) = several(2, partial(of_rank, lead, [*lead, "--set", assignment]))
    assert code
    assert other_code
    assert sentence in errors
    assert len(errors.splitlines()) == 1
    assert other_errors == ""
    assert not (tmp_path / "run").exists()


def lost_at_the_start():
    joining.MEETING = timedelta(seconds=5)
    if os.environ["RANK"] == "1":
        sys.exit(1)
    with joining.joined():
        pass


def test_a_rank_that_ends_before_the_meeting_ends_the_others():
    start = time.monotonic()
    assert "another of the 2 training processes ended" in several(2, lost_at_the_start)[0][2]
    assert time.monotonic() - start < 60


def test_what_the_lead_refuses_all_refuse_and_one_says_so(tiny, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "mine.txt").touch()
    codes, _, errors = finished(tiny, tmp_path, out)
    assert all(codes)
    assert "is no run folder but holds files, such as mine.txt" in errors[0]
    assert errors[1] == ""


class Other(Ranks):
    """A rank whose peer, at its place in `gathered`, raised `error` when it loaded the data."""

    error: DataError

    def gathered(self, value):
        return [self.error, value] if self.rank else [value, self.error]


@pytest.mark.parametrize("rank", [0, 1])
def test_what_one_rank_cannot_load_no_rank_goes_on_without(tiny, rank):
    ranks = Other(rank, 2)
    ranks.error = DataError("cifar10 could not be downloaded")
    with pytest.raises(DataError, match="cifar10 could not be downloaded"):
        load_data(tiny, ranks)
