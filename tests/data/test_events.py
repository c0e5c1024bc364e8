"""Event grids in splits, data sets and batches, and the merging of bins."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hiresnn.data import Batches, DataSet, Split, channel_statistics, first, flip_and_crop, holdout, rebin, tensors
from hiresnn.errors import DataError, UsageError


def counts(samples: int = 12, bins: int = 4, most: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, most + 1, (samples, bins, 2, 5, 6), dtype=torch.uint8, generator=generator)


LABELS = torch.arange(12) % 3


def test_a_data_set_of_events_knows_its_bins_polarities_and_kind():
    split = Split(counts(), LABELS, "integer")
    dataset = DataSet("events", split, first(split, 6), ("a", "b", "c"))
    facts = (dataset.events, dataset.bins, dataset.in_channels, dataset.height, dataset.width, dataset.test.events)
    assert facts == ("integer", 4, 2, 5, 6, "integer")
    rest, held = holdout(split, 3)
    assert (rest.events, held.events) == ("integer", "integer")


def test_a_batch_of_events_holds_the_counts_as_floats():
    images, labels = next(iter(Batches(Split(counts(), LABELS, "integer"), 12)))
    assert images.dtype == torch.float32
    assert torch.equal(images, counts().float())
    assert torch.equal(labels, LABELS)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: Split(counts(), LABELS), "binary"),
        (lambda: Split(counts()[:, 0], LABELS, "binary"), "event grids"),
        (lambda: Split(counts(), LABELS, "binary"), 'use "integer"'),
        (
            lambda: DataSet(
                "x", Split(counts(), LABELS, "integer"), Split(counts(bins=2), LABELS, "integer"), tuple("abc")
            ),
            "one form",
        ),
        (
            lambda: DataSet(
                "x", Split(counts(most=1), LABELS, "binary"), Split(counts(), LABELS, "integer"), tuple("abc")
            ),
            "one form",
        ),
        (lambda: tensors((-counts().float(), LABELS)), "at least 0"),
        (lambda: tensors((counts().float() / 0, LABELS)), "finite"),
    ],
)
def test_what_is_no_grid_of_counts_is_refused(call, word: str):
    with pytest.raises(DataError, match=word):
        call()


def test_event_grids_are_not_normalised():
    with pytest.raises(UsageError, match="normalise = false"):
        channel_statistics(Split(counts(), LABELS, "integer"))


class Frames(Dataset):
    """As tonic with ToFrame: int16 grids [T, P, H, W] of NumPy, and a label."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return counts()[index].numpy().astype(self.dtype), int(LABELS[index])


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64", "uint8"])
def test_data_sets_of_other_libraries_are_taken_as_they_are(dtype: str):
    for source in (Frames(dtype), DataLoader(Frames(dtype), 5)):
        images, labels = tensors(source)
        assert images.dtype == torch.float32
        assert torch.equal(images, counts().float())
        assert torch.equal(labels, LABELS)


def test_a_grid_is_moved_and_flipped_as_a_whole():
    """Each plane moves as the same plane of an image with T * P channels does."""
    moved = flip_and_crop(counts(), generator=torch.Generator().manual_seed(3))
    planes = flip_and_crop(counts().flatten(1, 2), generator=torch.Generator().manual_seed(3))
    assert torch.equal(moved.flatten(1, 2), planes)
    assert not torch.equal(moved, counts())


def test_merging_adds_the_counts_of_adjacent_bins():
    merged = rebin(counts(), 2, binary=False)
    assert torch.equal(merged[:, 0], counts()[:, 0] + counts()[:, 1])
    assert torch.equal(merged[:, 1], counts()[:, 2] + counts()[:, 3])
    assert rebin(counts(), 4, binary=False) is not None
    assert int(rebin(counts(), 1, binary=False).sum()) == int(counts().sum())


def test_merging_binary_grids_keeps_cells_of_one_and_counts_end_at_255():
    binary = counts(most=1)
    assert torch.equal(rebin(binary, 2, binary=True)[:, 0], binary[:, 0] | binary[:, 1])
    full = torch.full((1, 2, 2, 3, 3), 200, dtype=torch.uint8)
    assert int(rebin(full, 1, binary=False).unique()) == 255
    assert float(rebin(full.float(), 1, binary=False).unique()) == 400


@pytest.mark.parametrize("bins", [0, 3, 8])
def test_bins_that_do_not_divide_are_refused(bins: int):
    with pytest.raises(UsageError, match="divisor"):
        rebin(counts(), bins, binary=False)
