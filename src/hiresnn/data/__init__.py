"""Data sets of images or event grids as uint8 tensors: loading, selecting parts, and batches on the device."""

from hiresnn.data.dataset import (
    Batches,
    DataSet,
    Split,
    channel_statistics,
    first,
    flip_and_crop,
    holdout,
    in_turn,
    tensors,
)
from hiresnn.data.events import rebin
from hiresnn.data.sources import load, load_archive, load_folder

__all__ = ["Batches", "DataSet", "Split", "channel_statistics", "first", "flip_and_crop", "holdout", "in_turn"]
__all__ += ["load", "load_archive", "load_folder", "rebin", "tensors"]
