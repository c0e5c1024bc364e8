"""`hiresnn events`: event grids of images and recordings."""

import numpy as np
import pytest
import torch

from hiresnn.cli.train import events
from hiresnn.data import load, saccades
from hiresnn.errors import UsageError


def test_events_of_images_are_simulated_and_read_back(tmp_path, capsys):
    images = np.arange(4 * 16 * 16, dtype=np.uint8).reshape(4, 16, 16) * 7
    np.savez(tmp_path / "im.npz", x_train=images, y_train=[0, 1, 0, 1], x_test=images[:2], y_test=[0, 1])
    events(str(tmp_path / "im.npz"), tmp_path / "ev.npz", bins=6, cells="integer")
    dataset = load(str(tmp_path / "ev.npz"))
    assert (dataset.events, dataset.bins) == ("integer", 6)
    assert torch.equal(dataset.test.images, saccades(torch.from_numpy(images[:2, None]), bins=6, events="integer"))
    assert "6 bins, integer cells" in capsys.readouterr().out


def test_recordings_are_binned_by_the_rule_that_is_asked_for(tmp_path):
    for place in ("train/a", "train/b", "test/a"):
        (tmp_path / place).mkdir(parents=True)
        np.savez(tmp_path / place / "0.npz", x=[0, 1, 2], y=[0, 0, 1], t=[0, 6, 9], p=[1, 1, 0])
    for by, first in (("time", 1), ("number", 2)):
        events(str(tmp_path), tmp_path / "ev.npz", bins=2, by=by)
        assert int(load(str(tmp_path / "ev.npz")).test.images[0, 0].sum()) == first


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.npz"):
        events("digits", tmp_path / "ev.txt")
