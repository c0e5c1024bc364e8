"""Data sets as uint8 tensors: loading them, selecting parts of them, and batches on the device."""

from hiresnn.data.archive import load_archive
from hiresnn.data.dataset import DataSet, Split, channel_statistics
from hiresnn.data.folder import load_folder
from hiresnn.data.loader import Batches, flip_and_crop
from hiresnn.data.sources import load
from hiresnn.data.subset import first, holdout, in_turn
from hiresnn.data.user_batches import tensors

__all__ = [
    "Batches",
    "DataSet",
    "Split",
    "channel_statistics",
    "first",
    "flip_and_crop",
    "holdout",
    "in_turn",
    "load",
    "load_archive",
    "load_folder",
    "tensors",
]
