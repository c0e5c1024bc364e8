"""Events as data: grids from raw events, from grids of more bins, and from images by simulated saccades.

A grid [T, P, H, W] has T time bins and P polarities, of which 0 is "darker" and 1 is "brighter". A cell of a "binary"
grid says whether there was an event, a cell of an "integer" grid how many there were, at most 255.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from hiresnn.data.dataset import DataSet, Events, Split
from hiresnn.errors import DataError, UsageError, in_a_line

Binning = Literal["time", "number"]


def rebin(grids: Tensor, bins: int, *, binary: bool) -> Tensor:
    """Merge adjacent bins of event grids [N, T, P, H, W] so that `bins` are left, a divisor of T.

    Counts are added. In the type of the grids: uint8 counts that exceed 255 become 255. With `binary`, a cell is 1 if
    there was any event in the bins that it comes from.

    Raises:
        UsageError: the grids have no five dimensions, or `bins` does not divide T.
    """
    if grids.dim() != 5 or not 1 <= bins <= grids.shape[1] or grids.shape[1] % bins:
        raise UsageError(
            f"event grids {list(grids.shape)} cannot be merged into {bins} bins; grids are [N, T, P, H, W], and "
            "the number of bins (snn.timesteps in a recipe) is a divisor of T."
        )
    if bins == grids.shape[1]:
        return grids
    parts: Tensor = grids.unflatten(1, (bins, -1))  # type: ignore[no-untyped-call]
    if binary:
        return parts.amax(2)
    total = parts.sum(2)
    return total.to(grids.dtype) if grids.is_floating_point() else total.clamp(max=255).to(grids.dtype)


def rebinned(dataset: DataSet, bins: int | None) -> DataSet:
    """Return a data set with that many bins, see `rebin`; images, and None bins, stay as they are."""
    if dataset.events is None or bins in (None, dataset.bins):
        return dataset
    binary = dataset.events == "binary"

    def merged(split: Split) -> Split:
        return replace(split, images=rebin(split.images, int(bins or 0), binary=binary))

    return replace(dataset, train=merged(dataset.train), test=merged(dataset.test))


def bin_events(
    x: Any, y: Any, t: Any, p: Any, *, bins: int, size: tuple[int, int], by: Binning = "time", events: Events = "binary"
) -> UInt8[Tensor, "bins 2 height width"]:
    """Sort the events of one recording into a grid.

    Args:
        x, y: column and row of each event, from 0; one-dimensional arrays of whole numbers.
        t: time of each event in any unit; the events may be in any order.
        p: polarity: above 0 is "brighter", index 1 of the grid, 0 and below is "darker", index 0.
        bins: T, at least 1.
        size: height and width of the sensor.
        by: "time" divides the time from the first to the last event into bins of equal duration, where the last event
            belongs to the last bin: bin floor(T (t - first) / (last - first)). "number" gives every bin the same number
            of events in the order of time: event i of n, counted from 0, is in bin floor(T i / n).
        events: "binary" or "integer" cells.

    Raises:
        DataError: the arrays differ in length, or an event lies outside the sensor.
        UsageError: bins below 1, or an unknown rule.
    """
    if bins < 1 or by not in ("time", "number"):
        raise UsageError(f'bins is {bins} and by is {by!r}; give at least 1 bin, and "time" or "number".')
    x, y, t, p = (np.asarray(values).reshape(-1) for values in (x, y, t, p))
    if not len(x) == len(y) == len(t) == len(p):
        raise DataError(f"x, y, t and p have {len(x)}, {len(y)}, {len(t)} and {len(p)} values; give one per event.")
    height, width = size
    grid = np.zeros((bins, 2, height, width), np.int64)
    if len(t):
        columns, rows = x.astype(np.int64), y.astype(np.int64)
        if min(columns.min(), rows.min()) < 0 or columns.max() >= width or rows.max() >= height:
            extent = f"x reaches from {columns.min()} to {columns.max()} and y from {rows.min()} to {rows.max()}"
            raise DataError(f"{extent}, outside a sensor of {height} x {width} (height x width).")
        if by == "number":
            position = np.empty(len(t), np.int64)
            position[np.argsort(t, kind="stable")] = np.arange(len(t))
            when = position * bins // len(t)
        else:
            since = t.astype(np.float64) - float(t.min())
            when = np.minimum(since * bins / max(since.max(), 1e-300), bins - 1).astype(np.int64)
        np.add.at(grid, (when, (p > 0).astype(np.int64), rows, columns), 1)
    return torch.from_numpy(grid.clip(max=1 if events == "binary" else 255).astype(np.uint8))


def load_recordings(
    path: Path, *, bins: int, by: Binning = "time", events: Events = "binary", size: tuple[int, int] | None = None
) -> DataSet:
    """Read raw events in files PATH/train/<class>/NAME and PATH/test/<class>/NAME and bin each, see `bin_events`.

    A file is an .npz archive with the arrays x, y, t and p, as SpikingJelly writes them, or an .npy file with a
    structured array of these fields, as tonic returns it. Classes and files are in the order of their names. Without
    `size`, the sensor is as large as the largest x and y of the whole data set.

    Raises:
        DataError: a file or folder is missing or cannot be read, or as for `bin_events`.
    """
    parts: dict[str, list[Path]] = {
        part: sorted(file for file in path.glob(f"{part}/*/*") if file.suffix in (".npz", ".npy"))
        for part in ("train", "test")
    }
    names = sorted({file.parent.name for file in parts["train"]})
    for part, files in parts.items():
        if not files or {file.parent.name for file in files} - {*names}:
            remedy = "put recordings into train/<class>/ and test/<class>/, with the same classes"
            raise DataError(
                f"{path / part}: there are no .npz or .npy files, or of other classes than train; {remedy}."
            )
    recordings = {file: _recording(file) for files in parts.values() for file in files}
    if size is None:
        largest = [max(int(fields[axis].max(initial=0)) for fields in recordings.values()) for axis in ("y", "x")]
        size = largest[0] + 1, largest[1] + 1
    splits = []
    for files in parts.values():
        grids = []
        for file in files:
            try:
                grids.append(bin_events(**recordings[file], bins=bins, size=size, by=by, events=events))
            except DataError as error:
                raise DataError(f"{file}: {error}") from None
        labels = torch.tensor([names.index(file.parent.name) for file in files])
        splits.append(Split(torch.stack(grids), labels, events))
    return DataSet(path.resolve().name, splits[0], splits[1], tuple(names))


def _recording(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            fields = {name: np.asarray(content[name]) for name in ("x", "y", "t", "p")}
        if any(values.dtype.kind not in "iufb" for values in fields.values()):
            raise ValueError("x, y, t and p must be numbers")
        return fields
    except Exception as error:  # NumPy and zipfile raise errors of many types
        raise DataError(
            f"{file}: this recording cannot be read ({in_a_line(error)}); save arrays x, y, t and p, one value per "
            "event."
        ) from error


STEPS = 96
"""Steps of a simulation, of 300 ms / 96 = 3.125 ms each: 32 per saccade."""
CONTRAST = 0.3
"""Change of the log intensity at which a pixel sends an event."""
DARK = 0.1
"""Added to an intensity in [0, 1] before the logarithm."""
REFRACTORY = 3
"""Steps for which a pixel is silent after an event, 9.4 ms."""
_CORNERS = ((-0.5, 0.0, 0.5, -0.5), (-0.5, 0.5, -0.5, -0.5))
"""x and y of the gaze at the ends of the three saccades, in units of their amplitude."""


def saccades(
    images: UInt8[Tensor, "image channel height width"], *, bins: int = 12, events: Events = "binary"
) -> UInt8[Tensor, "image bins 2 rows columns"]:
    """Simulate what an event camera sees of still images in three saccades. No event comes from a sensor.

    The gaze moves over the image along the sides of a triangle and returns to its start, as the camera of N-MNIST does
    (Orchard et al. 2015), at constant speed; the amplitude is an eighth of the height. A pixel follows L = log(I + 0.1)
    of its intensity I in [0, 1], interpolated between the pixels of the image, whose border continues outwards. It
    sends an event when L has moved by 0.3 from its reference, brighter or darker. For the next 3 of 96 steps it is
    silent, and the L at their end is its new reference. There is no noise, so the same images give the same events.

    Args:
        images: colour is averaged. Images of fewer than 16 rows are enlarged by the smallest whole factor that gives
            16, bilinearly.
        bins: of equal time, a divisor of 96.
        events: "binary" or "integer" cells.

    Raises:
        UsageError: bins does not divide 96.
    """
    if not 1 <= bins <= STEPS or STEPS % bins:
        raise UsageError(f"bins is {bins}; the simulation has {STEPS} steps, so give a divisor of {STEPS}.")
    return torch.cat([_saccades(part, bins, events) for part in torch.split(images, 1024)])


def _saccades(images: Tensor, bins: int, events: Events) -> Tensor:
    grey = images.float().mean(1, keepdim=True) / 255
    factor = -(-16 // grey.shape[2])
    if factor > 1:
        grey = F.interpolate(grey, scale_factor=factor, mode="bilinear", align_corners=False)
    height, width = grey.shape[2:]
    amplitude = height / 8
    margin = int(amplitude / 2) + 2
    padded = F.pad(grey, (margin,) * 4, mode="replicate")[:, 0]
    counts = torch.zeros(len(images), bins, 2, height, width, dtype=torch.uint8)
    reference, free = torch.empty(0), torch.zeros(len(images), height, width, dtype=torch.int16)
    for step in range(STEPS + 1):
        x, y = (amplitude * np.interp(3 * step / STEPS, range(4), corners) for corners in _CORNERS)
        light = (_seen(padded, x, y, margin, height, width) + DARK).log_()
        if not step:
            reference = light
            continue
        reference = torch.where(free == step, light, reference)
        change = (light - reference).masked_fill_(free > step, 0)
        brighter, darker = change >= CONTRAST, change <= -CONTRAST
        cells = counts[:, (step - 1) * bins // STEPS]
        cells[:, 0] += darker
        cells[:, 1] += brighter
        free = torch.where(brighter | darker, step + REFRACTORY, free)
    return counts.clamp_(max=1) if events == "binary" else counts


def _seen(padded: Tensor, x: float, y: float, margin: int, height: int, width: int) -> Tensor:
    """Return the images [N, H, W] that a gaze shifted by (x, y) pixels sees, bilinearly interpolated."""
    column, row = int(np.floor(x)), int(np.floor(y))
    right, down = x - column, y - row
    seen = torch.zeros(())
    for below, weight_y in ((0, 1 - down), (1, down)):
        for beside, weight_x in ((0, 1 - right), (1, right)):
            top, left = margin + row + below, margin + column + beside
            seen = seen + weight_y * weight_x * padded[:, top : top + height, left : left + width]
    return seen


def simulated(dataset: DataSet, *, bins: int = 12, events: Events = "binary") -> DataSet:
    """Return a data set of images as simulated events, see `saccades`; splits, labels and classes stay the same."""
    if dataset.events is not None:
        raise UsageError(f"{dataset.name} has events already; saccades are simulated over images.")

    def of(split: Split) -> Split:
        return Split(saccades(split.images, bins=bins, events=events), split.labels, events)

    return DataSet(f"saccade-{dataset.name}", of(dataset.train), of(dataset.test), dataset.class_names)
