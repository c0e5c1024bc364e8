"""Data sets of images or event grids as uint8 tensors: loading, selecting parts, and batches on the device."""

from hiresnn.data.corruptions import CORRUPTIONS, EVENT_CORRUPTIONS, corrupt
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

__all__ = ["CORRUPTIONS", "EVENT_CORRUPTIONS", "Batches", "DataSet", "Split", "channel_statistics", "corrupt"]
__all__ += ["first", "flip_and_crop", "holdout", "in_turn", "load", "load_archive", "load_folder", "rebin", "tensors"]
