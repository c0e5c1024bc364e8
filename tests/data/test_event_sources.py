"""Event grids from raw events, archives and folders, and from images by simulated saccades."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hiresnn.data import DataSet, Split, bin_events, load, saccades, save_archive, simulated
from hiresnn.data.events import STEPS, load_recordings
from hiresnn.errors import DataError, UsageError

# Six events of a sensor of 2 rows and 3 columns: the fourth and the fifth are at one pixel, in disorder.
X, Y = [0, 2, 1, 0, 0, 2], [0, 1, 0, 1, 1, 1]
T, P = [0.0, 1.0, 4.0, 9.0, 8.0, 10.0], [1, 0, 1, 1, 1, -1]


def cells(grid: torch.Tensor) -> dict[tuple[int, ...], int]:
    return {tuple(index): int(grid[tuple(index)]) for index in grid.nonzero().tolist()}


def test_bins_of_equal_time_worked_out_by_hand():
    """Two bins of 5: times 0, 1 and 4 are in the first; 8, 9 and 10, the last event, in the second."""
    grid = bin_events(X, Y, T, P, bins=2, size=(2, 3), events="integer")
    expected = {(0, 0, 1, 2): 1, (0, 1, 0, 0): 1, (0, 1, 0, 1): 1, (1, 0, 1, 2): 1, (1, 1, 1, 0): 2}
    assert grid.dtype == torch.uint8
    assert cells(grid) == expected
    assert cells(bin_events(X, Y, T, P, bins=2, size=(2, 3))) == dict.fromkeys(expected, 1)


def test_bins_of_equal_number_worked_out_by_hand():
    """Three bins of two events in the order of time: 0, 1 | 4, 8 | 9, 10."""
    grid = bin_events(X, Y, T, P, bins=3, size=(2, 3), by="number", events="integer")
    assert cells(grid) == {
        (0, 0, 1, 2): 1, (0, 1, 0, 0): 1, (1, 1, 0, 1): 1, (1, 1, 1, 0): 1, (2, 0, 1, 2): 1, (2, 1, 1, 0): 1,
    }  # fmt: skip


def test_no_events_and_events_at_one_time_are_grids_as_well():
    assert int(bin_events([], [], [], [], bins=3, size=(2, 3)).sum()) == 0
    assert cells(bin_events([1], [1], [7], [0], bins=3, size=(2, 3))) == {(0, 0, 1, 1): 1}


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"x": [0, 3, 1, 0, 0, 2]}, DataError, "outside a sensor of 2 x 3"),
        ({"y": [0, -1, 0, 1, 1, 1]}, DataError, "outside a sensor"),
        ({"p": [1]}, DataError, "one per event"),
        ({"by": "count"}, UsageError, "number"),
        ({"bins": 0}, UsageError, "at least 1"),
    ],
)
def test_events_that_cannot_be_binned_are_refused(change, error, word):
    with pytest.raises(error, match=word):
        bin_events(**{"x": X, "y": Y, "t": T, "p": P, "bins": 2, "size": (2, 3), **change})


def edge() -> torch.Tensor:
    """One image of 16x16 pixels, dark on the left and white from column 8."""
    image = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    image[..., 8:] = 255
    return image


def test_a_uniform_image_has_no_events():
    assert int(saccades(torch.full((1, 3, 16, 16), 77, dtype=torch.uint8)).sum()) == 0


def test_an_edge_has_events_where_it_passes_of_the_polarity_of_its_direction():
    """The gaze moves right in the first two saccades, so the white side comes over dark pixels; then it returns."""
    grid = saccades(edge(), bins=3, events="integer")[0]
    columns = grid.sum((0, 1, 2)).nonzero()[:, 0].tolist()
    assert set(columns) <= {6, 7, 8, 9}
    assert grid[:2, 0].sum() == 0
    assert grid[2, 1].sum() == 0
    assert grid[0, 1].sum() > 0
    assert grid[2, 0].sum() > 0
    assert (grid.flatten(0, 1) == grid.flatten(0, 1)[:, :1]).all()  # every row sees the same


def test_the_pixel_of_an_edge_agrees_with_a_loop_over_its_steps():
    """Column 8 of the edge, where the gaze is at x and the light is 1 for x >= 0, else 1 + x: written out as a loop."""
    reference, free, events = 0.0, 0, []
    for step in range(STEPS + 1):
        done = step * 3 / STEPS
        saccade = min(int(done), 2)
        ends = (-1.0, 0.0, 1.0, -1.0)
        x = ends[saccade] + (done - saccade) * (ends[saccade + 1] - ends[saccade])
        light = math.log(min(1.0, 1.0 + x) + 0.1)
        if step == 0 or free == step:
            reference = light
        if step and free <= step and abs(light - reference) >= 0.3:
            events.append((step - 1, int(light > reference)))
            free = step + 3
    grid = saccades(edge(), bins=STEPS, events="integer")[0, :, :, 5, 8]
    assert events
    assert grid.nonzero().tolist() == [list(event) for event in events]


def test_fewer_bins_are_merged_ones_and_binary_cells_are_clipped():
    fine, coarse = (saccades(edge(), bins=bins, events="integer") for bins in (24, 6))
    assert torch.equal(fine.unflatten(1, (6, 4)).sum(2).to(torch.uint8), coarse)
    assert torch.equal(saccades(edge(), bins=6), coarse.clamp(max=1))
    with pytest.raises(UsageError, match="divisor of 96"):
        saccades(edge(), bins=7)


def test_saccade_digits_have_the_splits_of_the_digits():
    digits, events = load("digits"), load("saccade-digits")
    assert events.train.images.shape == (1442, 12, 2, 16, 16)
    assert (events.events, events.name) == ("binary", "saccade-digits")
    assert torch.equal(events.train.labels, digits.train.labels)
    assert torch.equal(events.test.labels, digits.test.labels)
    assert torch.equal(events.test.images[:9], saccades(digits.test.images[:9]))
    assert load("saccade-digits", bins=4).bins == 4
    assert 0.05 < events.train.images.float().mean() < 0.2
    with pytest.raises(UsageError, match="divisor"):
        load("saccade-digits", bins=5)
    with pytest.raises(UsageError, match="not scaled"):
        load("saccade-digits", size=8)
    with pytest.raises(UsageError, match="has events already"):
        simulated(events)


def counts(most: int) -> DataSet:
    generator = torch.Generator().manual_seed(0)
    grids = torch.randint(0, most + 1, (6, 4, 2, 5, 6), dtype=torch.uint8, generator=generator)
    kind = "binary" if most == 1 else "integer"
    split = Split(grids, torch.arange(6) % 2, kind)
    return DataSet("counts", split, split, ("left", "right"))


@pytest.mark.parametrize("most", [1, 3])
def test_an_archive_reads_back_as_it_was_written(tmp_path: Path, most: int):
    save_archive(counts(most), tmp_path / "counts.npz")
    read = load(str(tmp_path / "counts.npz"))
    assert read.digest == counts(most).digest
    assert read.events == counts(most).events
    assert read.class_names == ("left", "right")
    assert load(str(tmp_path / "counts.npz"), bins=2).bins == 2


def test_a_folder_of_npy_files_is_a_data_set_whose_counts_say_its_kind(tmp_path: Path):
    for most, kind in ((1, "binary"), (3, "integer")):
        grids = counts(most).train.images.numpy().astype(np.int16)
        for part in ("train", "test"):
            np.save(tmp_path / f"x_{part}.npy", grids)
            np.save(tmp_path / f"y_{part}.npy", np.arange(6) % 2)
        read = load(str(tmp_path))
        assert read.events == kind
        assert torch.equal(read.test.images, counts(most).test.images)
    np.save(tmp_path / "x_test.npy", grids + 0.5)
    with pytest.raises(DataError, match="whole numbers"):
        load(str(tmp_path))


def test_recordings_in_folders_of_classes_are_binned(tmp_path: Path):
    for part, name in (("train", "a"), ("train", "b"), ("test", "b")):
        (tmp_path / part / name).mkdir(parents=True)
    np.savez(tmp_path / "train" / "a" / "0.npz", x=X, y=Y, t=T, p=P)
    fields = [("t", "f8"), ("x", "i2"), ("y", "i2"), ("p", "?")]
    structured = np.array([(t, x, y, p > 0) for t, x, y, p in zip(T, X, Y, P, strict=True)], dtype=fields)
    for part in ("train", "test"):
        np.save(tmp_path / part / "b" / "0.npy", structured)
    dataset = load(str(tmp_path), bins=2)
    expected = bin_events(X, Y, T, P, bins=2, size=(2, 3))
    assert all(torch.equal(grid, expected) for grid in (*dataset.train.images, *dataset.test.images))
    assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == ([0, 1], [1])
    assert load_recordings(tmp_path, bins=3, by="number", events="integer", size=(4, 4)).train.images.shape[2:] == (
        2,
        4,
        4,
    )
    with pytest.raises(UsageError, match="how many bins"):
        load(str(tmp_path))
    with pytest.raises(DataError, match=r"train.*outside a sensor"):
        load_recordings(tmp_path, bins=3, size=(1, 1))
    (tmp_path / "train" / "a" / "1.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"1\.npy: this recording cannot be read"):
        load(str(tmp_path), bins=2)
