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
from hiresnn.data.events import bin_events, load_recordings, rebin, saccades, simulated
from hiresnn.data.sources import load, load_archive, load_folder, save_archive

__all__ = ["CORRUPTIONS", "EVENT_CORRUPTIONS", "Batches", "DataSet", "Split", "bin_events", "channel_statistics"]
__all__ += ["corrupt", "first", "flip_and_crop", "holdout", "in_turn", "load", "load_archive", "load_folder"]
__all__ += ["load_recordings", "rebin", "saccades", "save_archive", "simulated", "tensors"]
